from __future__ import annotations

import itertools

import pytest

from dubrelay.orchestrator.plan import Plan, Unsupported
from dubrelay.orchestrator.streams import (
    COOL_DOWN_S,
    FIRST_BACK_OFF_S,
    MAX_BACK_OFF_S,
    MAX_RESTARTS,
    Source,
    StartWorker,
    StopWorker,
    Stream,
    give_places,
)

pytestmark = pytest.mark.unit

GRACE_S = 30.0
PLAN = Plan("rtmp", "dub")
OTHER_PLAN = Plan("srt", "dub")
REFUSED = Unsupported("needs H264 video")


def stream() -> Stream:
    numbers = itertools.count(1)
    return Stream(GRACE_S, lambda: f"run{next(numbers)}", lambda: 1.0)


def publishing(source_id: str = "a", plan: Plan | Unsupported = PLAN) -> Source:
    return Source(source_id, "2026-01-01T00:00:00Z", plan)


def running(now: float = 0.0) -> Stream:
    machine = stream()
    machine.listed(publishing())
    assert machine.decide(now) == StartWorker("run1", PLAN)
    machine.worker_ready()
    return machine


def test_a_publisher_gets_one_worker() -> None:
    machine = stream()
    assert machine.state(0) == "idle"
    assert machine.decide(0) is None
    machine.listed(publishing())
    assert machine.decide(0) == StartWorker("run1", PLAN)
    machine.listed(publishing())
    assert machine.decide(0.1) is None
    assert machine.state(0.1) == "starting"
    machine.worker_ready()
    assert machine.state(0.2) == "running"


def test_a_publisher_that_leaves_has_a_grace_and_then_the_worker_stops() -> None:
    machine = running()
    machine.unlisted(100)
    assert machine.decide(100) is None
    assert machine.state(129.9) == "grace"
    assert machine.decide(129.9) is None
    assert machine.decide(130) == StopWorker()
    assert machine.state(130) == "stopping"
    assert machine.decide(131) is None
    assert machine.worker_exited(0, "", 131) is False
    assert machine.state(131) == "idle"
    assert machine.decide(131) is None


def test_polls_without_the_publisher_do_not_prolong_the_grace() -> None:
    machine = running()
    for now in range(100, 130):
        machine.unlisted(now)
        assert machine.decide(now) is None
    machine.unlisted(130)
    assert machine.decide(130) == StopWorker()


def test_a_return_within_the_grace_keeps_worker_and_run() -> None:
    machine = running()
    machine.unlisted(100)
    machine.listed(publishing("b"))
    assert machine.decide(200) is None
    assert machine.state(200) == "running"
    assert machine.run_id == "run1"


def test_a_return_while_the_worker_stops_starts_a_new_run_when_it_has() -> None:
    machine = running()
    machine.unlisted(100)
    assert machine.decide(130) == StopWorker()
    machine.listed(publishing("b"))
    assert machine.decide(131) is None
    machine.worker_exited(0, "", 132)
    assert machine.decide(132) == StartWorker("run2", PLAN)


def test_a_late_not_ready_of_the_session_before_stops_nothing() -> None:
    machine = running()
    machine.listed(publishing("b"))
    assert machine.hook_not_ready("a", 10) is False
    assert machine.state(10) == "running"
    assert machine.hook_not_ready("b", 10) is True
    assert machine.state(10) == "grace"
    assert machine.hook_not_ready("b", 20) is True, "said twice, scheduled once"
    assert machine.hook_not_ready("a", 20) is False
    assert machine.decide(40) == StopWorker()


def test_another_way_in_replaces_the_worker_in_the_same_run() -> None:
    machine = running()
    machine.listed(publishing("b", OTHER_PLAN))
    assert machine.decide(10) == StopWorker()
    machine.worker_exited(0, "", 11)
    assert machine.decide(11) == StartWorker("run1", OTHER_PLAN)


def test_another_mode_replaces_the_worker_of_the_same_publisher() -> None:
    machine = running()
    machine.replan(PLAN)
    assert machine.decide(10) is None, "nothing is different"
    machine.replan(Plan("rtmp", "bypass"))
    assert machine.decide(10) == StopWorker()
    machine.worker_exited(0, "", 11)
    assert machine.decide(11) == StartWorker("run1", Plan("rtmp", "bypass"))
    assert machine.restarts == 0


def test_a_plan_for_nobody_or_for_what_no_worker_can_take_is_none() -> None:
    machine = stream()
    machine.replan(PLAN)
    assert machine.decide(0) is None
    machine.listed(publishing(plan=REFUSED))
    machine.replan(PLAN)
    assert machine.state(0) == "degraded"


