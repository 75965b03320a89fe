"""What MediaMTX's `forward` list of one path is to be. Pure; outpath.py says which call makes it so.

MediaMTX keeps the connection of an entry that is unchanged at its position, and makes all others anew. So no entry ever
moves: one that is taken away from the middle leaves its place to the next new one, or to an entry that does nothing.
There is nothing to remember: what MediaMTX says it has is all that is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


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
