"""What the STS service counts (contracts, section 5)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dubrelay.wire.fragment import ProcessRequest, ProcessResult

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STAGE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0)


class Metrics:
    """A registry of its own, so that two services in one process do not count each other's requests."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "sts_requests",
            "Phrases by outcome: success, no_speech, gone (the client left), spoilt (on purpose: sts.faults), "
            "or the error's code in lower case.",
            ["status"],
            registry=self._registry,
        )
        self._stages = Histogram(
            "sts_stage_seconds",
            "Computing per phrase and stage; wait is the time spent waiting for an engine.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=self._registry,
        )
        self.inflight = Gauge("sts_inflight", "Phrases in work or waiting.", registry=self._registry)
        self._audio = Counter("sts_audio_seconds", "Seconds of sound received.", registry=self._registry)

    def received(self, request: ProcessRequest) -> None:
        self._audio.inc(request.audio.duration_ms / 1000)

    def answered(self, status: str, result: ProcessResult | None = None) -> None:
        self._requests.labels(status).inc()
        if result is not None:
            for stage, took_ms in result.metadata.stage_ms.items():
                self._stages.labels(stage).observe(took_ms / 1000)

    def render(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)
