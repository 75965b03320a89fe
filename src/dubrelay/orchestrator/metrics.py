"""The orchestrator's own metrics, and those of every worker that runs, under its stream's label."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from dubrelay import logs
from dubrelay.orchestrator.delivery import Delivery
from dubrelay.wire.streams import DestinationState, RecordingState, StreamState

WORKER_PREFIX = "worker_"


def merged(texts: Iterable[tuple[str, str]]) -> list[Metric]:
    """`texts` is (stream id, metrics in Prometheus' text format); families of the same name and type become one."""
    families: dict[str, Metric] = {}
    for stream_id, text in texts:
        try:
            found = list(text_string_to_metric_families(text))
        except ValueError as e:
            logs.get().warning("worker_metrics_unreadable", streamId=stream_id, error=str(e))
            continue
        for family in found:
            if family.name.startswith(WORKER_PREFIX):
                _add(families, family, stream_id)
    return list(families.values())


def _add(families: dict[str, Metric], family: Metric, stream_id: str) -> None:
    into = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
    if into.type == family.type:
        into.samples += [s._replace(labels={**s.labels, "stream_id": stream_id}) for s in family.samples]


class _Snapshot(Collector):
    """What is true at the moment of the scrape; a stream that is gone leaves nothing behind."""

    def __init__(
        self,
        states: Callable[[], Iterable[str]],
        workers: Callable[[], Iterable[tuple[str, str]]],
        destinations: Callable[[], Iterable[tuple[str, str, Delivery]]],
        recordings: Callable[[], Iterable[str]],
        recorded_bytes: Callable[[], int],
    ) -> None:
        self._states = states
        self._workers = workers
        self._destinations = destinations
        self._recordings = recordings
        self._recorded_bytes = recorded_bytes

    def collect(self) -> Iterator[Metric]:
        yield _by_state("orchestrator_streams", "Streams by state", self._states(), StreamState)
        yield from _of_destinations(list(self._destinations()))
        about = "Streams in session by how their recording goes"
        yield _by_state("orchestrator_recordings", about, self._recordings(), RecordingState)
        yield GaugeMetricFamily(
            "orchestrator_recorded_bytes", "All recordings together, captions included", self._recorded_bytes()
        )
        yield from merged(self._workers())


def _by_state(name: str, about: str, states: Iterable[str], possible: object) -> Metric:
    """`possible` is a Literal."""
    tally = Tally(states)
    family = GaugeMetricFamily(name, about, labels=["state"])
    for state in get_args(possible):
        family.add_metric([state], tally[state])
    return family


def _of_destinations(destinations: list[tuple[str, str, Delivery]]) -> Iterator[Metric]:
    about = "Destinations of streams in session by state"
    found = (delivery.state for _, _, delivery in destinations)
    states = _by_state("orchestrator_destinations", about, found, DestinationState)
    labels = ["stream_id", "destination"]
    sent = CounterMetricFamily("orchestrator_destination_bytes", "Sent to a destination", labels=labels)
    retries = CounterMetricFamily("orchestrator_destination_retries", "Attempts after a failure", labels=labels)
    for stream_id, name, delivery in destinations:
        sent.add_metric([stream_id, name], delivery.sent)
        retries.add_metric([stream_id, name], delivery.retries)
    yield from (states, sent, retries)


class OrchestratorMetrics:
    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.worker_restarts = Counter(
            "orchestrator_worker_restarts", "Workers started again after one failed", registry=self._registry
        )
        self.streams_refused = Counter(
            "orchestrator_streams_refused", "Streams that came beyond orchestrator.max_streams", registry=self._registry
        )
        self.recordings_deleted = Counter(
            "orchestrator_recordings_deleted", "Recordings that went to keep within the limit", registry=self._registry
        )
        self.hook_events = Counter(
            "orchestrator_hook_events", "Events of MediaMTX's hooks", ["event", "result"], registry=self._registry
        )
        ProcessCollector(namespace="orchestrator", registry=self._registry)

        self.access = Counter(
            "orchestrator_access", "What MediaMTX asked for clients", ["action", "result"], registry=self._registry
        )
        self.access_limited = Counter(
            "orchestrator_access_limited", "Refusals that were too many to be logged", registry=self._registry
        )

    def watch(
        self,
        states: Callable[[], Iterable[str]],
        workers: Callable[[], Iterable[tuple[str, str]]],
        destinations: Callable[[], Iterable[tuple[str, str, Delivery]]] = list,
        recordings: Callable[[], Iterable[str]] = list,
        recorded_bytes: Callable[[], int] = int,
    ) -> None:
        """`states` of all streams; `workers`: stream id and metrics text of each worker that runs; `destinations`:
        stream id, name and how it fares, of each destination of a stream in session; `recordings`: states of those.
        """
        self._registry.register(_Snapshot(states, workers, destinations, recordings, recorded_bytes))

    def restarts(self) -> float:
        """Workers started again so far."""
        (family,) = self.worker_restarts.collect()
        return next(sample.value for sample in family.samples if sample.name.endswith("_total"))

    def text(self) -> bytes:
        return generate_latest(self._registry)
