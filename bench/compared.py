"""What a reader of `in` and a reader of `out` get of the same programme, compared as it comes.

A picture is known by its digest, a place in the sound by its mark (marks.py). How far both are moved between `in` and
`out`, told by their stamps, is what the worker did to the distance of sound and picture; when they arrive, on one
clock, is its delay. Nothing is kept but figures.
"""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from statistics import median

import numpy as np
from marks import RATE_HZ, decoded, found

from flv_publisher import AUDIO, VIDEO, Tag

FRAME = 1024
FRAME_MS = FRAME * 1000 / RATE_HZ
PIECE_FRAMES, OVERLAP_FRAMES = 470, 16
"""About 10 s of sound are decoded at a time; a mark on the seam is whole in one of two pieces."""
BIN_S = 10.0
AMBIGUOUS_S = 20.0
"""The same picture came in twice in that time: which of them goes out cannot be told."""
KEPT_S = 60.0
STEADY_MS = 3
"""So much may stamps differ by rounding."""
WINDOW_S = 0.05
SILENCE = 10 ** (-75 / 20)
GAP_S = 0.4
"""Pauses between two pictures, or two windows of sound, that are worth noting."""
_PARAMETERS = frozenset({7, 8, 9})


def digest(tag: Tag) -> bytes:
    """Of a picture's slices and SEI, without parameter sets and delimiters, which servers put in and take out."""
    data, at, of = tag.data, 5, blake2b(digest_size=12)
    while at + 4 < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4] & 31 not in _PARAMETERS:
            of.update(data[at + 4 : at + 4 + size])
        at += 4 + size
    return of.digest()


def shown_ms(tag: Tag) -> int:
    """A picture's presentation time: its stamp and its composition offset, a signed number of 24 bits."""
    return tag.at_ms + int.from_bytes(tag.data[2:5], "big", signed=True)


def numbers(tags: Sequence[Tag]) -> Mapping[bytes, int]:
    """Digest -> place in the programme, in the order of decoding."""
    found = {digest(tag): n for n, tag in enumerate(t for t in tags if t.kind == VIDEO and t.data[1] == 1)}
    assert len(found) == max(found.values()) + 1, "the programme has the same picture twice"
    return found


@dataclass(frozen=True)
class Event:
    """Something that ought not to be, outside of faults."""

    at: float
    what: str
    count: int = 1


@dataclass
class Pauses:
    """When nothing came for longer than GAP_S."""

    last: float | None = None
    found: list[tuple[float, float]] = field(default_factory=list)

    def came(self, at: float) -> None:
        if self.last is not None and at - self.last > GAP_S:
            self.found.append((self.last, at))
        self.last = at

    def longest(self, began: float, ended: float) -> float:
        """That overlaps the time; 0 where all pauses were short."""
        ongoing = [] if self.last is None else [(self.last, ended)]
        return max((b - a for a, b in [*self.found, *ongoing] if a < ended and b > began and b - a > GAP_S), default=0)


@dataclass(frozen=True)
class _Moved:
    """The same picture in `in` and `out`."""

    view: int
    shown_ms: int
    source: int
    by_ms: int


@dataclass(frozen=True)
class Delays:
    """Of the pictures of BIN_S, in s."""

    at: float
    median: float
    least: float
    most: float


class Pictures:
    """`came_in` and `came_out` are called on the readers' threads."""

    def __init__(self, known: Mapping[bytes, int]) -> None:
        self._known = known
        self._lock = threading.Lock()
        self._in: OrderedDict[bytes, tuple[float, int, int]] = OrderedDict()
        self._moved: deque[_Moved] = deque(maxlen=round(KEPT_S * 60))
        self._last: int | None = None
        self._bin: list[float] = []
        self._bin_at = 0.0
        self.delays: list[Delays] = []
        self.events: list[Event] = []
        self.pauses = Pauses()
        self.out = 0

    def came_in(self, at: float, source: int, tag: Tag) -> None:
        with self._lock:
            key = digest(tag)
            before = self._in.pop(key, None)
            again = before is not None and at - before[0] < AMBIGUOUS_S
            self._in[key] = (at, -1 if again else source, shown_ms(tag))
            while at - next(iter(self._in.values()))[0] > KEPT_S:
                self._in.popitem(last=False)

    def came_out(self, at: float, view: int, tag: Tag) -> None:
        self.pauses.came(at)
        key = digest(tag)
        with self._lock:
            self.out += 1
            self._note_order(at, self._known.get(key))
            came_at, source, was_shown_ms = self._in.get(key, (0.0, -1, 0))
            if source != -1:
                self._moved.append(_Moved(view, shown_ms(tag), source, shown_ms(tag) - was_shown_ms))
                self._note_delay(at, at - came_at)

    def _note_order(self, at: float, number: int | None) -> None:
        if number is None:
            self.events.append(Event(at, "changed"))
            return
        if self._last is not None:
            step = (number - self._last) % len(self._known)
            if 1 < step <= len(self._known) // 2:
                self.events.append(Event(at, "lost", step - 1))
            elif step != 1:
                self.events.append(Event(at, "doubled"))
        self._last = number

    def _note_delay(self, at: float, delay_s: float) -> None:
        if at - self._bin_at > BIN_S and self._bin:
            self.delays.append(Delays(self._bin_at, median(self._bin), min(self._bin), max(self._bin)))
            self._bin = []
        if not self._bin:
            self._bin_at = at
        self._bin.append(delay_s)

    def moved_around(self, view: int, at_ms: float) -> tuple[int, float] | None:
        """(connection of `in`, by how much) of the pictures around a time in `out`; None where it is not one figure."""
        with self._lock:
            near = [m for m in self._moved if m.view == view and abs(m.shown_ms - at_ms) < 500]
        by = [m.by_ms for m in near]
        one = len(near) >= 10 and len({m.source for m in near}) == 1 and max(by) - min(by) <= STEADY_MS
        return (near[0].source, float(np.mean(by))) if one else None


