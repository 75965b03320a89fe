from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.orchestrator.forward import NOTHING, Entry
from dubrelay.orchestrator.outpath import NOT_RECORDED, Change, Record, Seen, change

pytestmark = pytest.mark.unit

A, B, C, D = (Entry(f"rtmp://{name}/app#key") for name in "abcd")
LISTS = st.lists(st.sampled_from([A, B, C, D, *(Entry(f"srt://{n}:1") for n in range(6))]), unique=True, max_size=8)
SHORT, LONG = ({"record": True, "recordPath": "/r", "recordSegmentDuration": length} for length in ("10s", "10m0s"))
OFF = {**SHORT, "record": False}
RECORDS = st.sampled_from([OFF, SHORT, LONG])


def after(seen: Seen, todo: Change | None) -> Seen:
    """What MediaMTX has when it has done that."""
    if todo is None:
        return seen
    if todo.kind == "delete":
        return Seen(seen.available, exact=False)
    entries = seen.entries if todo.entries is None else todo.entries
    record = {**seen.record, **(todo.record or {})}
    return Seen(seen.available, exact=True, ours=todo.kind == "add" or seen.ours, entries=entries, record=record)


def is_recorded(seen: Seen) -> Record:
    return {key: seen.record[key] for key in SHORT} if seen.record.get("record") else OFF


@given(
    steps=st.lists(st.tuples(LISTS, RECORDS, st.booleans()), min_size=1, max_size=12),
    lost=st.sets(st.integers(0, 11), max_size=3),
    written=st.booleans(),
)
def test_whatever_is_wanted_next_is_there_after_one_call_and_nothing_else_was_touched(
    steps: list[tuple[list[Entry], Record, bool]], lost: set[int], written: bool
) -> None:
    """`lost`: before that step MediaMTX was started anew. `written`: its file has the path by its own name."""
    fresh = Seen(available=False, exact=written)
    seen = fresh
    for n, (wanted, record, available) in enumerate(steps):
        if n in lost:
            seen = fresh
        seen = Seen(available, seen.exact, seen.ours, seen.entries, seen.record)
        todo = change(wanted, record, seen)
        result = after(seen, todo)
        if available:
            for entry in set(wanted) & set(seen.entries):
                assert result.entries.index(entry) == seen.entries.index(entry)
        if available or seen.exact:
            assert {e for e in result.entries if e != NOTHING} == set(wanted)
            assert is_recorded(result) == record
        if todo is not None and todo.kind == "patch":
            assert todo.entries != seen.entries
            assert (todo.record is not None) == (record != is_recorded(seen)), (
                "a recording is not begun anew needlessly"
            )
        assert change(wanted, record, result) is None
        assert not (written and todo is not None and todo.kind in ("add", "delete"))
        assert result.exact or not result.entries
        seen = result


def test_a_path_that_is_not_there_is_waited_for() -> None:
    assert change([A], SHORT, None) is None
    assert change([A], SHORT, Seen(available=False, exact=False)) is None
    assert change([A], OFF, Seen(available=True, exact=False)) == Change("add", (A,))
    assert change([], SHORT, Seen(available=True, exact=False)) == Change("add", (), SHORT)


def test_a_destination_that_comes_leaves_the_recording_alone_and_the_other_way_round() -> None:
    seen = Seen(True, True, True, (A,), SHORT)
    assert change([A, B], SHORT, seen) == Change("patch", (A, B), None)
    assert change([A], OFF, seen) == Change("patch", None, NOT_RECORDED)
    assert change([], OFF, seen) == Change("delete")


def test_what_somebody_else_records_elsewhere_goes_on_being_recorded_until_it_is_to_be_here() -> None:
    theirs = Seen(True, True, False, (), {"record": True, "recordPath": "/theirs", "recordSegmentDuration": "1h0m0s"})
    assert change([], OFF, theirs) is None
    assert change([A], OFF, theirs) == Change("patch", (A,))
    assert change([], LONG, theirs) == Change("patch", None, LONG)


def test_places_that_do_nothing_go_when_nothing_is_sent() -> None:
    assert change([A, C], OFF, Seen(False, True, True, (A, NOTHING, C))) == Change("patch", (A, C))
