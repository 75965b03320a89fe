from __future__ import annotations

import gc
import threading
import time
import weakref
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.errors import StsError
from dubrelay.sts.lanes import (
    FIRST_FACTOR,
    HUNG_LEAST_S,
    HUNG_TIMES,
    RESERVE_S,
    SPARE_AFTER_SHED,
    Lane,
    Leave,
    Pace,
)
from sts_parts import FakeClock
from waiting import wait_for

pytestmark = pytest.mark.unit

seconds = st.floats(0, 20, allow_nan=False)


def test_pace_learns_upwards_faster_than_downwards() -> None:
    up, down = Pace(), Pace()
    up.learn(1.0, FIRST_FACTOR + 0.2)
    down.learn(1.0, FIRST_FACTOR - 0.2)
    assert up.factor == pytest.approx(FIRST_FACTOR + 0.06)
    assert down.factor == pytest.approx(FIRST_FACTOR - 0.02)


@given(st.floats(0.05, 3), st.floats(0.5, 10))
def test_pace_settles_at_what_speaking_really_costs(true_factor: float, work_s: float) -> None:
    pace = Pace()
    for _ in range(100):
        pace.learn(work_s, true_factor * work_s)
    assert pace.factor == pytest.approx(true_factor, rel=0.01)


def test_what_was_measured_is_what_hardly_any_phrase_exceeds() -> None:
    pace = Pace()
    assert pace.measured_s(2.0) == 0
    for _ in range(100):
        pace.learn(1.0, 0.1)
    assert pace.measured_s(2.0) == pytest.approx(0.2)
    for took_s in [0.1, 0.3] * 50:
        pace.learn(1.0, took_s)
    assert 0.3 < pace.measured_s(1.0) < 0.5
    before = pace.measured_s(1.0)
    pace.doubt()
    assert pace.measured_s(1.0) == pytest.approx(0.95 * before)


def test_pace_learns_nothing_from_no_sound() -> None:
    pace = Pace()
    pace.learn(0.0, 5.0)
    assert pace.factor == FIRST_FACTOR


@given(seconds, seconds, seconds)
def test_an_admitted_phrase_is_predicted_to_end_before_its_deadline(queued: float, work: float, left: float) -> None:
    pace = Pace()
    if pace.admits(queued, work, left):
        assert queued + pace.cost_s(work) + RESERVE_S <= left


@given(seconds, seconds, st.lists(seconds, min_size=1, max_size=20))
def test_after_a_shed_phrase_the_voice_returns_only_with_spare(queued: float, work: float, lefts: list[float]) -> None:
    pace = Pace()
    was_shed = False
    for left in lefts:
        cost = queued + pace.cost_s(work)
        admitted = pace.admits(queued, work, left)
        if was_shed and admitted:
            assert cost * SPARE_AFTER_SHED + RESERVE_S <= left
        was_shed = not admitted


def test_a_load_at_the_edge_does_not_make_the_voice_change_from_phrase_to_phrase() -> None:
    pace = Pace()
    cost = pace.cost_s(3.0)
    admitted = [pace.admits(0.0, 3.0, cost + RESERVE_S + wobble) for wobble in (0.1, -0.1, 0.1, -0.1)]
    assert admitted == [True, False, False, False]
    assert pace.admits(0.0, 3.0, cost * SPARE_AFTER_SHED + RESERVE_S)


def test_what_was_learnt_under_a_load_fades_until_the_voice_is_tried_again() -> None:
    pace = Pace()
    pace.learn(1.0, 5.0)
    shed = 0
    while not pace.admits(0.0, 3.0, 4.0):
        shed += 1
    assert 3 < shed < 30
    assert pace.factor < FIRST_FACTOR * 2


@pytest.fixture
def lane() -> Lane:
    return Lane("tts", "test", time.monotonic)


def test_lane_returns_what_was_computed_and_how_long_it_took() -> None:
    clock = FakeClock()

    def recognise() -> str:
        clock.advance(0.5)
        return "text"

    done = Lane("asr", "test", clock).run(recognise, clock() + 5)
    assert done.value == "text"
    assert done.took_s == pytest.approx(0.5)
    assert done.waited_s == 0