def test_an_operator_restarts_a_worker_once() -> None:
    machine = running()
    machine.restart()
    assert machine.decide(10) == StopWorker()
    machine.worker_exited(0, "", 11)
    assert machine.decide(11) == StartWorker("run1", PLAN)
    machine.worker_ready()
    assert machine.decide(12) is None


@pytest.mark.parametrize("code", [2, 40])
def test_an_operators_restart_waits_for_no_back_off(code: int) -> None:
    machine = running()
    for now in range(MAX_RESTARTS):
        machine.worker_exited(code, "broken", now)
        machine.worker = "starting"
    machine.worker_exited(code, "broken", 20)
    assert machine.decide(20) is None
    machine.restart()
    assert machine.decide(20) == StartWorker("run1", PLAN)


def test_another_mode_is_another_try_after_a_fatal_exit() -> None:
    machine = running()
    machine.worker_exited(2, "no model to dub with", 1)
    machine.replan(Plan("rtmp", "bypass"))
    assert machine.decide(10) == StartWorker("run1", Plan("rtmp", "bypass"))


def test_a_stream_no_worker_can_take_is_degraded_and_says_why() -> None:
    machine = stream()
    machine.listed(publishing(plan=REFUSED))
    assert machine.decide(0) is None
    assert machine.state(0) == "degraded"
    assert machine.message() == "needs H264 video"
    machine.unlisted(1)
    assert machine.state(1) == "idle"


@pytest.mark.parametrize("code", [2, 3])
def test_a_worker_that_would_fail_again_is_not_restarted(code: int) -> None:
    machine = running()
    assert machine.worker_exited(code, "no such plugin", 1) is True
    for now in range(1, 2000):
        assert machine.decide(now) is None
    assert machine.state(2000) == "degraded"
    assert machine.message() == "no such plugin"


def test_a_new_publisher_gets_another_try_after_a_fatal_exit() -> None:
    machine = running()
    machine.worker_exited(2, "bad language", 1)
    machine.listed(publishing("b", OTHER_PLAN))
    assert machine.decide(10) == StartWorker("run1", OTHER_PLAN)


@pytest.mark.parametrize("code", [0, 20, 30, 40, 70, -9, -11])
def test_other_failures_are_restarted_at_once_and_then_with_back_off(code: int) -> None:
    machine = running()
    machine.worker_exited(70, "a bug", 99)
    assert machine.decide(99) == StartWorker("run1", PLAN)
    machine.worker_exited(code, "broken pipe", 100)
    machine.listed(publishing())
    assert machine.decide(100) is None
    assert machine.held_off_s(100) == FIRST_BACK_OFF_S
    assert machine.state(100) == "starting"
    assert machine.message() == "broken pipe"
    assert machine.decide(100 + FIRST_BACK_OFF_S) == StartWorker("run1", PLAN)
    assert machine.restarts == 2


def test_back_off_doubles_and_has_jitter() -> None:
    delays = []
    for jitter in (0.0, 1.0):
        machine = Stream(GRACE_S, lambda: "run", lambda jitter=jitter: jitter)
        machine.listed(publishing())
        now = 0.0
        machine.decide(now)
        for _ in range(4):
            machine.worker_exited(40, "", now)
            failed_at = now
            while machine.decide(now) is None:
                now += 0.125
            delays.append(now - failed_at)
    assert delays == [0.0, 0.25, 0.5, 1.0, 0.0, 0.5, 1.0, 2.0]


def test_the_seventh_failure_in_ten_minutes_cools_down_as_degraded_then_tries_again() -> None:
    machine = running()
    now = 0.0
    for _ in range(MAX_RESTARTS):
        machine.worker_exited(70, "bug", now)
        assert machine.state(now) == "starting"
        now += MAX_BACK_OFF_S
        assert isinstance(machine.decide(now), StartWorker)
    machine.worker_exited(70, "bug", now)
    assert machine.state(now) == "degraded"
    assert machine.message() == "bug"
    assert machine.decide(now + COOL_DOWN_S - 0.1) is None
    assert isinstance(machine.decide(now + COOL_DOWN_S), StartWorker)
    assert machine.state(now + COOL_DOWN_S) == "starting"


def test_failures_that_lie_far_apart_never_cool_down() -> None:
    machine = running()
    for n in range(1, 50):
        machine.worker_exited(70, "bug", n * 130.0)
        assert machine.state(n * 130.0) == "starting"
        assert isinstance(machine.decide(n * 130.0 + MAX_BACK_OFF_S), StartWorker)


