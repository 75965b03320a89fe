"""A publisher's stamps and our clock: one distance for both tracks, kept as long as the stamps make sense. Pure.

A connection's first buffer is taken to be of now.
"""

from __future__ import annotations

from collections.abc import Hashable

EARLY_NS = 1_500_000_000
"""Tracks may be interleaved that badly; what comes earlier than this has leapt."""
LATE_NS = 5_000_000_000
"""A track's first buffer may be older than what the other track begins with by so much."""
BACK_NS = 100_000_000
_WINDOW_NS = 5_000_000_000


class Stamps:
    """All times in ns. A stamp is a decoding time: it only grows."""

    def __init__(self) -> None:
        self.shift: int | None = None
        """From a stamp to running time."""
        self._latest: dict[Hashable, int] = {}

    def place(self, track: Hashable, stamp: int, now: int) -> bool:
        """Takes note of a buffer that came now. False when its stamp leapt, forwards or back: nothing fits any more."""
        if self.shift is None:
            self.shift = now - stamp
        running = stamp + self.shift
        latest = self._latest.get(track, now - LATE_NS)
        self._latest[track] = running
        return latest - BACK_NS < running < max(now, latest) + EARLY_NS


class Lateness:
    """How much later, or earlier, than in a connection's first seconds its buffers come.

    By the earliest arrival in windows of some seconds, so that bursts and pauses of the network do not count.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._least: int | None = None
        self._until: int | None = None
        self.grown = 0
        """In ns, as of the latest whole window."""

    def note(self, late: int, now: int) -> None:
        """A buffer came `late` ns after its running time."""
        self._until = now + _WINDOW_NS if self._until is None else self._until
        self._least = late if self._least is None else min(self._least, late)
        if now < self._until:
            return
        self._first = self._least if self._first is None else self._first
        self.grown = self._least - self._first
        self._least, self._until = None, now + _WINDOW_NS


_PACE_WINDOW_NS = 5_000_000_000
_PAUSE_NS = 100_000_000
_OTHER = 0.05


class Pace:
    """Whether sound lasts as long as its stamps say that it does.

    An encoder that changes its sampling rate in mid-stream announces it, but MediaMTX does not hand that on: readers go
    on at the old rate, and nothing but the stamps tells.
    """

    def __init__(self) -> None:
        self._since: int | None = None
        self._covered = self._end = 0
        self.other = False
        """As of the latest whole window; lost frames alone do not make it so."""

    def note(self, at: int, duration: int) -> None:
        """Sound of that length came, for that time."""
        if self._since is None or abs(at - self._end) > _PAUSE_NS:
            self._since, self._covered = at, 0
        elif at - self._since >= _PACE_WINDOW_NS:
            self.other = abs(self._covered / (at - self._since) - 1) > _OTHER
            self._since, self._covered = at, 0
        self._covered += duration
        self._end = at + duration


_SETTLES_IN_S = 60
_MOST_PPM = 500


def pace_ppm(grown: int) -> int:
    """How much faster than its own pace our clock should run, for buffers to come in time again within a minute or so.

    Quartz clocks differ by some 20 ppm, bad ones by 200. What leaves follows: its stamps are the publisher's anyway.
    """
    ppm = -grown / 1000 / _SETTLES_IN_S
    return round(max(-_MOST_PPM, min(_MOST_PPM, ppm)))
