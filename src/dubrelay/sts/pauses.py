"""Pauses inside a phrase, after the original's: where the speaker paused and the dub is between two clauses, it waits.

Times are seconds from where the voice begins. Nothing is moved or cut: silence is put into gaps that the dub has. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dubrelay.wire.fragment import Word

Mono = npt.NDArray[np.float32]

_WINDOW_S = 0.01
_ORIGINAL_QUIET, _DUB_QUIET = 0.25, 0.1
"""Against the level of the voice; under an original there may be music."""
_SHORTEST_PAUSE_S, _SHORTEST_GAP_S = 0.12, 0.02
_NEAR_S = 0.6
"""How far from the speaker's pause the dub's may be."""
_GUESS_S, _GUESS_SHARE = 0.15, 0.12
"""How far from its share of the letters a clause may end: so much, and so much of the whole length."""
_LEAST_ADDED_S = 0.03
_RAMP_S = 0.004
_CLAUSE_END = re.compile(r"[,;:.!?…—]+(?=\s+\S*\w)")


class Span(NamedTuple):
    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


def of_original(samples: Mono, rate_hz: int, words: Sequence[Word] = ()) -> list[Span]:
    """Where a speaker paused: between the words when their times are known, else where it is quiet."""
    if words:
        start_s = words[0].start_ms / 1000
        gaps = [Span(one.end_ms / 1000 - start_s, other.start_ms / 1000 - start_s) for one, other in pairwise(words)]
        return [gap for gap in gaps if gap.length_s >= _SHORTEST_PAUSE_S]
    return _quiet(samples, rate_hz, _ORIGINAL_QUIET, _SHORTEST_PAUSE_S)


def followed(dub: Mono, rate_hz: int, text: str, pauses: Sequence[Span], room_s: float) -> Mono:
    """`dub`, which says `text`, with silence between its clauses where the speaker had `pauses`, never beyond the room.

    A gap of the dub becomes at most as long as the pause it follows.
    """
    spare_s = room_s - len(dub) / rate_hz
    ends = _clause_ends(text)
    if spare_s < _LEAST_ADDED_S or not ends or not pauses:
        return dub
    gaps = _quiet(dub, rate_hz, _DUB_QUIET, _SHORTEST_GAP_S)
    left, length_s, added_s = list(pauses), len(dub) / rate_hz, 0.0
    parts: list[Mono] = []
    at = 0
    for end in ends:
        gap = _nearest(gaps, end * length_s, _GUESS_S + _GUESS_SHARE * length_s)
        pause = _nearest(left, gap.start_s + added_s, _NEAR_S) if gap else None
        if gap is None or pause is None:
            continue
        gaps = [other for other in gaps if other.start_s > gap.start_s]
        left = [other for other in left if other.start_s > pause.start_s]
        more_s = min(pause.length_s - gap.length_s, spare_s)
        if more_s < _LEAST_ADDED_S:
            continue
        middle = round((gap.start_s + gap.end_s) / 2 * rate_hz) + _voice_start(dub, rate_hz)
        parts += [_faded(dub[at:middle], rate_hz, at > 0, True), np.zeros(int(more_s * rate_hz), np.float32)]
        at, spare_s, added_s = middle, spare_s - more_s, added_s + more_s
    return np.concatenate([*parts, _faded(dub[at:], rate_hz, at > 0, False)]) if parts else dub


def _clause_ends(text: str) -> list[float]:
    """Where clauses end inside a text, in shares of its letters."""
    letters = np.cumsum([character.isalnum() for character in text])
    if not len(letters) or not letters[-1]:
        return []
    return [float(letters[match.start()] / letters[-1]) for match in _CLAUSE_END.finditer(text)]


def _quiet(samples: Mono, rate_hz: int, share: float, shortest_s: float) -> list[Span]:
    """Spans below `share` of the voice's level, none at the ends; times from the first window above it."""
    loud = _loud(samples, rate_hz, share)
    voiced = np.flatnonzero(loud)
    if not len(voiced):
        return []
    inner = loud[voiced[0] : voiced[-1] + 1].astype(np.int8)
    steps = np.diff(inner)
    starts, ends = np.flatnonzero(steps < 0) + 1, np.flatnonzero(steps > 0) + 1
    spans = [Span(start * _WINDOW_S, end * _WINDOW_S) for start, end in zip(starts, ends, strict=True)]
    return [span for span in spans if span.length_s >= shortest_s - 1e-9]


def _voice_start(samples: Mono, rate_hz: int) -> int:
    """The sample that times of `_quiet` in a dub count from."""
    voiced = np.flatnonzero(_loud(samples, rate_hz, _DUB_QUIET))
    return int(voiced[0]) * round(_WINDOW_S * rate_hz) if len(voiced) else 0


def _loud(samples: Mono, rate_hz: int, share: float) -> npt.NDArray[np.bool_]:
    """Per window of 10 ms: whether it is above `share` of the level of the windows within 20 dB of the loud ones."""
    window = round(_WINDOW_S * rate_hz)
    whole = len(samples) // window * window
    if not whole:
        return np.zeros(0, np.bool_)
    power = np.mean(np.square(samples[:whole].reshape(-1, window), dtype=np.float64), axis=1)
    level = power[power >= 0.01 * np.quantile(power, 0.9)].mean()
    return np.asarray((power > level * share**2) & (power > 0), np.bool_)


def _nearest(spans: Sequence[Span], at_s: float, within_s: float) -> Span | None:
    near = [span for span in spans if abs(span.start_s - at_s) <= within_s]
    return min(near, key=lambda span: abs(span.start_s - at_s), default=None)


def _faded(part: Mono, rate_hz: int, begins: bool, ends: bool) -> Mono:
    """Its cut ends brought to nothing."""
    count = min(round(_RAMP_S * rate_hz), len(part) // 2)
    if not count or not (begins or ends):
        return part
    part = part.copy()
    ramp = np.linspace(0, 1, count, endpoint=False, dtype=np.float32)
    if begins:
        part[:count] *= ramp
    if ends:
        part[-count:] *= ramp[::-1]
    return part
