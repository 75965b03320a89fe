"""Which of several STS services is asked for a phrase. Pure: the clock is given with each call.

Any service can say any phrase. The one that may be asked and comes first in this order is taken:

1. Trust: the breaker is closed, the last request did not fail, and none waits for much longer than usual; then, closed,
   but the last one failed or one waits; then, open for long enough: the phrase is the breaker's probe. One that is open
   for less is not asked.
2. The fewest requests in flight.
3. The shortest round trip of late, as the median; one that is not known goes first, so that it becomes known.
4. The place in the setting.

Trust goes before load because a dead service refuses at once: it is always the least busy, and would draw every phrase.
So while another one does its work, one that failed gets no phrase. What tells that it is well again is a copy of a
phrase that was answered already: `take_due` says when and to whom, and nobody hears how that went.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from statistics import median

from dubrelay.logs import redact_url
from dubrelay.worker.breaker import STATE_NUMBER, Breaker, State

AGAIN_S = 5.0
"""So long after a failure a service may be tried with a copy, unless its breaker is open: that has its own time."""
_RECENT, _RECENT_S = 8, 60.0
"""How many round trips are remembered, and for how long."""
_SLOWER = 2.0
"""A service may be so much slower than lately."""
_MOVE_S = 0.2
"""What moving a phrase takes beside that."""


class Replica:
    """One service: its breaker, what is in flight to it, and how quick it was."""

    def __init__(self, url: str, breaker: Breaker) -> None:
        self.url, self.name, self.breaker = url, redact_url(url), breaker
        self._asked_at: list[float] = []  # what is in flight
        self._failed = False
        self._told_at = -math.inf
        self._round_trips: deque[tuple[float, float]] = deque(maxlen=_RECENT)  # when, how long

    @contextmanager
    def asked(self, now: float) -> Iterator[None]:
        """While a request is on its way."""
        self._asked_at.append(now)
        try:
            yield
        finally:
            self._asked_at.remove(now)

    @property
    def in_flight(self) -> int:
        return len(self._asked_at)

    def answered(self, now: float, rtt_s: float, budget_s: float) -> None:
        self._failed, self._told_at = False, now
        self._round_trips.append((now, rtt_s))
        self.breaker.success(now, rtt_s, budget_s)

    def failed(self, now: float, *, late: bool) -> None:
        self._failed, self._told_at = True, now
        self.breaker.failure(now, late=late)

    def refused(self, now: float) -> None:
        """It answered that the request is wrong: nothing is wrong with the service."""
        self._failed, self._told_at = False, now
        self.breaker.success(now, 0.0, math.inf)

    def trusted(self, now: float) -> bool:
        return self.breaker.state == "closed" and not self._failed and not self._hangs(now)

    def _hangs(self, now: float) -> bool:
        usual_s, waits_s = self.round_trips_s(now), now - min(self._asked_at, default=now)
        return bool(usual_s) and waits_s > _SLOWER * max(usual_s) + _MOVE_S

    def round_trips_s(self, now: float) -> list[float]:
        return [rtt_s for at, rtt_s in self._round_trips if now - at < _RECENT_S]

    def rank(self, now: float) -> tuple[bool, bool, int, float]:
        """The first comes first; services that are equal come in the order of the setting."""
        rtts_s = self.round_trips_s(now)
        return not self.trusted(now), self.breaker.state != "closed", self.in_flight, median(rtts_s) if rtts_s else 0.0

    def is_due(self, now: float, again_s: float) -> bool:
        return not self.trusted(now) and not self.in_flight and now - self._told_at >= again_s


class Replicas:
    """All services of a client, each with a breaker of its own."""

    def __init__(self, urls: Sequence[str], failures: int, open_s: float) -> None:
        self._replicas = [Replica(url, Breaker(failures, open_s)) for url in urls]
        self._again_s = min(AGAIN_S, open_s)

    def take(self, now: float, but: Collection[Replica] = ()) -> Replica | None:
        """The service to ask for a phrase, none of `but`. None: there is none that may be asked.

        Where its breaker is not closed the phrase is the probe.
        """
        return self._taken(self._open_to(now, but), now)

    def take_due(self, now: float) -> Replica | None:
        """A service that is not trusted and may be tried again now, with a copy of a phrase that another one said."""
        return self._taken([r for r in self._open_to(now) if r.is_due(now, self._again_s)], now)

    def wait_until(self, now: float, ends_at: float, asked: Sequence[Replica]) -> float:
        """Until when a phrase that must be said by `ends_at` waits for the last of `asked`.

        To the end; but where another trusted service has shown how quick it is, only as long as that one could still
        say it. This holds only if the phrase has then waited longer than either of them takes: one that is always so
        slow hangs no more than usual.
        """
        others = [r for r in self._open_to(now, asked) if r.trusted(now) and r.round_trips_s(now)]
        if not others:
            return ends_at
        there_s = _SLOWER * max(min(others, key=lambda r: r.rank(now)).round_trips_s(now))
        here_s = _SLOWER * max(asked[-1].round_trips_s(now), default=0.0)
        until = ends_at - there_s - _MOVE_S
        return until if until - now > max(here_s, there_s) else ends_at

    @property
    def state(self) -> State:
        """The best one's."""
        return min((r.breaker.state for r in self._replicas), key=STATE_NUMBER.__getitem__)

    def _open_to(self, now: float, but: Collection[Replica] = ()) -> list[Replica]:
        return [r for r in self._replicas if r not in but and r.breaker.would_allow(now)]

    @staticmethod
    def _taken(choice: list[Replica], now: float) -> Replica | None:
        if not choice:
            return None
        first = min(choice, key=lambda r: r.rank(now))
        first.breaker.allow(now)
        return first