def test_lane_raises_what_the_call_raised(lane: Lane) -> None:
    with pytest.raises(ZeroDivisionError):
        lane.run(lambda: 1 // 0, time.monotonic() + 5)


def test_nobody_waits_past_the_deadline_for_a_call_that_hangs(lane: Lane) -> None:
    let_go = threading.Event()
    began = time.monotonic()
    with pytest.raises(StsError, match="not done in time") as caught:
        lane.run(let_go.wait, began + 0.2)
    took_s = time.monotonic() - began
    let_go.set()
    assert (caught.value.code, caught.value.stage, caught.value.retryable) == ("TIMEOUT", "tts", True)
    assert 0.2 <= took_s < 2


def test_what_gave_up_waiting_is_never_begun(lane: Lane) -> None:
    let_go, began = threading.Event(), []
    blocker = threading.Thread(target=lambda: lane.run(let_go.wait, time.monotonic() + 20), daemon=True)
    blocker.start()
    wait_for(lambda: lane.backlog_s() > 0, 5, "the lane to be busy")
    with pytest.raises(StsError):
        lane.run(lambda: began.append("late"), time.monotonic() + 0.1, cost_s=60.0)
    assert lane.backlog_s() < 30, "what nobody waits for any more is no load"
    let_go.set()
    blocker.join(5)
    assert lane.run(lambda: "next", time.monotonic() + 5).value == "next"
    assert began == []


def test_a_call_whose_turn_comes_too_late_is_not_begun(lane: Lane) -> None:
    began: list[str] = []
    with pytest.raises(StsError, match="not done in time"):
        lane.run(lambda: began.append("late"), time.monotonic() + 5, latest_start=time.monotonic() - 0.01)
    assert began == []


def test_backlog_is_what_is_queued_and_the_rest_of_what_runs() -> None:
    clock = FakeClock()
    lane = Lane("tts", "test", clock)
    begun, let_go = threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        let_go.wait()

    threads = [threading.Thread(target=lane.run, args=(call, clock() + 60, cost), daemon=True) for cost in (2.0, 3.0)]
    threads[0].start()
    assert begun.wait(5), "the first call runs"
    threads[1].start()
    wait_for(lambda: lane.backlog_s() == 5.0, 5, "the second call to wait")
    clock.advance(0.5)
    assert lane.backlog_s() == pytest.approx(4.5)
    clock.advance(2.5)
    assert lane.backlog_s() == pytest.approx(4.0), "1 s overrun counts as 1 s more to come"
    let_go.set()
    for thread in threads:
        thread.join(5)
    assert lane.backlog_s() == 0


def test_a_closed_lane_refuses_what_waits_and_what_comes(lane: Lane) -> None:
    errors: list[StsError] = []
    let_go = threading.Event()

    def call() -> None:
        try:
            lane.run(let_go.wait, time.monotonic() + 20, cost_s=10.0)
        except StsError as e:
            errors.append(e)

    threads = [threading.Thread(target=call, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_for(lambda: lane.backlog_s() > 15, 5, "one call to run and one to wait")
    lane.close()
    for thread in threads:
        thread.join(5)
    let_go.set()
    assert [e.code for e in errors] == ["OVERLOADED", "OVERLOADED"]
    with pytest.raises(StsError, match="stopping"):
        lane.run(free_of_cost, time.monotonic() + 5)


def test_a_lane_with_two_threads_runs_two_calls_at_once_and_is_free_when_the_first_of_them_ends() -> None:
    clock = FakeClock()
    lane = Lane("tts", "test", clock, workers=2)
    let_go, begun = threading.Event(), []

    def call() -> None:
        begun.append(1)
        let_go.wait()

    threads = []
    for count, cost_s in enumerate((2.0, 3.0), 1):
        threads.append(threading.Thread(target=lane.run, args=(call, clock() + 60, cost_s), daemon=True))
        threads[-1].start()
        wait_for(lambda count=count: len(begun) == count, 5, "the call to begin")
        assert lane.backlog_s() == (0.0 if count == 1 else 2.0)
    threads.append(threading.Thread(target=lane.run, args=(call, clock() + 60, 4.0), daemon=True))
    threads[-1].start()
    wait_for(lambda: lane.backlog_s() == 3.0, 5, "the third call to wait")
    clock.advance(1.0)
    assert lane.backlog_s() == pytest.approx(2.0)
    let_go.set()
    for thread in threads:
        thread.join(5)


def test_a_call_that_nobody_wants_any_more_is_not_waited_for(lane: Lane) -> None:
    let_go, leave, errors = threading.Event(), Leave(), list[StsError]()

    def ask() -> None:
        try:
            lane.run(let_go.wait, time.monotonic() + 60, leave=leave)
        except StsError as e:
            errors.append(e)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    wait_for(lambda: lane.backlog_s() > 0, 5, "the call to be begun")
    leave.go()
    thread.join(5)
    let_go.set()
    assert [e.message for e in errors] == ["nobody waits for the answer any more"]
    with pytest.raises(StsError, match="nobody waits"):
        lane.run(free_of_cost, time.monotonic() + 5, leave=leave)


def test_a_call_hangs_when_it_takes_many_times_what_was_predicted_and_long() -> None:
    clock, let_go = FakeClock(), threading.Event()
    lane = Lane("tts", "test", clock)
    begun = threading.Event()

    def call() -> None:
        begun.set()
        let_go.wait()

    thread = threading.Thread(target=lane.run, args=(call, clock() + 900, 10.0), kwargs={"who": "voice"}, daemon=True)
    thread.start()
    assert begun.wait(5)
    clock.advance(max(HUNG_LEAST_S, HUNG_TIMES * 10.0) - 1)
    assert lane.hung() == ""
    clock.advance(2)
    assert lane.hung() == "voice"
    let_go.set()
    thread.join(5)
    assert lane.hung() == ""


def free_of_cost() -> None:
    pass


def test_an_error_does_not_keep_the_sound_it_was_about() -> None:
    def fail(_: object) -> None:
        raise RuntimeError("cannot decode")

    lane = Lane("asr", "asr", time.monotonic)
    sound = np.zeros(16_000, np.float32)
    held = weakref.ref(sound)
    gc.disable()
    try:
        with pytest.raises(RuntimeError, match="cannot decode") as raised:
            lane.run(partial(fail, sound), time.monotonic() + 10)
        del raised, sound
        lane.run(lambda: None, time.monotonic() + 10)  # of the last call the lane itself knows
        assert held() is None
    finally:
        gc.enable()
        lane.close()