def test_a_worker_that_ran_out_of_input_waits_for_the_list() -> None:
    machine = running()
    machine.worker_exited(20, "no input", 100)
    assert machine.decide(110) is None
    assert machine.state(110) == "grace"
    machine.listed(publishing())
    assert isinstance(machine.decide(111), StartWorker)


def test_a_worker_that_fails_during_the_grace_is_not_started_again() -> None:
    machine = running()
    machine.unlisted(100)
    machine.worker_exited(40, "no input", 101)
    assert machine.decide(120) is None
    assert machine.decide(130) is None
    assert machine.state(130) == "idle"
    assert machine.run_id == ""


def wanting(names: str, places: int, now: float = 0.0) -> list[Stream]:
    """One stream for each name, all of them published, told whether they find a place."""
    machines = [stream() for _ in names]
    for name, machine in zip(names, machines, strict=True):
        machine.listed(Source(name, f"2026-01-01T00:00:0{ord(name) - ord('a')}Z", PLAN))
    give_places(machines, places, now)
    return machines


def test_a_stream_without_a_place_is_refused_in_words_and_starts_nothing() -> None:
    first, second = wanting("ab", places=1)
    assert isinstance(first.decide(0), StartWorker)
    assert second.decide(0) is None
    assert second.state(0) == "refused"
    assert "orchestrator.max_streams" in second.message()
    assert second.run_id == ""
    second.unlisted(1)
    assert second.state(1) == "idle"
    assert second.message() == ""


def test_of_streams_that_come_at_once_the_one_published_first_starts() -> None:
    """As after a restart of the orchestrator."""
    later, earlier = wanting("ba", places=1)
    assert (later.state(0), earlier.state(0)) == ("refused", "starting")


def test_a_place_that_becomes_free_goes_to_the_one_that_has_waited_longest() -> None:
    running_one, second = wanting("ac", places=1)
    running_one.decide(0)
    (third,) = wanting("b", places=0, now=5)  # published before the second one, and seen later
    streams = [third, second, running_one]
    running_one.unlisted(10)
    give_places(streams, 1, 10 + GRACE_S / 2)
    assert second.state(10 + GRACE_S / 2) == "refused", "the grace keeps its place"
    assert running_one.decide(10 + GRACE_S) == StopWorker()
    give_places(streams, 1, 10 + GRACE_S)
    assert second.decide(10 + GRACE_S) is None, "so does a worker that has not ended yet"
    running_one.worker_exited(0, "", 11 + GRACE_S)
    assert running_one.decide(11 + GRACE_S) is None
    give_places(streams, 1, 11 + GRACE_S)
    assert isinstance(second.decide(11 + GRACE_S), StartWorker)
    assert third.state(11 + GRACE_S) == "refused"


def test_a_worker_between_two_starts_keeps_its_place_and_one_that_will_not_start_again_gives_it_up() -> None:
    first, second = wanting("ab", places=1)
    first.decide(0)
    first.worker_exited(40, "network", 1)
    give_places([second, first], 1, 1)
    assert isinstance(first.decide(1), StartWorker)
    first.worker_exited(40, "network", 1)
    assert first.decide(1) is None
    give_places([second, first], 1, 1)
    assert second.state(1) == "refused"
    assert isinstance(first.decide(2), StartWorker)
    first.worker_exited(3, "no such plugin", 3)
    first.decide(3)
    give_places([first, second], 1, 3)
    assert isinstance(second.decide(3), StartWorker)
    first.listed(publishing("c"))
    give_places([first, second], 1, 4)
    assert first.decide(4) is None
    assert first.state(4) == "refused"


def test_a_stream_that_no_worker_can_take_needs_no_place() -> None:
    unfit, fit = stream(), stream()
    unfit.listed(publishing(plan=REFUSED))
    fit.listed(publishing())
    give_places([unfit, fit], 1, 0)
    assert unfit.state(0) == "degraded"
    assert isinstance(fit.decide(0), StartWorker)


def test_a_refused_publisher_that_is_replaced_by_another_one_keeps_its_turn() -> None:
    first, second = wanting("ab", places=0)
    second.listed(publishing("c"))
    give_places([first, second], 0, 10)
    first.unlisted(20)
    first.listed(publishing("d"))
    give_places([first, second], 1, 20)
    assert (first.state(20), second.state(20)) == ("refused", "starting")
