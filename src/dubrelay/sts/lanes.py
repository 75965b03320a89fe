"""Who computes when: a lane is an engine's threads with a bounded wait, a pace is what an engine's work costs.

Each stage has a quality lane and a fast lane, so none waits behind another. An engine that takes several calls at once
(`concurrency`) has a lane of its own, with so many threads.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dubrelay.errors import Stage, StsError
from dubrelay.sts.meter import Meter, Share

T = TypeVar("T")
Clock = Callable[[], float]

STAGES: tuple[Stage, ...] = ("asr", "mt", "tts")
FIRST_FACTOR = 0.7
LEARN_UP = 0.3
LEARN_DOWN = 0.1
FADE = 0.05
LEAST_FACTOR = 0.25
SPARE_AFTER_SHED = 1.15
RESERVE_S = 0.4
"""Kept back of a phrase's time, so that the fast engine can still do it when the quality engine breaks its promise."""
HUNG_TIMES, HUNG_LEAST_S = 5.0, 20.0
"""A call hangs when it takes so many times what was predicted, and so long at least."""


class Pace:
    """Seconds of computing per second of sound of one engine, learnt, and whether it may do a phrase.

    It may when the predicted end leaves RESERVE_S. Once a phrase was shed to the fast engine, this one comes back only
    for a phrase that would still fit if it cost 15 % more; so a load at the edge does not make the voice change from
    phrase to phrase. What was learnt fades with each phrase that is shed: the load may be over, and only a try can
    tell. A try that fails costs nothing but the spare time of one phrase, which the fast engine does.
    """

    def __init__(self, first_factor: float = FIRST_FACTOR) -> None:
        """`first_factor` is believed until measurements have taken its place; 0: the first one does."""
        self.factor = first_factor
        self.shedding = False
        self._mean: float | None = None
        self._deviation = 0.0

    def cost_s(self, work_s: float) -> float:
        """Predicted seconds for `work_s` seconds of sound."""
        return self.factor * work_s

    def measured_s(self, work_s: float) -> float:
        """What hardly any phrase exceeds: mean and two mean deviations of what was measured. 0 before the first."""
        return ((self._mean or 0.0) + 2 * self._deviation) * work_s

    def learn(self, work_s: float, took_s: float) -> None:
        """Upwards fast, downwards slowly: being late costs more than the fast engine does."""
        if work_s <= 0:
            return
        sample = took_s / work_s
        self.factor = _towards(self.factor or sample, sample)
        if self._mean is None:
            self._mean = sample
        self._deviation += LEARN_DOWN * (abs(sample - self._mean) - self._deviation)
        self._mean = _towards(self._mean, sample)

    def doubt(self) -> None:
        """Believes a little less of what was measured."""
        if self._mean is not None:
            self._mean -= self._mean * FADE
            self._deviation -= self._deviation * FADE

    def admits(self, queued_s: float, work_s: float, left_s: float) -> bool:
        """Whether this engine may do a phrase with `left_s` to its deadline; remembers the answer."""
        predicted = queued_s + self.cost_s(work_s)
        if self.shedding:
            predicted *= SPARE_AFTER_SHED
        self.shedding = predicted + RESERVE_S > left_s
        if self.shedding:
            self.factor -= max(0.0, self.factor - LEAST_FACTOR) * FADE
        return not self.shedding


def _towards(factor: float, sample: float) -> float:
    error = sample - factor
    return factor + error * (LEARN_UP if error > 0 else LEARN_DOWN)


class Leave:
    """Whether somebody still wants an answer. Once `go` was called, nobody does, and who waits for it is woken."""

    def __init__(self) -> None:
        self.gone = False
        self._lock = threading.Lock()
        self._wake: Callable[[], None] | None = None

    def go(self) -> None:
        with self._lock:
            self.gone = True
            wake = self._wake
        if wake is not None:
            wake()

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        with self._lock:
            self._wake = wake
        try:
            yield
        finally:
            with self._lock:
                self._wake = None


@dataclass(frozen=True)
class Done(Generic[T]):
    value: T
    waited_s: float
    took_s: float


