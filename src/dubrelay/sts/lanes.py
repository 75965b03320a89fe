"""Who computes when: a lane is one engine thread with a bounded wait, a pace is what it costs to speak with one voice.

Recognition, translation, the quality voice and the fast voice have a lane each, so none waits behind another.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dubrelay.errors import Stage, StsError

T = TypeVar("T")
Clock = Callable[[], float]

FIRST_FACTOR = 0.7
LEARN_UP = 0.3
LEARN_DOWN = 0.1
FADE = 0.05
LEAST_FACTOR = 0.25
SPARE_AFTER_SHED = 1.15
RESERVE_S = 0.4
"""Kept back of a phrase's time, so that the fast voice can still say it when the quality voice breaks its promise."""


class Pace:
    """Seconds of computing per second of sound of one voice, learnt, and whether a phrase may be said with it.

    A phrase may when its predicted end leaves RESERVE_S. Once a phrase was shed to the fast voice, the voice comes
    back only for a phrase that would still fit if it cost 15 % more; so a load at the edge does not make the voice
    change from phrase to phrase. What was learnt fades with each phrase that is shed: the load may be over, and only a
    try can tell. A try that fails costs nothing but the spare time of one phrase, which the fast voice says.
    """

    def __init__(self) -> None:
        self.factor = FIRST_FACTOR
        self.shedding = False

    def cost_s(self, work_s: float) -> float:
        """Predicted seconds for `work_s` seconds of sound."""
        return self.factor * work_s

    def learn(self, work_s: float, took_s: float) -> None:
        """Upwards fast, downwards slowly: being late costs more than the fast voice does."""
        if work_s <= 0:
            return
        error = took_s / work_s - self.factor
        self.factor += error * (LEARN_UP if error > 0 else LEARN_DOWN)

    def admits(self, queued_s: float, work_s: float, left_s: float) -> bool:
        """Whether a phrase with `left_s` to its deadline may be said with this voice; remembers the answer."""
        predicted = queued_s + self.cost_s(work_s)
        if self.shedding:
            predicted *= SPARE_AFTER_SHED
        self.shedding = predicted + RESERVE_S > left_s
        if self.shedding:
            self.factor -= max(0.0, self.factor - LEAST_FACTOR) * FADE
        return not self.shedding


@dataclass(frozen=True)
class Done(Generic[T]):
    value: T
    waited_s: float
    took_s: float


class _Job(Generic[T]):
    def __init__(self, call: Callable[[], T], latest_start: float, cost_s: float, now: float) -> None:
        self.call = call
        self.latest_start = latest_start
        self.cost_s = cost_s
        self.asked_at = now
        self.begun_at = now
        self.finished: Done[T] | None = None
        self.error: Exception | None = None

    @property
    def over(self) -> bool:
        return self.finished is not None or self.error is not None


class Lane:
    """One thread that runs jobs in the order in which they were asked for; nobody waits past a deadline."""

    def __init__(self, stage: Stage, name: str, clock: Clock) -> None:
        self._stage = stage
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: deque[_Job[object]] = deque()
        self._running: _Job[object] | None = None
        self._closed = False
        # A daemon: an engine that hangs in native code must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name=f"sts-{name}", daemon=True)
        self._thread.start()

    def run(
        self, call: Callable[[], T], deadline: float, cost_s: float = 0.0, latest_start: float | None = None
    ) -> Done[T]:
        """What `call` returned. StsError TIMEOUT at `deadline`, or when its turn comes after `latest_start`.

        A call that was begun runs to its end even when nobody waits for it any more; it is part of `backlog_s`.
        """
        latest_start = deadline if latest_start is None else latest_start
        job = _Job(call, latest_start, cost_s, self._clock())
        with self._changed:
            if self._closed:
                raise self._stopping()
            self._waiting.append(job)  # type: ignore[arg-type]
            self._changed.notify_all()
            while not job.over:
                left_s = deadline - self._clock()
                if left_s <= 0:
                    self._give_up(job)  # type: ignore[arg-type]
                    raise self._late()
                self._changed.wait(left_s)
        if job.error is not None:
            try:
                raise job.error
            finally:
                del job  # the error holds this frame, which held it and the sound: until the next collection
        assert job.finished is not None
        return job.finished

    def backlog_s(self) -> float:
        """Predicted seconds until a new call would begin; a call that overran by x is expected to take x more."""
        with self._changed:
            queued = sum(job.cost_s for job in self._waiting)
            if self._running is None:
                return queued
            return queued + abs(self._running.begun_at + self._running.cost_s - self._clock())

    def close(self) -> None:
        """Refuses what waits and what comes; nobody waits any more for the call that was begun."""
        with self._changed:
            self._closed = True
            while self._waiting:
                self._waiting.popleft().error = self._stopping()
            if self._running is not None:
                self._running.error = self._stopping()
            self._changed.notify_all()

    def ended(self, timeout_s: float) -> bool:
        """After `close`: whether the call that was begun has come to its end, waiting so long for it."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            error, value = None, None
            try:
                if job.begun_at > job.latest_start:
                    raise self._late()
                value = job.call()
            except Exception as e:
                error = e
            with self._changed:
                ended_at = self._clock()
                if error is None:
                    job.finished = Done(value, job.begun_at - job.asked_at, ended_at - job.begun_at)
                else:
                    job.error = error
                self._running = None
                self._changed.notify_all()

    def _next(self) -> _Job[object] | None:
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            job = self._running = self._waiting.popleft()
            job.begun_at = self._clock()
            return job

    def _give_up(self, job: _Job[object]) -> None:
        if job in self._waiting:
            self._waiting.remove(job)

    def _late(self) -> StsError:
        return StsError("TIMEOUT", f"{self._stage} was not done in time", stage=self._stage, retryable=True)

    def _stopping(self) -> StsError:
        return StsError("OVERLOADED", "the service is stopping", stage=self._stage, retryable=True)
