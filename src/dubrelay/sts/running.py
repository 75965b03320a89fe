"""What the routes of the STS service share: its engines once they are warm, its threads, its metrics."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import ceil
from typing import Any, TypeVar

from dubrelay import logs
from dubrelay.config import Paths, Settings, Sts
from dubrelay.errors import StsError
from dubrelay.sts.faults import Answer, Faulty
from dubrelay.sts.keys import Keys, Rates
from dubrelay.sts.metrics import Metrics
from dubrelay.sts.pipeline import Pipeline
from dubrelay.sts.route import Engines
from dubrelay.wire.fragment import ProcessRequest, ProcessResult

T = TypeVar("T")
Load = Callable[[Sts, Paths], Engines]

END_S = 1.0
"""How long an engine may still compute when the service is to stop."""


class Running:
    """Loads in the background; until then, and when it failed, there is no pipeline."""

    def __init__(self, settings: Settings, load: Load, on_failure: Callable[[], None]) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.keys = Keys(settings.sts)
        self.rates = Rates(settings.sts.requests_per_minute_per_key)
        self.failure: Exception | None = None
        self.engines: Engines | None = None
        self.pipeline: Pipeline | None = None
        self.idle = True
        self._load_engines = load
        self._on_failure = on_failure
        # A daemon: loading cannot be interrupted, and must not keep a service alive that was asked to stop.
        self._loading = threading.Thread(target=self._load, name="sts-load", daemon=True)
        # Two more than phrases can be inside: they parse, and say that there is no place.
        self._pool = ThreadPoolExecutor(settings.sts.max_queue + 2, thread_name_prefix="sts-request")
        self.answer: Answer = self._dubbed
        if settings.sts.faults.present:
            self.answer = Faulty(self._dubbed, settings.sts.faults)

    def start(self) -> None:
        self._loading.start()

    def stop(self) -> None:
        """Ends what can be ended; `idle` says whether that was all."""
        self.idle = not self._loading.is_alive()
        if self.pipeline is not None and self.engines is not None:
            self.idle = self.pipeline.close(END_S)
            self.engines.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def in_pool(self, call: Callable[..., T], *values: Any) -> T:
        """The call on a thread of the bounded pool."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(call, *values))

    def pairs(self) -> list[tuple[str, str]]:
        return sorted(self.engines.pairs()) if self.engines else []

    def retry_after_s(self) -> int:
        return max(1, ceil(self.pipeline.backlog_s())) if self.pipeline else 1

    async def _dubbed(self, request: ProcessRequest, arrived: float) -> ProcessResult:
        if self.pipeline is None:
            raise StsError("OVERLOADED", "the models are still loading", retryable=True)
        return await self.in_pool(self.pipeline.process, request, arrived)

    def _load(self) -> None:
        began = time.monotonic()
        try:
            engines = self._load_engines(self.settings.sts, self.settings.paths)
        except Exception as e:
            self.failure = e
            self._on_failure()
            return
        self.engines = engines
        self.pipeline = Pipeline(engines, self.settings.sts)
        pairs = [f"{source}-{target}" for source, target in self.pairs()]
        logs.get().info("models are warm", pairs=pairs, took_s=round(time.monotonic() - began, 2))
