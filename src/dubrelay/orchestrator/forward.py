"""What MediaMTX's `forward` list of one path is to be, and which call makes it so. Pure.

MediaMTX keeps the connection of an entry that is unchanged at its position, and makes all others anew. So no entry ever
moves: one that is taken away from the middle leaves its place to the next new one, or to an entry that does nothing.
There is nothing to remember: what MediaMTX says it has is all that is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Entry:
    """One of the list; `dest` holds a key."""

    dest: str
    bearer: str = field(default="", repr=False)

    def __repr__(self) -> str:
        return "Entry(...)"


NOTHING = Entry("srt://127.0.0.1:0?conntimeo=3153600000000")
"""Holds a place: MediaMTX sends one datagram, to no port at all, and waits a hundred years for the answer.
It logs one line, retries nothing and costs nothing; every other way to fail is tried, and logged, every 5 s."""


@dataclass(frozen=True)
class Seen:
    """The path `live/<id>/out` as MediaMTX has it."""

    available: bool
    """Somebody publishes it, so that its entries are at work."""
    exact: bool
    """It has a configuration of its own instead of the one for all."""
    ours: bool = False
    """That one was added here: it can go. Another one may hold more than a list, of somebody who wrote it."""
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Change:
    """`add` a configuration of its own, `patch` the list of it, or `delete` it: the one for all holds again."""

    kind: Literal["add", "patch", "delete"]
    entries: tuple[Entry, ...] = ()


def placed(wanted: Sequence[Entry], seen: Sequence[Entry]) -> tuple[Entry, ...]:
    """`wanted`, those that are in `seen` at their positions there."""
    missing = list(wanted)
    places: list[Entry | None] = []
    for entry in seen:
        if entry in missing:
            missing.remove(entry)
            places.append(entry)
        else:
            places.append(None)
    for n, place in enumerate(places):
        if place is None and missing:
            places[n] = missing.pop(0)
    while places and places[-1] is None:
        places.pop()
    return (*(place or NOTHING for place in places), *missing)


def change(wanted: Sequence[Entry], seen: Seen | None) -> Change | None:
    """None: all is as it should be, or nothing can be done yet. `seen` None: MediaMTX has no such path."""
    if seen is None:
        return None
    if not wanted and seen.ours:
        return Change("delete")
    if not wanted and not seen.entries:
        return None
    if not seen.exact:
        return Change("add", tuple(wanted)) if seen.available else None
    entries = placed(wanted, seen.entries if seen.available else ())
    return None if entries == seen.entries else Change("patch", entries)
