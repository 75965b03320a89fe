from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.orchestrator.forward import NOTHING, Entry, placed

pytestmark = pytest.mark.unit

A, B, C, D = (Entry(f"rtmp://{name}/app#key") for name in "abcd")
LISTS = st.lists(st.sampled_from([A, B, C, D, *(Entry(f"srt://{n}:1") for n in range(6))]), unique=True, max_size=8)


def test_one_taken_from_the_middle_leaves_its_place_to_the_next_one() -> None:
    without = placed([A, C], [A, B, C])
    assert without == (A, NOTHING, C)
    assert placed([A, C, D], without) == (A, D, C)
    assert placed([A], without) == (A,)


@given(wanted=LISTS, seen=st.lists(st.sampled_from([A, B, C, D, NOTHING]), max_size=8))
def test_what_stays_stays_where_it_is_and_all_that_is_wanted_is_there_once(
    wanted: list[Entry], seen: list[Entry]
) -> None:
    entries = placed(wanted, seen)
    assert sorted(e.dest for e in entries if e != NOTHING) == sorted(e.dest for e in wanted)
    assert not entries or entries[-1] != NOTHING
    for entry in wanted:
        if entry in seen:
            assert entries[seen.index(entry)] == entry


def test_an_entry_shows_no_key() -> None:
    assert "key" not in repr((A, Entry("whip://h/x", "key")))
