"""Whether a phrase that comes now can still be done in time; what cannot is refused before anything is computed.

The stages are lanes in a row, so the end of a new phrase follows from what is queued in each and from what those before
it, which have not come so far, will cost there. A prediction counts what was measured only: the first phrase is taken.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dubrelay.errors import Stage, StsError
from dubrelay.sts.lanes import Clock, Lane, Pace

MARGIN_S = 0.1
"""Kept for the answer's way out."""
ALONE_SLACK = 2.0
"""A phrase that nobody is there to be held up by is tried, unless it would take so many times what is left."""
FULL_SHARE, HALF_FULL_SHARE = 0.85, 0.5
ONE_IN_S = 10.0
"""From HALF_FULL_SHARE on one new stream is taken in so long: what it takes has to be seen first."""
LONGEST_WAIT_S = 30.0
SERVED_S = 60.0
"""A stream is being served for so long after a phrase of it was taken."""


class Refused(StsError):
    """OVERLOADED, and after how many seconds it may be different."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__("OVERLOADED", message, retryable=True)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Way:
    """How a phrase could go through one stage."""

    lane: Lane
    pace: Pace
    work_s: float

    @property
    def cost_s(self) -> float:
        return self.pace.measured_s(self.work_s)


Ways = Mapping[Stage, Sequence[Way]]
"""By stage in the order of the stages, the quality lane first."""


class Admission:
    """Takes phrases or refuses them; knows what those inside still have before them. Safe for several threads.

    Phrases of a stream that is being served are taken as long as they will be in time. A stream that is new, or that
    was refused, has to wait until the stages are busy less than FULL_SHARE, and they come in one after the other: so
    with too many streams some are served whole, rather than each of them in parts.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._inside = 0
        self._coming: dict[Stage, float] = {"asr": 0.0, "mt": 0.0, "tts": 0.0}
        self._served_at: dict[str, float] = {}
        self._let_in_at = -math.inf

    def admit(self, stream_id: str, ways: Ways, left_s: float, around_s: float = 0.0) -> Place:
        """A place for a phrase with `left_s` to its deadline, that also takes `around_s` outside the lanes. Refused
        when it would be late."""
        with self._lock:
            ends_s = self._ends_s(ways) + around_s
            alone = not self._inside
            late_s = ends_s / ALONE_SLACK - left_s if alone else ends_s + MARGIN_S - left_s
            if late_s > 0:
                self._served_at.pop(stream_id, None)
                if alone:  # nothing else would ever correct a prediction that is too high
                    for way in (way for stage in ways.values() for way in stage):
                        way.pace.doubt()
                message = f"it would be done in {ends_s:.1f} s, and {max(0.0, left_s):.1f} s are left"
                raise Refused(message, min(late_s, LONGEST_WAIT_S))
            if self._is_new(stream_id):
                if not alone:
                    self._let_in(self._fullest(ways))
                self._let_in_at = self._clock()
            self._served(stream_id)
            return self._taken(ways)

    def _let_in(self, busy: float) -> None:
        since_s = self._clock() - self._let_in_at
        if busy > FULL_SHARE or (busy > HALF_FULL_SHARE and since_s < ONE_IN_S):
            message = f"the engines are busy {busy:.0%} of the time with the streams that are served already"
            raise Refused(message, ONE_IN_S / 2)

    def _ends_s(self, ways: Ways) -> float:
        """Predicted seconds until a new phrase is done on the ways that take least."""
        end_s = 0.0
        for stage, choices in ways.items():
            coming_s = self._coming[stage]
            end_s = min(max(end_s, way.lane.backlog_s() + coming_s / way.lane.workers) + way.cost_s for way in choices)
        return end_s

    def _fullest(self, ways: Ways) -> float:
        """How busy the stage is that has least to spare."""
        return max(min(way.lane.busy_share() for way in choices) for choices in ways.values())

    def _is_new(self, stream_id: str) -> bool:
        return self._clock() - self._served_at.get(stream_id, -math.inf) > SERVED_S

    def _served(self, stream_id: str) -> None:
        now = self._clock()
        self._served_at.pop(stream_id, None)
        self._served_at[stream_id] = now
        while now - next(iter(self._served_at.values())) > SERVED_S:
            del self._served_at[next(iter(self._served_at))]

    def _taken(self, ways: Ways) -> Place:
        ahead_s = {stage: min(way.cost_s for way in choices) for stage, choices in ways.items()}
        self._inside += 1
        for stage, cost_s in ahead_s.items():
            self._coming[stage] += cost_s
        return Place(self, ahead_s)

    def _reached(self, cost_s: dict[Stage, float], inside: int) -> None:
        with self._lock:
            self._inside -= inside
            for stage, each_s in cost_s.items():
                self._coming[stage] = max(0.0, self._coming[stage] - each_s)
            if not self._inside:
                self._coming = dict.fromkeys(self._coming, 0.0)  # no rounding errors are carried on


class Place:
    """A phrase's own; `close` gives it back."""

    def __init__(self, admission: Admission, ahead_s: dict[Stage, float]) -> None:
        self._admission = admission
        self._ahead_s = ahead_s

    def reached(self, stage: Stage) -> None:
        """From now on the phrase is in the stage's lane, and counted there."""
        self._admission._reached({stage: self._ahead_s.pop(stage, 0.0)}, 0)

    def after_s(self, stage: Stage) -> float:
        """Predicted seconds for what comes after the stage."""
        return sum(cost_s for one, cost_s in self._ahead_s.items() if one != stage)

    def close(self) -> None:
        self._admission._reached(self._ahead_s, 1)
        self._ahead_s = {}
