"""Captions of what is said in `out`, as WebVTT: of the dub, or of the original. Pure.

A phrase is known seconds before it is heard, so its cue is whole when it begins. All times are of `out` on the wall
clock, in seconds since the epoch; `webvtt` counts from the moment that its reader calls zero.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from dubrelay.wire.status import PhraseReport

Track = Literal["dub", "original"]

_LINE_CHARACTERS, _LINES = 42, 2
"""As broadcasters have it: more cannot be read in the time."""
_SHORTEST_S = 1.0
_LEAD_S = 0.04
"""Between a cue and the next one, so that a player shows that the text has changed."""
_SPACES = re.compile(r"\s+")
_NOT_SHOWN = re.compile("[\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufeff]")
"""Half characters, and what turns the direction of writing for all that follows."""


@dataclass(frozen=True)
class Cue:
    start: float
    end: float
    text: str
    """One or two lines, as people read them: not escaped."""


def cues(phrases: Iterable[PhraseReport], track: Track, delay_s: float) -> list[Cue]:
    """What to show while a viewer of `out` hears the phrases; `delay_s` is how far `out` is behind `in`.

    Of the dub where it is heard: a phrase that stayed original has none. A text that is too long for one cue becomes
    several, which share its time by their length.
    """
    found = [cue for phrase in phrases for cue in _of(phrase, track, delay_s)]
    found.sort(key=lambda cue: cue.start)
    return _one_after_the_other(found)


def webvtt(shown: Sequence[Cue], zero: float, language: str) -> str:
    """A WebVTT file; a cue that begins before `zero` is cut there, or left out where it also ends before it."""
    blocks = [f"WEBVTT - {_plain(language)}"]
    for cue in shown:
        start, end = max(0.0, cue.start - zero), cue.end - zero
        if end > start:
            blocks.append(f"{_clock(start)} --> {_clock(end)}\n{_escaped(cue.text)}")
    return "\n\n".join(blocks) + "\n"


def _of(phrase: PhraseReport, track: Track, delay_s: float) -> list[Cue]:
    if track == "dub":
        if phrase.status != "dubbed" or phrase.dub_t0_ms is None or not phrase.dubbed_ms:
            return []
        start_s, lasts_s = (phrase.dub_t0_ms - phrase.t0_ms) / 1000, phrase.dubbed_ms / 1000
    else:
        start_s, lasts_s = 0.0, phrase.duration_ms / 1000
    parts = _parts(phrase.translated_text if track == "dub" else phrase.transcript)
    whole = sum(map(len, parts))
    made, at = [], phrase.started_at + delay_s + start_s
    for part in parts:
        until = at + lasts_s * len(part) / whole
        made.append(Cue(at, until, part))
        at = until
    return made


def _parts(text: str) -> list[str]:
    """Each of at most _LINES lines, as few as there can be, which are about as long: none has the last word alone.

    A line that is one long word is broken in it.
    """
    plain = _plain(text)
    count = len(textwrap.wrap(plain, _LINE_CHARACTERS))
    if count > 1:
        count += -count % _LINES
    widths = range(1, _LINE_CHARACTERS)
    narrowest = bisect_left(widths, True, key=lambda width: len(textwrap.wrap(plain, width)) <= count) + 1
    lines = textwrap.wrap(plain, narrowest)
    return ["\n".join(lines[n : n + _LINES]) for n in range(0, len(lines), _LINES)]


def _one_after_the_other(found: list[Cue]) -> list[Cue]:
    """Short ones stay on until they can be read, or the next one comes; none is there together with another."""
    if not found:
        return []
    shown = []
    for cue, following in pairwise(found):
        end = min(max(cue.end, cue.start + _SHORTEST_S), following.start - _LEAD_S)
        if end > cue.start:
            shown.append(replace(cue, end=end))
    last = found[-1]
    return [*shown, replace(last, end=max(last.end, last.start + _SHORTEST_S))]


def _plain(text: str) -> str:
    """One line, without control characters."""
    kept = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    return _SPACES.sub(" ", _NOT_SHOWN.sub("", kept)).strip()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
