"""What the routes of the STS service share: its engines once they are warm, its threads, its metrics."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, TypeVar

from dubrelay import logs
from dubrelay.config import Paths, Settings, Sts
from dubrelay.errors import StsError
from dubrelay.sts.admission import Refused
from dubrelay.sts.care import Care, Reload
from dubrelay.sts.engines import load_one
from dubrelay.sts.faults import Answer, Faulty
from dubrelay.sts.keys import Keys, Rates
from dubrelay.sts.lanes import Leave
from dubrelay.sts.metrics import Metrics
from dubrelay.sts.pipeline import Pipeline
from dubrelay.sts.remember import Remembering, key_of
from dubrelay.sts.route import Engines
from dubrelay.wire.fragment import ProcessRequest, ProcessResult

T = TypeVar("T")
Load = Callable[[Sts, Paths], Engines]

Status = Literal["ok", "degraded", "down", "draining", "loading", "failed"]
END_S = 1.0
"""How long an engine may still compute when the service is to stop."""
MB = 10**6


class Running:
    """Loads in the background; until then, and when it failed, there is no pipeline."""

    def __init__(
        self, settings: Settings, load: Load, on_failure: Callable[[], None], reload: Reload | None = None
    ) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.keys = Keys(settings.sts)
        self.rates = Rates(settings.sts.requests_per_minute_per_key)
        self.failure: Exception | None = None
        self.pipeline: Pipeline | None = None
        self.idle = True
        self.inside = 0
        """Phrases that are in work or wait; changed on the event loop only."""
        self.drains_until: float | None = None
        """By time.monotonic; None while the service takes phrases."""
        self._load_engines = load
        self._reload = reload or partial(load_one, settings)
        self._on_failure = on_failure
        # A daemon: loading cannot be interrupted, and must not keep a service alive that was asked to stop.
        self._loading = threading.Thread(target=self._load, name="sts-load", daemon=True)
        # Two more than phrases can be inside: they parse, and say that there is no place.
        self._pool = ThreadPoolExecutor(settings.sts.max_queue + 2, thread_name_prefix="sts-request")
        self._memory = Remembering(self._dubbed, settings.sts.remember_s, settings.sts.remember_mb * MB)
        self.answer: Answer = self._remembered
        if settings.sts.faults.present:
            self.answer = Faulty(self._remembered, settings.sts.faults)

    def start(self) -> None:
        self._loading.start()

    def stop(self) -> None:
        """Ends what can be ended; `idle` says whether that was all."""
        self.idle = not self._loading.is_alive()
        if self.pipeline is not None:
            self.idle = self.pipeline.close(END_S)
            self.pipeline.care.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def in_pool(self, call: Callable[..., T], *values: Any) -> T:
        """The call on a thread of the bounded pool."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(call, *values))

    @property
    def engines(self) -> Engines | None:
        """Those that were loaded, with what became of them since."""
        return self.pipeline.care.engines if self.pipeline else None

    def pairs(self) -> list[tuple[str, str]]:
        """What can be dubbed now."""
        return sorted(self.pipeline.care.working().pairs()) if self.pipeline else []

    def status(self) -> tuple[Status, list[str]]:
        """How the service is, and which engines (stage/name) are to blame if it is not well."""
        if self.pipeline is None:
            return ("failed" if self.failure else "loading"), []
        bad = sorted({*self.pipeline.care.down(), *self.pipeline.hung()})
        if self.drains_until is not None:
            return "draining", bad
        if bad and not (self.pipeline.works() and self.pairs()):
            return "down", bad
        return ("degraded" if bad else "ok"), bad

    @contextmanager
    def counted(self) -> Iterator[None]:
        """One of those that are inside."""
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    def drain(self) -> None:
        """Takes no phrases any more; those inside may take `sts.drain_s`. A signal may call this."""
        if self.drains_until is None:
            self.drains_until = time.monotonic() + self.settings.sts.drain_s

    def drained(self) -> bool:
        """Whether the service may end: nothing is inside, or its time is over; then what is inside is given up."""
        if self.drains_until is None:
            return False
        over = time.monotonic() >= self.drains_until
        if over and self.inside and self.pipeline is not None:
            self.pipeline.close(0.0)
        return over or not self.inside

    def check_open(self) -> None:
        """StsError OVERLOADED while the service is draining."""
        if self.drains_until is not None:
            raise Refused("the service is stopping", max(0.0, self.drains_until - time.monotonic()))

    def retry_after_s(self, error: StsError) -> int:
        """Whole seconds, as HTTP has it."""
        if isinstance(error, Refused):
            return max(1, math.ceil(error.retry_after_s))
        return max(1, math.ceil(self.pipeline.backlog_s())) if self.pipeline else 1

    async def _remembered(self, request: ProcessRequest, arrived: float) -> ProcessResult:
        return await self._memory(await self.in_pool(key_of, request), request, arrived)

    async def _dubbed(self, request: ProcessRequest, arrived: float) -> ProcessResult:
        if self.pipeline is None:
            raise StsError("OVERLOADED", "the models are still loading", retryable=True)
        leave = Leave()
        try:
            result = await self.in_pool(self.pipeline.process, request, arrived, leave)
        except asyncio.CancelledError:
            leave.go()
            raise
        self.metrics.computed(result)
        if result.dubbed_audio is not None:
            self.pipeline.meter.spoken(result.dubbed_audio.duration_ms / 1000)
        return result

    def _load(self) -> None:
        began = time.monotonic()
        try:
            engines = self._load_engines(self.settings.sts, self.settings.paths)
        except Exception as e:
            self.failure = e
            self._on_failure()
            return
        pipeline = Pipeline(engines, self.settings.sts, care=Care(engines, self._reload))
        self.metrics.watch(pipeline.meter, self.settings.sts.cost_per_hour)
        self.pipeline = pipeline
        pairs = [f"{source}-{target}" for source, target in self.pairs()]
        logs.get().info("models are warm", pairs=pairs, took_s=round(time.monotonic() - began, 2))
