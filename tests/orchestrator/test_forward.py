from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.orchestrator.forward import NOTHING, Change, Entry, Seen, change, placed

pytestmark = pytest.mark.unit

A, B, C, D = (Entry(f"rtmp://{name}/app#key") for name in "abcd")
LISTS = st.lists(st.sampled_from([A, B, C, D, *(Entry(f"srt://{n}:1") for n in range(6))]), unique=True, max_size=8)


def after(seen: Seen, todo: Change | None) -> Seen:
    """What MediaMTX has when it has done that."""
    if todo is None:
        return seen
    if todo.kind == "delete":
        return Seen(seen.available, exact=False)
    return Seen(seen.available, exact=True, ours=todo.kind == "add" or seen.ours, entries=todo.entries)


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


@given(
    steps=st.lists(st.tuples(LISTS, st.booleans()), min_size=1, max_size=12),
    lost=st.sets(st.integers(0, 11), max_size=3),
    written=st.booleans(),
)
def test_whatever_is_wanted_next_is_there_after_one_call_and_nobody_else_was_moved(
    steps: list[tuple[list[Entry], bool]], lost: set[int], written: bool
) -> None:
    """`lost`: before that step MediaMTX was started anew. `written`: its file has the path by its own name."""
    fresh = Seen(available=False, exact=written)
    seen = fresh
    for n, (wanted, available) in enumerate(steps):
        if n in lost:
            seen = fresh
        seen = Seen(available, seen.exact, seen.ours, seen.entries)
        todo = change(wanted, seen)
        result = after(seen, todo)
        if available:
            for entry in set(wanted) & set(seen.entries):
                assert result.entries.index(entry) == seen.entries.index(entry)
        if available or seen.exact:
            assert {e for e in result.entries if e != NOTHING} == set(wanted)
        assert change(wanted, result) is None
        assert not (written and todo is not None and todo.kind in ("add", "delete"))
        assert result.exact or not result.entries
        seen = result


def test_a_path_that_is_not_there_is_waited_for() -> None:
    assert change([A], None) is None
    assert change([A], Seen(available=False, exact=False)) is None
    assert change([A], Seen(available=True, exact=False)) == Change("add", (A,))


def test_places_that_do_nothing_go_when_nothing_is_sent() -> None:
    assert change([A, C], Seen(False, True, True, (A, NOTHING, C))) == Change("patch", (A, C))


def test_an_entry_shows_no_key() -> None:
    assert "key" not in repr(Change("add", (A, Entry("whip://h/x", "key"))))
