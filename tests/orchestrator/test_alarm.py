from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.orchestrator.alarm import RECENT, Alarms, Alert
from dubrelay.orchestrator.conditions import RULES, Condition

pytestmark = pytest.mark.unit

DOWN = Condition("EgressDown", "Destination a of stream x is refused", "x", "a")
FOR_S = RULES["EgressDown"].for_s
AT_ONCE = Condition("GhostDub", "invented", "x")


def told(alerts: list[Alert]) -> list[tuple[str, bool]]:
    return [(alert.condition.name, alert.resolved) for alert in alerts]


def test_it_fires_once_when_it_has_held_for_long_enough_and_is_over_once_it_has_been_away() -> None:
    alarms = Alarms(resolve_after_s=60)
    assert alarms.look(0, [DOWN]) == []
    assert alarms.firing == []
    assert alarms.look(FOR_S - 1, [DOWN]) == []
    assert told(alarms.look(FOR_S, [DOWN])) == [("EgressDown", False)]
    assert alarms.look(FOR_S + 1, [DOWN]) == []
    assert alarms.look(100, []) == []
    assert len(alarms.firing) == 1
    assert told(alarms.look(160, [])) == [("EgressDown", True)]
    assert alarms.firing == []
    (over,) = alarms.recent
    view = over.view(1000)
    assert (view.since, view.resolved_at, view.status) == (1000, 1100, "resolved")
    assert alarms.look(500, []) == []


def test_one_that_goes_before_its_time_is_forgotten() -> None:
    alarms = Alarms(60)
    alarms.look(0, [DOWN])
    alarms.look(FOR_S - 1, [])
    assert alarms.look(FOR_S + 1, [DOWN]) == []
    assert told(alarms.look(2 * FOR_S + 1, [DOWN])) == [("EgressDown", False)]


def test_one_that_comes_and_goes_is_told_once() -> None:
    alarms = Alarms(60)
    alarms.look(0, [AT_ONCE])
    assert not any(alarms.look(at, [AT_ONCE] if at % 50 == 0 else []) for at in range(1, 500))
    assert told(alarms.look(600, [])) == [("GhostDub", True)]


def test_its_words_follow_what_is_seen_and_its_since_does_not() -> None:
    alarms = Alarms(60)
    alarms.look(0, [AT_ONCE])
    alarms.look(5, [Condition("GhostDub", "other words", "x")])
    (alert,) = alarms.firing
    assert (alert.condition.summary, alert.since) == ("other words", 0)


def test_each_stream_and_destination_is_an_alert_of_its_own() -> None:
    alarms = Alarms(0)
    alarms.look(0, [DOWN, Condition("EgressDown", "", "x", "b"), Condition("EgressDown", "", "y", "a")])
    assert len(alarms.look(FOR_S, [DOWN, Condition("EgressDown", "", "y", "a")])) == 2


def test_only_so_many_that_are_over_are_kept() -> None:
    alarms = Alarms(0)
    for n in range(2 * RECENT):
        alarms.look(n, [Condition("GhostDub", str(n), f"s{n}")])
    alarms.look(1000, [])
    assert len(alarms.recent) == RECENT
    assert alarms.recent[0].condition.summary == str(2 * RECENT - 1)


@given(st.lists(st.tuples(st.floats(0.1, 40), st.booleans(), st.booleans()), max_size=60), st.sampled_from([0, 5, 60]))
def test_whatever_comes_and_goes_beginning_and_end_are_told_by_turns(
    looks: list[tuple[float, bool, bool]], resolve_after_s: float
) -> None:
    alarms, now, heard = Alarms(resolve_after_s), 0.0, {DOWN: [True], AT_ONCE: [True]}
    for pause, down, ghost in looks:
        now += pause
        here = [condition for condition, there in ((DOWN, down), (AT_ONCE, ghost)) if there]
        for alert in alarms.look(now, here):
            heard[alert.condition].append(alert.resolved)
        assert {alert.condition for alert in alarms.firing} == {one for one, last in heard.items() if not last[-1]}
    for ends in heard.values():
        assert all(before != after for before, after in itertools.pairwise(ends))
