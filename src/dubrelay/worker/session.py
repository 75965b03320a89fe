"""One stream's session: wires input, sound and output; the only file of this room that knows them all.

One thread runs the pump: a few times a second it takes in the sound that came, sends out that of [sent, now - latency),
and about once a second it looks after both connections.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from dubrelay import logs
from dubrelay.config import Programme
from dubrelay.errors import InputNotReady
from dubrelay.memory import give_back
from dubrelay.wire.control import ControlRefused, parse_control
from dubrelay.wire.status import ControlReport, State, WorkerStatus
from dubrelay.wire.worker import WorkerSettings
from dubrelay.worker import passed
from dubrelay.worker.metrics import WorkerMetrics
from dubrelay.worker.pipeline import MediaPipeline, unexpected
from dubrelay.worker.report import Reporter
from dubrelay.worker.sink import Sink
from dubrelay.worker.slate import Slate, read_slate
from dubrelay.worker.sound import Sound
from dubrelay.worker.source import Source

if TYPE_CHECKING:
    from dubrelay.worker.languages import Languages

_TICK_S = {"dub": 0.2, "bypass": 0.4}
"""How often the pump looks: in dub mode a phrase's deadline hangs on it, in bypass mode only what it costs."""
_STATUS_S = 1.0
_MEASURE_S = 2.0
"""How old the figures in a status line may be: making them costs a tenth of bypass mode."""
_FROZEN_S = 2.0
"""Viewers see a picture that stands still for longer than that."""
_TIDY_S = 60.0
_LOOK_S = 0.8
"""How often connections that work are looked at; asking GStreamer costs more than moving the sound."""


