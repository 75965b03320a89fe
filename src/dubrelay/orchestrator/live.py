"""One stream as it runs here: its state machine, the worker process it decides about, and what that one said."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import deque
from collections.abc import Callable

from dubrelay import logs
from dubrelay.config import Settings
from dubrelay.errors import EXIT_BUG
from dubrelay.orchestrator.plan import Plan, worker_settings
from dubrelay.orchestrator.streams import Source, StartWorker, Stream
from dubrelay.orchestrator.supervisor import Exit, Supervisor, Usage, WorkerProcess
from dubrelay.wire.status import PhraseReport
from dubrelay.wire.streams import PhraseView, StreamDetails, StreamView, WorkerView

PHRASES_KEPT = 50


class LiveStream:
    """Events go to its methods; each carries out what the state machine then decides."""

    def __init__(
        self,
        stream_id: str,
        settings: Settings,
        supervisor: Supervisor,
        on_restart: Callable[[], None],
        on_refused: Callable[[], None],
    ) -> None:
        self.stream_id = stream_id
        self.machine = Stream(settings.orchestrator.grace_s, lambda: uuid.uuid4().hex[:12], random.random)
        self.phrases: deque[PhraseView] = deque(maxlen=PHRASES_KEPT)
        self.worker: WorkerProcess | None = None
        self.idle_since = time.monotonic()
        self._settings = settings
        self._supervisor = supervisor
        self._on_restart = on_restart
        self._on_refused = on_refused
        self._usage: Usage | None = None
        self._running: asyncio.Task[None] | None = None
        self._closing = False
        self._last_sequence = 0
        self._last_state = "idle"
        self._log = logs.get().bind(streamId=stream_id, path=f"live/{stream_id}/in")

    def listed(self, source: Source, request_id: str) -> None:
        if self.machine.source is None or self.machine.source.source_id != source.source_id:
            self._log = self._log.bind(sourceId=source.source_id, requestId=request_id)
        self.machine.listed(source)

    def decide(self) -> None:
        """Makes the worker what it should be by now; also to be called when only time has passed."""
        while not self._closing and (action := self.machine.decide(time.monotonic())) is not None:
            if isinstance(action, StartWorker):
                self._start(action.run_id, action.plan)
            elif self.worker is not None:
                self.worker.stop()
        self._note_state()

    def look(self) -> None:
        """Takes the worker's CPU and memory; once a poll."""
        self._usage = self.worker.usage() if self.worker else None

    async def close(self) -> None:
        """Returns when its worker is gone."""
        self._closing = True
        if self.worker is not None:
            self.worker.stop()
        if self._running is not None:
            await self._running

    def view(self) -> StreamView:
        status = self.worker.status if self.worker else None
        source = self.machine.source
        plan = source.plan if source is not None and isinstance(source.plan, Plan) else None
        dub = plan.dub if plan else self._settings.dub
        return StreamView(
            stream_id=self.stream_id,
            state=self.machine.state(time.monotonic()),
            message=self.machine.message() or (status.message if status else ""),
            run_id=self.machine.run_id,
            source_id=source.source_id if source else "",
            available_time=source.available_time if source else "",
            restarts=self.machine.restarts,
            source_language=dub.source_language,
            target_language=dub.target_language,
            voice=dub.voice,
            mode=status.mode if status else self._settings.worker.mode,
            input_protocol=status.input_protocol if status else plan.protocol if plan else None,
            worker=self._worker_view(),
            delay_ms=status.delay_ms if status else None,
            av_sync_ms=status.av_sync_ms if status else None,
            last_sequence=self._last_sequence,
        )

    def details(self, after: int) -> StreamDetails:
        phrases = [phrase for phrase in self.phrases if phrase.sequence > after]
        return StreamDetails(**dict(self.view()), phrases=phrases)

    def _worker_view(self) -> WorkerView | None:
        if self.worker is None or self.worker.pid is None:
            return None
        usage = self._usage
        return WorkerView(
            pid=self.worker.pid,
            started_at=self.worker.started_at,
            cpu_percent=usage.cpu_percent if usage else None,
            rss_bytes=usage.rss_bytes if usage else None,
        )

    def _start(self, run_id: str, plan: Plan) -> None:
        if self.machine.error:
            self._on_restart()
        self._log = self._log.bind(runId=run_id)
        self._log.info("worker_start", protocol=plan.protocol, **plan.dub.model_dump(), restarts=self.machine.restarts)
        settings = worker_settings(self._settings, self.stream_id, run_id, plan)
        self.worker = self._supervisor.worker(settings, self._ready, self._heard)
        self._running = asyncio.create_task(self._run(self.worker))

    async def _run(self, worker: WorkerProcess) -> None:
        try:
            end = await worker.run()
        except Exception:  # ours, not the worker's; the stream must not wait for one that is not there
            self._log.exception("supervisor_bug")
            end = Exit(EXIT_BUG, "the orchestrator failed to see to the worker; its log has the traceback")
        self.worker = self._usage = None
        if self._closing:
            return
        failed = self.machine.worker_exited(end.code, end.message, time.monotonic())
        if failed:
            self._log.error("worker_failed", code=end.code, error=end.message)
        self.decide()

    def _ready(self) -> None:
        self.machine.worker_ready()
        self._note_state()

    def _heard(self, report: PhraseReport) -> None:
        self._last_sequence += 1
        self.phrases.append(PhraseView(sequence=self._last_sequence, phrase=report))

    def _note_state(self) -> None:
        state = self.machine.state(time.monotonic())
        if state != self._last_state:
            log = self._log.warning if state in {"degraded", "refused"} else self._log.info
            log("stream_state", state=state, before=self._last_state, message=self.machine.message())
            if state == "refused":
                self._on_refused()
            self._last_state = state
            self.idle_since = time.monotonic()
