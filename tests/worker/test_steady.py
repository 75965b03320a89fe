from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.worker.steady import MOST_FAILURES, NEEDED, PHRASES, Steadiness

pytestmark = pytest.mark.unit


def heard(in_time: list[bool]) -> list[bool]:
    steady = Steadiness()
    return [steady.may_be_heard(phrase) for phrase in in_time]


def test_a_phrase_that_fails_alone_is_replaced_alone() -> None:
    phrases = 4 * [True] + [False] + 8 * [True] + [False] + 3 * [True]
    assert heard(phrases) == phrases


def test_a_service_that_answers_every_second_phrase_is_not_heard_by_turns() -> None:
    assert not any(heard(40 * [True, False])[2 * MOST_FAILURES :])


def test_dubbing_returns_with_the_third_answer_in_a_row() -> None:
    assert heard(5 * [False] + 6 * [True]) == 5 * [False] + (NEEDED - 1) * [False] + (7 - NEEDED) * [True]


@given(st.lists(st.booleans(), max_size=200))
def test_it_never_flaps_faster_than_documented(in_time: list[bool]) -> None:
    out = heard(in_time)
    assert all(was for was, now in zip(in_time, out, strict=True) if now)
    steady = Steadiness()
    held = [not steady.may_be_heard(phrase) and steady.held for phrase in in_time]
    runs = [(kind, len(list(run))) for kind, run in groupby(held)]
    assert all(length >= NEEDED - 1 for kind, length in runs[:-1] if kind)
    for start in range(len(out) - 2 * PHRASES):  # a window in which nothing is held has few failures
        window = out[start : start + PHRASES]
        if not any(held[start : start + PHRASES]):
            assert window.count(False) < MOST_FAILURES
