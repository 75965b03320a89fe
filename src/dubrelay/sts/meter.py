"""How long the engines computed, for how long streams were served, and what that cost."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dubrelay.errors import Stage

Clock = Callable[[], float]

SHARE_OVER_S = 10.0
STREAM_GAP_S = 60.0
"""A stream is served from one phrase to the next when no more than this lies between them."""
_HOUR_S, _MINUTE_S = 3600.0, 60.0


class Share:
    """How much of the latest time something ran, as a mean that forgets over SHARE_OVER_S. Not locked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running = 0
        self._value, self._at = 0.0, clock()

    def change(self, by: int) -> None:
        """So many more run from now on."""
        self._value, self._at = self.value(), self._clock()
        self._running += by

    def value(self) -> float:
        kept = math.exp((self._at - self._clock()) / SHARE_OVER_S)
        return self._running + (self._value - self._running) * kept


@dataclass(frozen=True)
class Spent:
    """Totals since the service was ready, in seconds."""

    wall_s: float
    busy_s: float
    """While at least one engine computed."""
    stage_s: dict[Stage, float]
    """By stage; calls that run at once count each."""
    stream_s: float
    """Summed over the streams."""
    dubbed_s: float
    """Speech handed out."""
    hurried: dict[Stage, int]
    """Phrases by stage that a fast engine did, because the other one would have been late."""

    def costs(self, per_hour: float) -> dict[str, dict[str, float]]:
        """What a stream-hour and a dubbed minute have cost, each split into busy and idle; 0 before there was any.

        cost of the time = per_hour * wall / 3600, of which busy / wall is `busy`; divided by hours or minutes.
        """
        busy_s = min(self.busy_s, self.wall_s)
        parts = {"busy": busy_s * per_hour / _HOUR_S, "idle": (self.wall_s - busy_s) * per_hour / _HOUR_S}
        return {
            "stream_hour": {part: _per(cost, self.stream_s / _HOUR_S) for part, cost in parts.items()},
            "dubbed_minute": {part: _per(cost, self.dubbed_s / _MINUTE_S) for part, cost in parts.items()},
        }


class Meter:
    """Counts; may be used from several threads at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since = self._at = clock()
        self._computing = 0
        self._busy_s = self._stream_s = self._dubbed_s = 0.0
        self._stage_s: dict[Stage, float] = {"asr": 0.0, "mt": 0.0, "tts": 0.0}
        self._hurried: dict[Stage, int] = {"asr": 0, "mt": 0, "tts": 0}
        self._heard_at: dict[str, float] = {}

    @contextmanager
    def computing(self, stage: Stage) -> Iterator[None]:
        """While one engine of the stage does."""
        began = self._clock()
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)
            with self._lock:
                self._stage_s[stage] += self._clock() - began

    def heard(self, stream_id: str, length_s: float) -> None:
        """A phrase of a stream came, `length_s` long: a stream was served from its beginning, or since the last one."""
        with self._lock:
            now = self._clock()
            gap_s = now - self._heard_at.pop(stream_id, -math.inf)
            self._stream_s += gap_s if gap_s <= STREAM_GAP_S else length_s
            self._heard_at[stream_id] = now
            while now - next(iter(self._heard_at.values())) > STREAM_GAP_S:
                del self._heard_at[next(iter(self._heard_at))]

    def spoken(self, length_s: float) -> None:
        """So much dubbed speech was handed out."""
        with self._lock:
            self._dubbed_s += length_s

    def hurried(self, stage: Stage) -> None:
        """A fast engine did what the other one would have been late with."""
        with self._lock:
            self._hurried[stage] += 1

    def streams(self) -> int:
        """How many are served now."""
        with self._lock:
            return sum(self._clock() - at <= STREAM_GAP_S for at in self._heard_at.values())

    def spent(self) -> Spent:
        self._change(0)
        with self._lock:
            wall_s = self._clock() - self._since
            return Spent(wall_s, self._busy_s, dict(self._stage_s), self._stream_s, self._dubbed_s, dict(self._hurried))

    def _change(self, by: int) -> None:
        with self._lock:
            now = self._clock()
            if self._computing:
                self._busy_s += now - self._at
            self._at = now
            self._computing += by


def _per(cost: float, amount: float) -> float:
    return cost / amount if amount else 0.0
