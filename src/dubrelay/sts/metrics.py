"""What the STS service counts (contracts, section 5), and what it costs (docs/engines.md has the formula)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dubrelay.errors import Stage
from dubrelay.sts.meter import Meter
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
        ProcessCollector(namespace="sts", registry=self._registry)

    def received(self, request: ProcessRequest) -> None:
        self._audio.inc(request.audio.duration_ms / 1000)

    def watch(self, meter: Meter, cost_per_hour: float) -> None:
        """Shows what the meter reads, too."""
        self._registry.register(_Cost(meter, cost_per_hour))

    def computed(self, result: ProcessResult) -> None:
        """An answer was made, not remembered."""
        for stage, took_ms in result.metadata.stage_ms.items():
            self._stages.labels(stage).observe(took_ms / 1000)

    def answered(self, status: str) -> None:
        self._requests.labels(status).inc()

    def render(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


class _Cost(Collector):
    """Read when it is asked for."""

    def __init__(self, meter: Meter, per_hour: float) -> None:
        self._meter, self._per_hour = meter, per_hour

    def collect(self) -> Iterator[Metric]:
        spent = self._meter.spent()
        yield _counter("sts_wall_seconds", "Since the models were warm.", spent.wall_s)
        yield _counter("sts_busy_seconds", "Of these: at least one engine computed.", spent.busy_s)
        yield _counter("sts_stream_seconds", "For how long streams were served, summed over them.", spent.stream_s)
        yield _counter("sts_dubbed_seconds", "Dubbed speech that was handed out.", spent.dubbed_s)
        yield _by_stage("sts_engine_seconds", "Computing by stage.", spent.stage_s)
        text = "Phrases that a fast engine did, because the other one would have been late."
        yield _by_stage("sts_fast_lane", text, spent.hurried)
        yield GaugeMetricFamily("sts_streams", "Streams that are being served.", self._meter.streams())
        for what, parts in spent.costs(self._per_hour).items():
            text = f"sts.cost_per_hour per {what.replace('_', ' ')} since the models were warm, split by what was paid."
            family = GaugeMetricFamily(f"sts_cost_per_{what}", text, labels=["part"])
            for part, cost in parts.items():
                family.add_metric([part], cost)
            yield family


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value)


def _by_stage(name: str, text: str, values: Mapping[Stage, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["stage"])
    for stage, value in values.items():
        family.add_metric([stage], value)
    return family
