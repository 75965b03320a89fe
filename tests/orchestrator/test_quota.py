from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.config import Recording
from dubrelay.orchestrator.quota import MB, Full, Verdict, in_words, judge
from dubrelay.orchestrator.segments import Segment

pytestmark = pytest.mark.unit

PLENTY = 10**15


def segment(number: int, size_mb: float, *, is_open: bool = False, stream_id: str = "x") -> Segment:
    return Segment(stream_id, f"{number}", float(number), round(size_mb * MB), float(number) + 1, is_open)


def limits(most: int = 10, *, stop: bool = False, least_free: int = 10) -> Recording:
    return Recording(max_total_mb=most, when_full="stop" if stop else "delete-oldest", min_free_mb=least_free)


SEGMENTS = st.lists(st.tuples(st.floats(0, 8), st.booleans()), max_size=12).map(
    lambda made: [segment(n, size, is_open=is_open) for n, (size, is_open) in enumerate(made)]
)
FULL = st.sampled_from(["", "quota", "disk"])


def test_the_oldest_whole_ones_go_until_the_rest_fits() -> None:
    found = [segment(n, 4) for n in range(4)]
    assert judge(found, PLENTY, limits(), "") == Verdict((found[0], found[1]))


def test_what_is_being_written_stays_though_it_is_the_oldest() -> None:
    found = [segment(0, 6, is_open=True), segment(1, 3), segment(2, 3)]
    assert judge(found, PLENTY, limits(), "") == Verdict((found[1],))


def test_when_what_is_being_written_alone_is_too_much_recording_stops_and_begins_anew() -> None:
    growing, ended = segment(0, 11, is_open=True), segment(0, 11)
    assert judge([growing], PLENTY, limits(), "") == Verdict((), "quota")
    assert judge([ended], PLENTY, limits(), "quota") == Verdict((ended,), "")


def test_told_to_stop_it_deletes_nothing_and_goes_on_when_there_is_room_for_more_than_a_moment() -> None:
    stop = limits(stop=True)
    assert judge([segment(0, 9.9)], PLENTY, stop, "") == Verdict()
    assert judge([segment(0, 10.1)], PLENTY, stop, "") == Verdict((), "quota")
    assert judge([segment(0, 9.9)], PLENTY, stop, "quota") == Verdict((), "quota")
    assert judge([segment(0, 9.4)], PLENTY, stop, "quota") == Verdict()


def test_a_disk_that_others_filled_costs_no_recording() -> None:
    found = [segment(n, 2) for n in range(4)]
    low = limits(least_free=100)
    assert judge(found, 99 * MB, low, "") == Verdict((), "disk")
    assert judge(found, 101 * MB, low, "disk") == Verdict((), "disk")
    assert judge(found, 106 * MB, low, "disk") == Verdict()


@given(SEGMENTS, st.integers(1, 20), st.booleans(), st.integers(0, 200), st.integers(10, 200), FULL)
def test_whatever_is_there_nothing_goes_needlessly_and_nothing_is_recorded_beyond_the_limits(
    found: list[Segment], most: int, stop: bool, free_mb: int, least_free: int, before: Full
) -> None:
    wanted = limits(most, stop=stop, least_free=least_free)
    verdict = judge(found, free_mb * MB, wanted, before)
    left = [s for s in found if s not in verdict.delete]
    used = sum(s.size for s in left)
    assert not any(s.open for s in verdict.delete)
    assert not (stop and verdict.delete)
    if verdict.delete:
        whole = [s for s in found if not s.open]
        assert list(verdict.delete) == whole[: len(verdict.delete)], "the oldest"
        assert used + verdict.delete[-1].size > most * MB, "one fewer would not have been enough"
    if not verdict.full:
        assert used <= most * MB
        assert free_mb >= least_free
    if verdict.full and not before:
        assert used > most * MB or free_mb < least_free
    if verdict.full == "quota" and not stop and not before:
        assert all(s.open for s in left if s.size), "what could go is gone"
    assert bool(in_words(verdict.full, wanted, "/r")) == bool(verdict.full)


@given(SEGMENTS, st.integers(1, 20), st.integers(0, 200))
def test_once_done_it_is_done(found: list[Segment], most: int, free_mb: int) -> None:
    wanted = limits(most)
    first = judge(found, free_mb * MB, wanted, "")
    left = [s for s in found if s not in first.delete]
    assert judge(left, free_mb * MB, wanted, "").delete == ()