@dataclass(frozen=True)
class _Piece:
    """Some sound of one connection, one frame after the other as they came."""

    side: str
    connection: int
    header: Tag
    frames: Sequence[tuple[float, Tag]]


@dataclass(frozen=True)
class Mark:
    connection: int
    at_ms: float
    came: float


class Sounds:
    """`came` is called on the readers' threads; decoding has one of its own."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._headers: dict[str, tuple[int, Tag]] = {}
        self._frames: dict[str, list[tuple[float, Tag]]] = {"in": [], "out": []}
        self._pieces: queue.Queue[_Piece | None] = queue.Queue(20)
        self._marks: dict[str, deque[Mark]] = {"in": deque(maxlen=60), "out": deque(maxlen=60)}
        self._waiting: deque[tuple[Mark, int, float]] = deque(maxlen=60)
        self.offsets: list[tuple[float, float]] = []
        """(when, ms): how much later the sound is against the picture in `out` than in `in`."""
        self.heard = {"in": 0, "out": 0}
        """Marks."""
        self.events: list[Event] = []
        self.pauses = Pauses()
        """Of anything but silence, in `out`."""
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def came(self, side: str, at: float, connection: int, tag: Tag) -> None:
        if tag.is_header or connection != self._headers.get(side, (connection, tag))[0]:
            self._send(side)
            self._frames[side] = []
        if tag.is_header:
            self._headers[side] = (connection, tag)
            return
        frames = self._frames[side]
        if side == "out" and frames:
            self._note_step(at, tag.at_ms - frames[-1][1].at_ms)
        frames.append((at, tag))
        if len(frames) >= PIECE_FRAMES:
            self._send(side)
            del frames[:-OVERLAP_FRAMES]

    def _note_step(self, at: float, step_ms: float) -> None:
        if abs(step_ms - FRAME_MS) > STEADY_MS:
            self.events.append(Event(at, "hole in the sound, ms", round(step_ms - FRAME_MS)))

    def _send(self, side: str) -> None:
        frames = list(self._frames[side])
        if side in self._headers and len(frames) > OVERLAP_FRAMES:
            self._pieces.put(_Piece(side, *self._headers[side], frames))

    def _listen(self) -> None:
        while (piece := self._pieces.get()) is not None:
            sound = decoded(piece.header, [tag for _, tag in piece.frames])
            if piece.side == "out":
                self._note_silence(piece, sound)
            for place in found(sound[: len(piece.frames) * FRAME]):
                self._note_mark(piece, place)
            self._compare()

    def _note_silence(self, piece: _Piece, sound: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
        size = round(WINDOW_S * RATE_HZ)
        windows = sound[: len(sound) // size * size].reshape(-1, size)
        for n in np.flatnonzero(np.sqrt(np.mean(windows**2, axis=1)) > SILENCE):
            self.pauses.came(piece.frames[min(len(piece.frames) - 1, int(n + 1) * size // FRAME)][0])

    def _note_mark(self, piece: _Piece, place: int) -> None:
        came, tag = piece.frames[place // FRAME]
        mark = Mark(piece.connection, tag.at_ms + place % FRAME * 1000 / RATE_HZ, came)
        marks = self._marks[piece.side]
        same = [m for m in marks if m.connection == mark.connection and abs(m.at_ms - mark.at_ms) < 200]
        if same or place < 2 * FRAME:  # what a decoder makes of its first frame is not whole
            return
        marks.append(mark)
        self.heard[piece.side] += 1
        moved = self._pictures.moved_around(mark.connection, mark.at_ms) if piece.side == "out" else None
        if moved:
            self._waiting.append((mark, *moved))

    def _compare(self) -> None:
        for _ in range(len(self._waiting)):
            mark, source, by_ms = self._waiting.popleft()
            there = [m for m in self._marks["in"] if m.connection == source]
            offsets = [mark.at_ms - m.at_ms - by_ms for m in there]
            nearest = min(offsets, key=abs, default=None)
            if nearest is not None and abs(nearest) < 1500:
                self.offsets.append((mark.came, nearest))
            elif mark.came > self._latest("in") - KEPT_S:
                self._waiting.append((mark, source, by_ms))

    def _latest(self, side: str) -> float:
        return self._marks[side][-1].came if self._marks[side] else 0.0

    def close(self) -> None:
        self._pieces.put(None)
        self._thread.join(20)


class Comparison:
    """`on_in` and `on_out` take the tags of two readers."""

    def __init__(self, programme: Sequence[Tag]) -> None:
        self.pictures = Pictures(numbers(programme))
        self.sounds = Sounds(self.pictures)

    def on_in(self, at: float, connection: int, tag: Tag) -> None:
        if tag.kind == AUDIO:
            self.sounds.came("in", at, connection, tag)
        elif tag.kind == VIDEO and tag.data[1] == 1:
            self.pictures.came_in(at, connection, tag)

    def on_out(self, at: float, connection: int, tag: Tag) -> None:
        if tag.kind == AUDIO:
            self.sounds.came("out", at, connection, tag)
        elif tag.kind == VIDEO and tag.data[1] == 1:
            self.pictures.came_out(at, connection, tag)
