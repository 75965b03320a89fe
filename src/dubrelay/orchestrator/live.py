"""One stream as it runs here: its state machine, the worker process it decides about, and what that one said."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dubrelay import logs
from dubrelay.config import Settings, StreamConfig
from dubrelay.errors import EXIT_BUG
from dubrelay.orchestrator.away import Away
from dubrelay.orchestrator.captionfiles import Said
from dubrelay.orchestrator.history import History
from dubrelay.orchestrator.mediamtx import Place
from dubrelay.orchestrator.plan import Plan, chosen, control_for, in_force, worker_settings
from dubrelay.orchestrator.store import Break
from dubrelay.orchestrator.streams import Source, StartWorker, Stream
from dubrelay.orchestrator.supervisor import Exit, Supervisor, Usage, WorkerProcess
from dubrelay.wire.status import ControlReport, PhraseReport
from dubrelay.wire.streams import Applied, BreakView, PhraseView, StreamDetails, StreamView, WorkerView

PHRASES_KEPT = 50
ANSWER_S = 3.0
"""How long a worker has to answer a control; it looks for them a few times a second."""
_NOTHING_TO_SAY = ControlReport(id="", accepted=True)


@dataclass(frozen=True)
class Outcome:
    """What became of a change of the stream's settings."""

    applied: Applied
    refusal: str = ""
    """Why the worker does not do it."""


