"""What a worker counts and measures (contracts, section 5). The stream_id label is added by whoever serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

if TYPE_CHECKING:  # arrays: bypass does without
    from dubrelay.worker.meter import Meter

_MARGIN_MS = (-2000, -1000, -500, -200, 0, 200, 500, 1000, 2000, 3000, 4000, 6000, 8000)
_LATENCY_MS = (500, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000, 15000, 30000)

Side = Literal["input", "output"]


class WorkerMetrics:
    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # half of the text, and of use to nobody here
        self.registry = CollectorRegistry()
        r = self.registry
        self.fragments = Counter("worker_audio_fragments", "Phrases by what became of them", ["status"], registry=r)
        self.fallbacks = Counter("worker_fallback", "Phrases not dubbed, by reason", ["reason"], registry=r)
        self.unheard = Counter(
            "worker_unheard_dubs", "Answers in time that were not let through, by what was found", ["found"], registry=r
        )
        self.margin_ms = Histogram(
            "worker_deadline_margin_ms", "Answer in hand -> deadline of its phrase", buckets=_MARGIN_MS, registry=r
        )
        self.end_to_end_ms = Histogram(
            "worker_fragment_end_to_end_latency_ms",
            "First sample of a phrase: arrival at the worker -> publish",
            buckets=_LATENCY_MS,
            registry=r,
        )
        self.av_sync_ms = Gauge("worker_av_sync_delta_ms", "Sound against picture in the output, + is late", registry=r)
        self.video_queue_ms = Gauge("worker_video_queue_ms", "Picture waiting before the muxer", registry=r)
        self.audio_queue_ms = Gauge("worker_audio_queue_ms", "Sound waiting to be listened to", registry=r)
        self.frozen_s = Counter(
            "worker_frozen_seconds", "Time in which no picture came for the output, and no slate was on", registry=r
        )
        self.bus_errors = Counter("worker_gst_bus_errors", "Errors on GStreamer's bus", registry=r)
        self.bus_warnings = Counter("worker_gst_bus_warnings", "Warnings on GStreamer's bus", registry=r)
        self.reconnects = Counter("worker_reconnects", "Connections after the first one", ["side"], registry=r)
        self.lost_ms = Counter(
            "worker_lost_ms",
            "Pictures that did not come in, or were not taken from us, round a reconnect",
            ["side"],
            registry=r,
        )
        self.skipped_ms = Counter("worker_skipped_ms", "Output skipped: the worker was not run in time", registry=r)
        self.loudness_lufs = Gauge(
            "worker_loudness_lufs",
            "Loudness of the sound in dub mode: of the latest 400 ms, or of all so far",
            ["side", "window"],
            registry=r,
        )
        self.silence_s = Gauge("worker_silence_seconds", "Time without a sound, by now", ["side"], registry=r)
        self.clipped_s = Counter("worker_clipped_seconds", "Sound at full scale", ["side"], registry=r)
        ProcessCollector(namespace="worker", registry=r)  # worker_process_resident_memory_bytes and the like
        for found in ("dead_dub", "ghost_dub", "held_back"):
            self.unheard.labels(found)
        for side in ("input", "output"):
            self.reconnects.labels(side)
            self.lost_ms.labels(side)

    def show(self, side: Side, meter: Meter) -> None:
        """Shows from now on what the meter of that side says whenever the metrics are read."""
        self.loudness_lufs.labels(side, "momentary").set_function(lambda: meter.momentary_lufs)
        self.loudness_lufs.labels(side, "integrated").set_function(lambda: meter.integrated_lufs)
        self.silence_s.labels(side).set_function(lambda: meter.silent_s)
        self.clipped_s.labels(side)

    def text(self) -> str:
        """Prometheus' text format."""
        return generate_latest(self.registry).decode()
