"""One stream's session: wires input, dubbing and output; the only file of this room that knows them all.

One thread runs the pump: some times a second it pulls what came in, hands it to dubbing, and pushes the sound of
[cursor, now - latency) in one buffer, dubbed or original, never a hole. It also looks after both connections.
"""

from __future__ import annotations

import threading
import time
from typing import Literal, Protocol

from dubrelay import logs
from dubrelay.audio import NS_PER_S, Ring, Samples, from_pcm, sample_at, samples_in, seconds, time_of, to_pcm
from dubrelay.errors import InputNotReady
from dubrelay.wire.status import State, WorkerStatus
from dubrelay.wire.worker import WorkerSettings
from dubrelay.worker.metrics import WorkerMetrics
from dubrelay.worker.pipeline import MediaPipeline, unexpected
from dubrelay.worker.report import Reporter
from dubrelay.worker.sink import Sink
from dubrelay.worker.source import Source

_TICK_S = {"dub": 0.2, "bypass": 0.3}
"""How often the pump looks: in dub mode a phrase's deadline hangs on it, in bypass mode only what it costs."""
_STATUS_S = 1.0
_MEASURE_S = 2.0
"""How old the figures in a status line may be: making them costs a tenth of bypass mode."""
_LOOK_S = 0.8
"""How often connections that work are looked at; asking GStreamer costs more than moving the sound."""
_LATE_S = 0.7
"""The muxer waits one second longer than the latency; sound that comes later than that would be squeezed together."""
_PAUSED_S = 0.6


class Track(Protocol):
    """The way of the sound through the worker."""

    def feed(self, at: int, samples: Samples) -> None:
        """What came in."""

    def paused(self) -> None:
        """Nothing came in for a while: what was begun is to be finished."""

    def render(self, at: int, count: int) -> Samples:
        """What goes out at these sample numbers: (count, 2)."""

    @property
    def queue_ms(self) -> float:
        """Sound that waits to be listened to."""

    def close(self) -> None: ...


class Through:
    """The sound as it came: the track of bypass mode."""

    queue_ms = 0.0

    def __init__(self, latency_s: float) -> None:
        self._ring = Ring(samples_in(latency_s + 10))

    def feed(self, at: int, samples: Samples) -> None:
        self._ring.write(at, samples)

    def paused(self) -> None:
        pass

    def render(self, at: int, count: int) -> Samples:
        return self._ring.read(at, count)

    def close(self) -> None:
        pass


class Session:
    """A worker from start to stop."""

    def __init__(self, settings: WorkerSettings, metrics: WorkerMetrics, reporter: Reporter) -> None:
        self._settings, self._metrics, self._reporter = settings, metrics, reporter
        self._log = logs.get()
        dubbing = settings.worker.mode == "dub"
        self._latency_s = settings.worker.latency_s if dubbing else settings.worker.bypass_latency_s
        self._tick_s = _TICK_S[settings.worker.mode]
        self._pipeline = MediaPipeline(
            round(self._latency_s * NS_PER_S), settings.worker.audio_bitrate_kbps, batch_ms=round(self._tick_s * 1000)
        )
        self._source = Source(self._pipeline, settings.input_url, self._log, self._on_first)
        self._sink = Sink(self._pipeline, settings.output_url, self._log)
        self._track: Track = self._dubbed_track() if dubbing else Through(self._latency_s)
        self._cursor: int | None = None
        self._last_heard = self._last_up = self._last_status = self._last_look = time.monotonic()
        self._last_measured = 0.0
        self._figures = ""
        self._paused = True

    def _dubbed_track(self) -> Track:
        from dubrelay.worker.phrases import Phrases  # noqa: PLC0415  (models and HTTP: bypass does without)

        return Phrases(self._settings, self._metrics, self._reporter, self._pipeline.now)

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set. Raises DubrelayError when only the supervisor can help."""
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
                self._take_in()
                self._send_out()
                self._look_after()
        finally:
            self._track.close()
            self._source.close()
            self._pipeline.stop()

    def _on_first(self, running_ns: int) -> None:
        """On a thread of GStreamer's: the first buffer ever decides where the output begins."""
        if self._cursor is None:
            self._cursor = sample_at(running_ns)

    def _take_in(self) -> None:
        now = time.monotonic()
        for block in self._pipeline.pull():
            self._track.feed(block.at, from_pcm(block.pcm))
            self._source.heard(time_of(block.at + block.count))
            self._last_heard, self._paused = now, False
        if not self._paused and now - self._last_heard > _PAUSED_S:
            self._track.paused()
            self._paused = True

    def _send_out(self) -> None:
        if self._cursor is None:
            return
        due = sample_at(max(0, self._pipeline.now() - self._pipeline.latency_ns))
        if due - self._cursor > samples_in(_LATE_S):
            self._skip_to(due - samples_in(self._tick_s))
        if due > self._cursor:
            self._pipeline.push(self._cursor, to_pcm(self._track.render(self._cursor, due - self._cursor)))
            self._cursor = due

    def _skip_to(self, sample: int) -> None:
        assert self._cursor is not None
        skipped_ms = round(seconds(sample - self._cursor) * 1000)
        self._log.warning("output_skipped", skipped_ms=skipped_ms, reason="the worker was not run in time")
        self._metrics.skipped_ms.inc(skipped_ms)
        self._cursor = sample

    def _look_after(self) -> None:
        for element, why, refused in self._pipeline.errors():
            self._metrics.bus_errors.inc()
            if self._sink.owns(element):
                self._sink.failed(element, why, refused)
            elif self._source.owns(element):
                self._source.failed(why)
            else:
                raise unexpected(element, why)
        now = time.monotonic()
        if self._source.idle or self._sink.idle or now - self._last_look >= _LOOK_S:
            self._last_look = now
            self._source.tend()
            self._sink.tend()
            self._require_input()
        if now - self._last_status >= _STATUS_S:
            self._last_status = now
            self._report()

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
        m.audio_queue_ms.set(self._track.queue_ms)
        if self._sink.av_sync_ms is not None:
            m.av_sync_ms.set(self._sink.av_sync_ms)
        _count_up(m.bus_warnings, self._pipeline.warnings)
        _count_up(m.reconnects.labels("input"), max(0, self._source.joins - 1))
        _count_up(m.reconnects.labels("output"), max(0, self._sink.joins - 1))
        return m.text()

    def _report(self) -> None:
        now = time.monotonic()
        if now - self._last_measured >= _MEASURE_S:
            self._last_measured, self._figures = now, self._measure()
        protocol: Literal["rtmp", "rtsp"] = "rtsp" if self._settings.input_url.startswith("rtsp") else "rtmp"
        state: State = "running" if self._source.up and self._sink.up else "waiting"
        self._reporter.send(
            WorkerStatus(
                state=state,
                message=self._message(state),
                mode=self._settings.worker.mode,
                input_protocol=protocol,
                delay_ms=self._sink.delay_ms,
                av_sync_ms=self._sink.av_sync_ms,
                metrics=self._figures,
            )
        )

    def _message(self, state: State) -> str:
        if state == "running":
            return ""
        if not self._source.up:
            return self._source.message or "waiting for the input"
        return self._sink.message or f"the output begins {self._latency_s:g} s after the input"


def _count_up(counter: object, total: int) -> None:
    """Brings a Prometheus counter up to a total that is counted elsewhere."""
    counter.inc(total - counter._value.get())  # type: ignore[attr-defined]