class LiveStream:
    """Events go to its methods; each carries out what the state machine then decides."""

    def __init__(
        self,
        stream_id: str,
        settings: Settings,
        supervisor: Supervisor,
        on_restart: Callable[[], None],
        on_refused: Callable[[], None],
        on_phrase: Callable[[str, PhraseView], None],
        configured: Callable[[str], StreamConfig],
        on_break: Callable[[str], Break | None] = lambda _: None,
    ) -> None:
        """`configured` gives what file and API say for the stream, `on_break` its break; when that changes, call
        `reconfigured`.
        """
        self.stream_id = stream_id
        self.machine = Stream(settings.orchestrator.grace_s, lambda: uuid.uuid4().hex[:12], random.random)
        self.phrases: deque[PhraseView] = deque(maxlen=PHRASES_KEPT)
        self.history = History()
        self._away = Away()
        self.worker: WorkerProcess | None = None
        self.idle_since = time.monotonic()
        self.places: frozenset[Place] = frozenset()
        """Those that MediaMTX has to show."""
        self._settings = settings
        self._supervisor = supervisor
        self._on_restart = on_restart
        self._on_refused = on_refused
        self._on_phrase = on_phrase
        self._configured = configured
        self._on_break = on_break
        self._asked: Mapping[str, str] = {}
        self._changes = 0
        self._steering: asyncio.Task[Outcome] | None = None
        self._usage: Usage | None = None
        self._running: asyncio.Task[None] | None = None
        self._closing = False
        self._last_sequence = 0
        self._last_state = "idle"
        self._log = logs.get().bind(streamId=stream_id, path=f"live/{stream_id}/in")
        self.chosen = StreamConfig()
        """By whoever publishes, or did last, within what it may."""
        self.wanted = self._wanted()
        """Every key, with the value that counts now."""
        self._told = self.wanted
        """As the worker was started, and what it has said yes to since."""
        self._refused: StreamConfig | None = None

    def listed(self, source: Source, request_id: str) -> None:
        new = self.machine.source is None or self.machine.source.source_id != source.source_id
        self.machine.listed(source)
        if new:
            self._log = self._log.bind(sourceId=source.source_id, requestId=request_id)
            self._asked = source.asked
            self._want()

    def reconfigured(self) -> None:
        """File or API say something else now."""
        self._changes += 1
        self._want()
        self.decide()

    def restart(self) -> None:
        """Another worker, now, whatever kept one from starting."""
        self.machine.restart()
        self.decide()

    async def steer(self) -> Outcome:
        """Tells the worker what is wanted and it does not do yet; returns when it has answered, or should have."""
        if self._steering is None or self._steering.done():
            self._steering = asyncio.create_task(self._steer())
        return await asyncio.shield(self._steering)

    async def _steer(self) -> Outcome:
        """Until it does what is wanted by then, or does not answer."""
        while True:
            wanted = self.wanted
            outcome = await self._tell(wanted)
            if wanted == self.wanted:
                return outcome

    async def _tell(self, wanted: StreamConfig) -> Outcome:
        worker = self.worker
        if worker is None or self.machine.worker != "ready":
            return self._not_told()
        control = control_for(self._told, wanted)
        answer = await worker.tell(control, ANSWER_S) if control else _NOTHING_TO_SAY
        if worker is not self.worker:
            return self._not_told()
        if answer is None:
            self._log.warning("worker_gives_no_answer")
            return Outcome("pending")
        if not answer.accepted:
            self._refused = wanted
            return Outcome("pending", answer.message)
        self._told = wanted
        return Outcome("live")

    def _not_told(self) -> Outcome:
        """There is no worker that could be told: the next one starts with what is wanted then."""
        if self.machine.worker == "starting":
            return Outcome("restart" if self._told == self.wanted else "pending")
        replaced = self.machine.worker == "stopping" and self.machine.source is not None
        return Outcome("restart" if replaced else "next_start")

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
        self._steer_soon()
        status = self.worker.status if self.worker else None
        self.history.look(time.time(), self.view(), status.metrics if status else "")

    async def close(self) -> None:
        """Returns when its worker is gone."""
        self._closing = True
        if self._steering is not None:
            self._steering.cancel()
        if self.worker is not None:
            self.worker.stop()
        if self._running is not None:
            await self._running

    def view(self) -> StreamView:
        status = self.worker.status if self.worker else None
        source, on_break = self.machine.source, self._on_break(self.stream_id)
        plan = source.plan if source is not None and isinstance(source.plan, Plan) else None
        return StreamView(
            stream_id=self.stream_id,
            state=self.machine.state(time.monotonic()),
            message=self.machine.message() or (status.message if status else ""),
            run_id=self.machine.run_id,
            source_id=source.source_id if source else "",
            available_time=source.available_time if source else "",
            restarts=self.machine.restarts,
            source_language=self.wanted.source_language or "",
            target_language=self.wanted.target_language or "",
            voice=self.wanted.voice or "",
            config_changes=self._changes,
            mode=status.mode if status else self.wanted.mode or "dub",
            programme=status.programme if status else self.wanted.programme or "dub",
            on_break=BreakView(since=on_break.since, until=on_break.until) if on_break else None,
            dub_away=self._away.view(self.wanted.fallback or "original"),
            input_protocol=status.input_protocol if status else plan.protocol if plan else None,
            input_ready="in" in self.places,
            output_ready="out" in self.places,
            languages_ready="languages" in self.places,
            worker=self._worker_view(),
            delay_ms=status.delay_ms if status else None,
            av_sync_ms=status.av_sync_ms if status else None,
            last_sequence=self._last_sequence,
        )

    @property
    def delay_s(self) -> float:
        """How far sound in `out` is behind `in` where phrases are dubbed, by its stamps, which players go by.

        `delay_ms` is when a tag happened to leave: some hundred ms later, and another with each.
        """
        return self._settings.worker.latency_s

    def said(self, phrase: PhraseReport) -> Said:
        """What a caption of the phrase needs."""
        return Said(
            source_language=self.wanted.source_language or "",
            target_language=self.wanted.target_language or "",
            delay_s=self.delay_s,
            phrase=phrase,
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
        languages = {key: getattr(self.wanted, key) for key in ("source_language", "target_language", "voice")}
        self._log.info(
            "worker_start",
            protocol=plan.protocol,
            mode=plan.mode,
            programme=self.wanted.programme,
            **languages,
            restarts=self.machine.restarts,
        )
        settings = worker_settings(self._settings, self.stream_id, run_id, plan, self.wanted)
        self._told, self._refused = self.wanted, None
        self.worker = self._supervisor.worker(settings, self._ready, self._heard)
        self._running = asyncio.create_task(self._run(self.worker))

    async def _run(self, worker: WorkerProcess) -> None:
        try:
            end = await worker.run()
        except Exception:  # ours, not the worker's; the stream must not wait for one that is not there
            self._log.exception("supervisor_bug")
            end = Exit(EXIT_BUG, "the orchestrator failed to see to the worker; its log has the traceback")
        self.worker = self._usage = None
        self._away.forget()
        if self._closing:
            return
        now = time.monotonic()
        failed = self.machine.worker_exited(end.code, end.message, now)
        if failed:
            self._log.error("worker_failed", code=end.code, error=end.message)
            # The next poll may be a second later, in which a viewer sees nothing.
            asyncio.get_running_loop().call_later(self.machine.held_off_s(now), self.decide)
        self.decide()

    def _ready(self) -> None:
        self.machine.worker_ready()
        self._note_state()
        self._steer_soon()

    def _wanted(self) -> StreamConfig:
        configured = self._configured(self.stream_id)
        self.chosen, warnings = chosen(self._asked, self._settings.for_stream(configured).publisher)
        for warning in warnings:
            self._log.warning("query_not_valid", message=warning)
        return in_force(self._settings, configured.under(self.chosen))

    def _want(self) -> None:
        self.wanted = self._wanted()
        plan = self.machine.source.plan if self.machine.source else None
        if isinstance(plan, Plan) and self.wanted.mode is not None:
            self.machine.replan(Plan(plan.protocol, self.wanted.mode))
        self._steer_soon()

    def _steer_soon(self) -> None:
        """Where the worker does not do what is wanted: a change nobody waits for, or one that it gave no answer to."""
        settled = self.wanted in (self._told, self._refused)
        if settled or self.machine.worker != "ready" or self._closing:
            return
        if self._steering is None or self._steering.done():
            self._steering = asyncio.create_task(self._steer())

    def _heard(self, report: PhraseReport) -> None:
        self._last_sequence += 1
        view = PhraseView(sequence=self._last_sequence, phrase=report)
        self.phrases.append(view)
        self.history.phrase(report)
        self._away.phrase(report, time.time())
        self._on_phrase(self.stream_id, view)

    def _note_state(self) -> None:
        state = self.machine.state(time.monotonic())
        if state != self._last_state:
            log = self._log.warning if state in {"degraded", "refused"} else self._log.info
            log("stream_state", state=state, before=self._last_state, message=self.machine.message())
            if state == "refused":
                self._on_refused()
            self._last_state = state
            self.idle_since = time.monotonic()
