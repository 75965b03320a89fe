from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.errors import Stage
from dubrelay.sts.meter import SHARE_OVER_S, STREAM_GAP_S, Meter, Share
from sts_parts import FakeClock

pytestmark = pytest.mark.unit


def test_time_is_busy_while_one_engine_computes_however_many_do() -> None:
    clock = FakeClock()
    meter = Meter(clock)
    clock.advance(4.0)
    with meter.computing("asr"):
        clock.advance(1.0)
        with meter.computing("tts"):
            clock.advance(2.0)
        clock.advance(1.0)
    clock.advance(2.0)
    spent = meter.spent()
    assert (spent.wall_s, spent.busy_s) == (pytest.approx(10.0), pytest.approx(4.0))
    assert spent.stage_s == {"asr": pytest.approx(4.0), "mt": 0.0, "tts": pytest.approx(2.0)}


def test_a_call_that_goes_on_is_busy_already() -> None:
    clock = FakeClock()
    meter = Meter(clock)
    with meter.computing("mt"):
        clock.advance(3.0)
        assert meter.spent().busy_s == pytest.approx(3.0)


def test_the_cost_is_the_price_split_into_busy_and_idle() -> None:
    clock = FakeClock()
    meter = Meter(clock)
    for _ in range(121):  # a stream of half an hour
        meter.heard("a", 4.0)
        with meter.computing("tts"):
            clock.advance(5.0)
        meter.spoken(3.0)
        clock.advance(10.0)
    spent = meter.spent()
    costs = spent.costs(2.0)
    hours, stream_hours, minutes = spent.wall_s / 3600, spent.stream_s / 3600, 121 * 3.0 / 60
    assert spent.stream_s == pytest.approx(4.0 + 120 * 15.0)
    assert sum(costs["stream_hour"].values()) == pytest.approx(2.0 * hours / stream_hours)
    assert sum(costs["dubbed_minute"].values()) == pytest.approx(2.0 * hours / minutes)
    for parts in costs.values():
        assert parts["busy"] / sum(parts.values()) == pytest.approx(1 / 3)


def test_before_there_was_anything_nothing_has_a_cost() -> None:
    clock = FakeClock()
    meter = Meter(clock)
    clock.advance(100.0)
    assert meter.spent().costs(5.0) == {
        "stream_hour": {"busy": 0.0, "idle": 0.0},
        "dubbed_minute": {"busy": 0.0, "idle": 0.0},
    }


def test_streams_are_served_until_a_minute_after_their_last_phrase() -> None:
    clock = FakeClock()
    meter = Meter(clock)
    meter.heard("a", 3.0)
    clock.advance(STREAM_GAP_S - 1)
    meter.heard("b", 2.0)
    assert meter.streams() == 2
    clock.advance(2.0)
    assert meter.streams() == 1
    meter.heard("a", 3.0)
    assert meter.spent().stream_s == pytest.approx(3.0 + 2.0 + 3.0), "a gap that long is no part of a stream"


stages: st.SearchStrategy[Stage] = st.sampled_from(["asr", "mt", "tts"])


@given(st.lists(st.tuples(stages, st.floats(0, 50), st.floats(0, 50)), max_size=20))
def test_no_more_is_busy_than_passes(calls: list[tuple[Stage, float, float]]) -> None:
    clock = FakeClock()
    meter = Meter(clock)
    for stage, pause_s, took_s in calls:
        clock.advance(pause_s)
        with meter.computing(stage):
            clock.advance(took_s)
    spent = meter.spent()
    assert spent.busy_s <= spent.wall_s + 1e-6
    assert sum(spent.stage_s.values()) == pytest.approx(spent.busy_s, abs=1e-6)


def test_a_share_is_what_ran_lately() -> None:
    clock = FakeClock()
    share = Share(clock)
    clock.advance(100.0)
    assert share.value() == 0
    share.change(1)
    clock.advance(SHARE_OVER_S)
    assert share.value() == pytest.approx(1 - math.exp(-1))
    clock.advance(10 * SHARE_OVER_S)
    share.change(-1)
    assert share.value() == pytest.approx(1.0, abs=1e-3)
    clock.advance(SHARE_OVER_S)
    assert share.value() == pytest.approx(math.exp(-1), abs=1e-3)
