"""What a stream has cost, beside what the STS service itself says of the same phrases."""

from __future__ import annotations

from typing import Any

import pytest

from dubrelay.orchestrator.costs import SERVED_S, Costs
from dubrelay.sts.meter import STREAM_GAP_S, Meter
from dubrelay.wire.status import PhraseReport

pytestmark = pytest.mark.unit

PRICE = 0.6
PHRASE_S = 4.0


def report(**values: Any) -> PhraseReport:
    given = {"sequence_number": 1, "t0_ms": 0, "started_at": 0, "duration_ms": 1000 * PHRASE_S, "status": "dubbed"}
    return PhraseReport.model_validate(given | values)


def test_a_stream_alone_costs_what_the_service_says_of_its_time() -> None:
    """With a pause of five minutes in it."""
    now = 0.0
    costs, meter = Costs(PRICE), Meter(lambda: now)
    for now in (*range(4, 1800, 6), *range(2100, 3600, 6)):
        costs.phrase("x", "r", report(), now)
        meter.heard("x", PHRASE_S)
    cost = costs.of("x", "r")
    assert cost == pytest.approx(PRICE * meter.spent().stream_s / 3600, abs=1e-4)
    assert cost == pytest.approx(PRICE * 3300 / 3600, rel=0.01)
    assert SERVED_S == STREAM_GAP_S


def test_streams_that_speak_at_once_share_the_price() -> None:
    now = 0.0
    costs, meter = Costs(PRICE), Meter(lambda: now)
    for now in range(1, 3601):
        stream_id = "abc"[now % 3]
        costs.phrase(stream_id, "r", report(), now)
        meter.heard(stream_id, PHRASE_S)
    found = [costs.of(stream_id, "r") for stream_id in "abc"]
    assert sum(found) == pytest.approx(PRICE, rel=0.01)
    assert max(found) == pytest.approx(min(found), rel=0.05)
    per_stream_hour = sum(meter.spent().costs(PRICE)["stream_hour"].values())
    assert found[0] == pytest.approx(per_stream_hour, rel=0.01), "each was served for the whole hour"


def test_one_that_has_ended_costs_no_more_and_leaves_the_price_to_the_others() -> None:
    costs = Costs(3600)
    costs.phrase("a", "r", report(), 0)
    costs.phrase("a", "r", report(), 10)
    ended = costs.of("a", "")
    assert ended == 14
    costs.phrase("b", "r", report(), 200)
    costs.phrase("b", "r", report(), 210)
    assert (costs.of("a", ""), costs.of("b", "r")) == (ended, 14)


def test_a_new_session_begins_at_nothing_and_a_stream_that_is_gone_is_forgotten() -> None:
    costs = Costs(PRICE)
    costs.phrase("x", "r", report(), 0)
    assert costs.of("x", "r") != 0
    assert costs.of("x", "s") == 0
    costs.phrase("x", "s", report(), 10)
    assert costs.of("x", "s") == costs.of("x", "")
    costs.keep(["y"])
    assert costs.of("x", "s") == 0


def test_what_no_service_had_costs_nothing_and_without_a_price_there_is_no_cost() -> None:
    costs = Costs(PRICE)
    costs.phrase("x", "r", report(status="fallback", reason="breaker_open"), 0)
    assert costs.of("x", "r") == 0
    assert Costs(0).of("x", "r") is None
