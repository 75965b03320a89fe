from __future__ import annotations

import pytest

from dubrelay.orchestrator.delivery import Delivery, Sighting
from dubrelay.orchestrator.metrics import OrchestratorMetrics, merged

pytestmark = pytest.mark.unit

TEXT = """\
# TYPE worker_fallback_total counter
worker_fallback_total{reason="timeout"} 3.0
# TYPE worker_sts_rtt_ms histogram
worker_sts_rtt_ms_bucket{le="100.0"} 1.0
worker_sts_rtt_ms_bucket{le="+Inf"} 2.0
worker_sts_rtt_ms_count 2.0
worker_sts_rtt_ms_sum 150.0
# TYPE orchestrator_streams gauge
orchestrator_streams 99.0
"""


def test_families_of_all_workers_are_joined_under_their_stream_ids() -> None:
    families = {family.name: family for family in merged([("a", TEXT), ("b", TEXT)])}
    assert set(families) == {"worker_fallback", "worker_sts_rtt_ms"}
    assert families["worker_fallback"].type == "counter"
    assert [sample.labels for sample in families["worker_fallback"].samples] == [
        {"reason": "timeout", "stream_id": "a"},
        {"reason": "timeout", "stream_id": "b"},
    ]
    assert len(families["worker_sts_rtt_ms"].samples) == 8


def test_text_that_is_no_metrics_hides_only_its_own_worker() -> None:
    assert [len(family.samples) for family in merged([("a", "worker_x{ 1"), ("b", TEXT)])] == [1, 4]


def test_the_text_shows_states_and_workers_of_the_moment() -> None:
    workers = [("a", TEXT)]
    metrics = OrchestratorMetrics()
    metrics.watch(states=lambda: ["running", "running", "degraded"], workers=lambda: workers)
    text = metrics.text().decode()
    assert 'orchestrator_streams{state="running"} 2.0' in text
    assert 'orchestrator_streams{state="idle"} 0.0' in text
    assert 'worker_fallback_total{reason="timeout",stream_id="a"} 3.0' in text
    assert text.count("# TYPE worker_sts_rtt_ms histogram") == 1
    workers.clear()
    assert "worker_" not in metrics.text().decode().replace("orchestrator_worker_", "")


def test_destinations_are_counted_by_state_and_what_is_gone_leaves_nothing_behind() -> None:
    well, failing = Delivery(0.0), Delivery(0.0)
    for second in (1, 2, 7):
        well.saw(Sighting("1", "forwarding", "", 1000 * second), second)
        failing.saw(Sighting("2", "error", "connection refused", 0), second)
    destinations = [("a", "main", well), ("a", "backup", failing)]
    metrics = OrchestratorMetrics()
    metrics.watch(states=list, workers=list, destinations=lambda: destinations)
    text = metrics.text().decode()
    assert 'orchestrator_destinations{state="forwarding"} 1.0' in text
    assert 'orchestrator_destinations{state="unreachable"} 1.0' in text
    assert 'orchestrator_destinations{state="stalled"} 0.0' in text
    assert 'orchestrator_destination_bytes_total{destination="main",stream_id="a"} 7000.0' in text
    assert 'orchestrator_destination_retries_total{destination="backup",stream_id="a"} 1.0' in text
    del destinations[1]
    assert 'destination="backup"' not in metrics.text().decode()