class Session:
    """A worker from start to stop."""

    def __init__(self, settings: WorkerSettings, metrics: WorkerMetrics, reporter: Reporter) -> None:
        self._settings, self._metrics, self._reporter = settings, metrics, reporter
        self._log = logs.get()
        dubbing = settings.worker.mode == "dub"
        self._latency_s = settings.worker.latency_s if dubbing else settings.worker.bypass_latency_s
        self._tick_s = _TICK_S[settings.worker.mode]
        loop = read_slate(settings.worker.slate) if settings.worker.slate else None
        self._pipeline, self._sound, self._languages = self._dubbed() if dubbing else self._passed()
        self._slate = Slate(self._pipeline, loop, self._log) if loop else None
        self._source = Source(self._pipeline, self._sound, settings.input_url, self._log)
        self._sink = Sink(self._pipeline, settings.output_url, self._log)
        self._sinks = [self._sink, *([self._languages.sink] if self._languages else [])]
        self._last_up = self._last_status = self._last_look = self._last_tidied = time.monotonic()
        self._last_measured = 0.0
        self._figures = ""

    def _passed(self) -> tuple[MediaPipeline, Sound, None]:
        pipeline = MediaPipeline(round(self._latency_s * 1e9), passed.GRAPH)
        programme: Programme = "silence" if self._settings.programme == "silence" else "bypass"
        return pipeline, passed.PassedSound(pipeline, self._settings.worker.audio_bitrate_kbps, programme), None

    def _dubbed(self) -> tuple[MediaPipeline, Sound, Languages | None]:
        from dubrelay.worker import decoded, languages  # noqa: PLC0415  (arrays, models and HTTP: bypass does without)
        from dubrelay.worker.phrases import Phrases  # noqa: PLC0415

        url, bitrate_kbps = self._settings.languages_url, self._settings.worker.audio_bitrate_kbps
        graph = decoded.graph(bitrate_kbps, batch_ms=round(self._tick_s * 1000))
        beside = languages.graph(bitrate_kbps) if url else ""
        pipeline = MediaPipeline(round(self._latency_s * 1e9), graph, beside)
        both = languages.Languages(pipeline, url, self._log) if url else None
        track = Phrases(self._settings, self._metrics, self._reporter, pipeline.now)
        return pipeline, decoded.DecodedSound(pipeline, track, both.push if both else None), both

    def run(self, stop: threading.Event, controls: queue.Queue[str]) -> None:
        """Until `stop` is set, doing what `controls` ask for. DubrelayError when only the supervisor can help."""
        self._log.info(
            "worker_started",
            mode=self._settings.worker.mode,
            latency_s=self._latency_s,
            input=logs.redact_url(self._settings.input_url),
            output=logs.redact_url(self._settings.output_url),
        )
        next_tick = time.monotonic()
        try:
            while not stop.wait(max(0.0, next_tick - time.monotonic())):
                next_tick = max(next_tick + self._tick_s, time.monotonic() - self._tick_s)
                self._obey(controls)
                self._sound.take_in()
                if self._slate:
                    self._slate.fill()
                self._send_out()
                self._look_after()
        finally:
            self._sound.close()
            self._source.close()
            self._pipeline.stop()

    def _obey(self, controls: queue.Queue[str]) -> None:
        while not controls.empty():
            try:
                control = parse_control(controls.get())
                self._sound.obey(control)
            except ControlRefused as e:
                self._log.warning("control_refused", id=e.id, message=e.message)
                self._reporter.send(ControlReport(id=e.id, accepted=False, message=e.message))
            else:
                self._log.info("control", **control.model_dump(exclude_none=True))
                self._reporter.send(ControlReport(id=control.id, accepted=True))

    def _send_out(self) -> None:
        skipped_ms = self._sound.send_out(self._pipeline.now() - self._pipeline.latency_ns) // 10**6
        if skipped_ms:
            self._log.warning("output_skipped", skipped_ms=skipped_ms, reason="the worker was not run in time")
            self._metrics.skipped_ms.inc(skipped_ms)

    def _look_after(self) -> None:
        for element, why, refused in self._pipeline.errors():
            self._metrics.bus_errors.inc()
            owner = next((sink for sink in self._sinks if sink.owns(element)), None)
            if owner is not None:
                owner.failed(element, why, refused)
            elif self._source.owns(element):
                self._source.failed(why)
            else:
                raise unexpected(element, why)
        now = time.monotonic()
        if self._source.idle or any(sink.idle for sink in self._sinks) or now - self._last_look >= _LOOK_S:
            self._last_look = now
            self._source.tend()
            for sink in self._sinks:
                sink.tend()
            self._require_input()
        if now - self._last_status >= _STATUS_S:
            self._last_status = now
            self._report()
        if now - self._last_tidied >= _TIDY_S:
            self._last_tidied = now
            give_back()

    def _require_input(self) -> None:
        now = time.monotonic()
        if self._source.up:
            self._last_up = now
        elif now - self._last_up > self._settings.worker.input_grace_s:
            grace_s, why = self._settings.worker.input_grace_s, self._source.message
            raise InputNotReady(f"nothing to read within {grace_s:g} s: {why or 'no answer'} (is MediaMTX running?)")

    def _measure(self) -> str:
        """The metrics as text; what the sync probe finds is in the next ones."""
        self._sink.measure()
        m = self._metrics
        m.video_queue_ms.set(self._pipeline.video_queue_ms)
        m.audio_queue_ms.set(self._sound.queue_ms)
        still_s = self._pipeline.still_s
        if still_s > _FROZEN_S and not (self._slate and self._slate.on):
            m.frozen_s.inc(min(still_s, _MEASURE_S))
        if self._sink.av_sync_ms is not None:
            m.av_sync_ms.set(self._sink.av_sync_ms)
        _count_up(m.bus_warnings, self._pipeline.warnings)
        for side, end in (("input", self._source), ("output", self._sink)):
            _count_up(m.reconnects.labels(side), max(0, end.joins - 1))
            _count_up(m.lost_ms.labels(side), end.lost_ms)
        return m.text()

    def _report(self) -> None:
        now = time.monotonic()
        if now - self._last_measured >= _MEASURE_S:
            self._last_measured, self._figures = now, self._measure()
        state: State = "running" if self._source.up and self._sink.up else "waiting"
        self._reporter.send(
            WorkerStatus(
                state=state,
                message=self._message(state),
                mode=self._settings.worker.mode,
                programme=self._sound.programme,
                input_protocol=self._settings.input_protocol,
                delay_ms=self._sink.delay_ms,
                av_sync_ms=self._sink.av_sync_ms,
                metrics=self._figures,
            )
        )

    def _message(self, state: State) -> str:
        if self._slate and self._slate.on:
            return f"{self._source.message or 'waiting for a picture'}; the slate is on"
        if state == "running" or self._source.message:
            return self._source.message
        if not self._source.up:
            return "waiting for the input"
        return self._sink.message or f"the output begins {self._latency_s:g} s after the input"


def _count_up(counter: object, total: int) -> None:
    """Brings a Prometheus counter up to a total that is counted elsewhere."""
    counter.inc(total - counter._value.get())  # type: ignore[attr-defined]