class _Job(Generic[T]):
    def __init__(self, call: Callable[[], T], who: str, latest_start: float, cost_s: float, now: float) -> None:
        self.call = call
        self.who = who
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
    """`workers` threads that begin jobs in the order in which they were asked for; nobody waits past a deadline."""

    def __init__(self, stage: Stage, name: str, clock: Clock, workers: int = 1, meter: Meter | None = None) -> None:
        self.name = name
        self.workers = workers
        self.stage = stage
        self._clock = clock
        self._meter = meter or Meter(clock)
        self._share = Share(clock)
        self._changed = threading.Condition()
        self._waiting: deque[_Job[object]] = deque()
        self._running: list[_Job[object]] = []
        self._closed = False
        # Daemons: an engine that hangs in native code must not keep the process from ending.
        self._threads = [
            threading.Thread(target=self._work, name=f"sts-{name}-{number}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def run(
        self,
        call: Callable[[], T],
        deadline: float,
        cost_s: float = 0.0,
        latest_start: float | None = None,
        *,
        who: str = "",
        leave: Leave | None = None,
    ) -> Done[T]:
        """What `call` returned. StsError TIMEOUT at `deadline`, or when its turn comes after `latest_start`;
        OVERLOADED as soon as nobody wants it any more.

        A call that was begun runs to its end even when nobody waits for it any more; it is part of `backlog_s`.
        """
        latest_start = deadline if latest_start is None else latest_start
        leave = leave or Leave()
        job = _Job(call, who, latest_start, cost_s, self._clock())
        with leave.waking(self._wake), self._changed:
            if self._closed:
                raise self._stopping()
            self._waiting.append(job)  # type: ignore[arg-type]
            self._changed.notify_all()
            while not job.over:
                left_s = deadline - self._clock()
                if leave.gone:
                    self._give_up(job)  # type: ignore[arg-type]
                    raise self._unwanted()
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
            now = self._clock()
            free_in = [abs(job.begun_at + job.cost_s - now) for job in self._running]
            free_in += [0.0] * (self.workers - len(free_in))
            heapq.heapify(free_in)
            for job in self._waiting:
                heapq.heapreplace(free_in, free_in[0] + job.cost_s)
            return free_in[0]

    def busy_share(self) -> float:
        """How much of the last ten seconds or so its threads computed, 0 to 1."""
        return self._share.value() / self.workers

    def hung(self) -> str:
        """Who is called there, when every thread is in a call that takes many times what was predicted; else empty."""
        with self._changed:
            now = self._clock()
            late = [
                job
                for job in self._running
                if now - job.begun_at > max(HUNG_LEAST_S, HUNG_TIMES * job.cost_s) and not self._closed
            ]
            return late[0].who if len(late) == self.workers else ""

    def close(self) -> None:
        """Refuses what waits and what comes; nobody waits any more for the calls that were begun."""
        with self._changed:
            self._closed = True
            while self._waiting:
                self._waiting.popleft().error = self._stopping()
            for job in self._running:
                job.error = self._stopping()
            self._changed.notify_all()

    def ended(self, timeout_s: float) -> bool:
        """After `close`: whether the calls that were begun have come to their end, waiting so long for each."""
        for thread in self._threads:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            error, value = None, None
            try:
                if job.begun_at > job.latest_start:
                    raise self._late()
                with self._meter.computing(self.stage):
                    value = job.call()
            except Exception as e:
                error = e
            with self._changed:
                ended_at = self._clock()
                if error is None:
                    job.finished = Done(value, job.begun_at - job.asked_at, ended_at - job.begun_at)
                else:
                    job.error = error
                self._running.remove(job)
                self._share.change(-1)
                self._changed.notify_all()

    def _next(self) -> _Job[object] | None:
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            job = self._waiting.popleft()
            self._running.append(job)
            self._share.change(1)
            job.begun_at = self._clock()
            return job

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _give_up(self, job: _Job[object]) -> None:
        if job in self._waiting:
            self._waiting.remove(job)

    def _late(self) -> StsError:
        return StsError("TIMEOUT", f"{self.stage} was not done in time", stage=self.stage, retryable=True)

    def _unwanted(self) -> StsError:
        return StsError("OVERLOADED", "nobody waits for the answer any more", stage=self.stage, retryable=True)

    def _stopping(self) -> StsError:
        return StsError("OVERLOADED", "the service is stopping", stage=self.stage, retryable=True)


class Lanes:
    """All lanes of a service: a quality and a fast one per stage, and those of engines that take several calls."""

    def __init__(self, loaded: Iterable[tuple[Stage, Any]], clock: Clock, meter: Meter) -> None:
        self._shared = {
            (stage, fast): Lane(stage, f"{stage}-fast" if fast else stage, clock, meter=meter)
            for stage in STAGES
            for fast in (False, True)
        }
        self._own = {
            (stage, engine.name): Lane(stage, f"{stage}-{engine.name}", clock, workers, meter)
            for stage, engine in loaded
            if (workers := getattr(engine, "concurrency", 1)) > 1
        }

    def of(self, stage: Stage, engine: Any, *, fast: bool) -> Lane:
        """Where an engine computes, which stands in the list of the fast ones or in the other."""
        return self._own.get((stage, engine.name)) or self._shared[stage, fast]

    def hung(self) -> list[str]:
        """stage/name of the engines that are in a call which takes many times what it should."""
        return sorted({f"{lane.stage}/{who}" for lane in self._all() if (who := lane.hung())})

    def close(self, timeout_s: float) -> bool:
        """Closes them all; whether nothing computes any more, after waiting so long."""
        for lane in self._all():
            lane.close()
        until = time.monotonic() + timeout_s
        return all(lane.ended(max(0.0, until - time.monotonic())) for lane in self._all())

    def _all(self) -> list[Lane]:
        return [*self._shared.values(), *self._own.values()]
