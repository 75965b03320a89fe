from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.worker.breaker import WINDOW, Breaker

pytestmark = pytest.mark.unit


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(failures=5, open_s=30)
    for _ in range(5):
        breaker.failure(at)
    assert breaker.state == "open"
    return breaker


def test_five_failures_in_a_row_open_it_and_four_do_not() -> None:
    breaker = Breaker(failures=5, open_s=30)
    for _ in range(3):
        for _ in range(4):
            breaker.failure(0)
        breaker.success(0, 1, 8)
    assert breaker.state == "closed"
    for _ in range(5):
        breaker.failure(0)
    assert breaker.state == "open"


def test_open_breaker_lets_nothing_through_for_30_seconds() -> None:
    breaker = opened(at=100)
    assert not breaker.allow(100)
    assert not breaker.allow(129.9)
    assert breaker.state == "open"


def test_half_open_breaker_lets_one_fragment_through() -> None:
    breaker = opened()
    assert breaker.allow(30)
    assert breaker.state == "half_open"
    assert not breaker.allow(30)
    assert not breaker.allow(35)


def test_one_success_closes_it() -> None:
    breaker = opened()
    breaker.allow(30)
    breaker.success(31, 1, 8)
    assert breaker.state == "closed"
    breaker.failure(32)
    assert breaker.state == "closed"


def test_a_failed_probe_opens_it_for_another_30_seconds() -> None:
    breaker = opened()
    breaker.allow(30)
    breaker.failure(38)
    assert breaker.state == "open"
    assert not breaker.allow(67)
    assert breaker.allow(68)


def test_a_probe_whose_outcome_never_comes_does_not_keep_it_shut() -> None:
    breaker = opened()
    assert breaker.allow(30)
    assert breaker.allow(60)


def test_failures_that_were_on_their_way_do_not_prolong_the_wait() -> None:
    breaker = opened(at=0)
    breaker.failure(20)
    for _ in range(9):
        breaker.failure(25)
    assert breaker.allow(30)


def test_p95_that_stays_past_the_budget_opens_it() -> None:
    breaker = Breaker(failures=5, open_s=30)
    answers = 0
    while breaker.state == "closed":
        breaker.success(0, 9, 8)
        answers += 1
    assert answers == 2 * WINDOW - 1


def test_p95_counts_answers_that_never_came_in_time() -> None:
    breaker = Breaker(failures=5, open_s=30)
    for _ in range(2 * WINDOW):
        breaker.failure(0, late=True)
        if breaker.state == "closed":
            breaker.success(0, 1, 8)
    assert breaker.state == "open"


def test_a_burst_of_slow_answers_passes() -> None:
    breaker = Breaker(failures=5, open_s=30)
    for slow in [False] * WINDOW + [True] * 10 + [False] * WINDOW * 3:
        breaker.success(0, 9 if slow else 1, 8)
    assert breaker.state == "closed"


@given(st.lists(st.tuples(st.sampled_from(["ok", "slow", "fail", "late"]), st.integers(0, 40)), max_size=200))
def test_it_can_always_be_closed_again(events: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(failures=5, open_s=30), 0
    for what, pause in events:
        now += pause
        if not breaker.allow(now):
            continue
        match what:
            case "ok":
                breaker.success(now, 1, 8)
            case "slow":
                breaker.success(now, 9, 8)
            case "fail":
                breaker.failure(now)
            case "late":
                breaker.failure(now, late=True)
    assert breaker.allow(now + 30)
    breaker.success(now + 31, 1, 8)
    assert breaker.state == "closed" or breaker.allow(now + 61)
