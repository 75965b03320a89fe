from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.orchestrator.limits import KEPT, Failures, origin_of

pytestmark = pytest.mark.unit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_so_many_a_minute_and_then_one_now_and_then() -> None:
    clock = Clock()
    failures = Failures(6, clock)
    assert [failures.count("a") for _ in range(8)] == [0, 0, 0, 0, 0, 0, 10, 10]
    assert failures.count("b") == 0
    clock.now = 10.0
    assert failures.count("a") == 0
    assert failures.count("a") == 10
    clock.now = 100.0
    assert [failures.count("a") for _ in range(7)] == [0, 0, 0, 0, 0, 0, 10]


@given(st.integers(1, 100), st.lists(st.floats(0, 120), max_size=300))
def test_never_more_than_a_full_bucket_and_what_ran_in(per_minute: int, pauses: list[float]) -> None:
    clock = Clock()
    failures = Failures(per_minute, clock)
    passed = 0
    for pause in pauses:
        clock.now += pause
        wait_s = failures.count("a")
        passed += wait_s == 0
        assert 0 <= wait_s <= 60
    assert passed <= per_minute * (1 + clock.now / 60) + 1


def test_memory_is_bounded() -> None:
    failures = Failures(1, Clock())
    for number in range(KEPT + 100):
        failures.count(str(number))
    assert len(failures) == KEPT


@pytest.mark.parametrize(
    ("ip", "origin"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("nonsense", "?"),
        ("", "?"),
    ],
)
def test_ipv6_counts_by_network(ip: str, origin: str) -> None:
    assert origin_of(ip) == origin
