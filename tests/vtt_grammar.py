"""Whether a text is a WebVTT file, as strictly as the standard's syntax for authors has it.

Source: W3C, WebVTT: The Web Video Text Tracks Format, section 4 (Syntax): file body, cue block, timings, cue text.
Regions, styles, notes and cue settings are allowed there; here they are refused, since our files have none.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TIMESTAMP = r"(?:(?P<{0}h>\d{{2,}}):)?(?P<{0}m>[0-5]\d):(?P<{0}s>[0-5]\d)\.(?P<{0}ms>\d{{3}})"
_TIMINGS = re.compile(rf"{_TIMESTAMP.format('a')}[ \t]+-->[ \t]+{_TIMESTAMP.format('b')}")
_TAG = re.compile(r"</?(?:c|i|b|u|ruby|rt|v|lang)(?:\.[^\s<>&.]+)*(?:[ \t][^\n<>&]*)?>")
_REFERENCE = re.compile(r"&(?:amp|lt|gt|lrm|rlm|nbsp|#\d+|#x[0-9a-fA-F]+);")


class VttCue(NamedTuple):
    start: float
    end: float
    text: str
    """As it stands in the file."""


def parsed(text: str) -> list[VttCue]:
    """The cues; ValueError, with the line, where it is not WebVTT."""
    if "\0" in text:
        raise ValueError("a NUL")
    if any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise ValueError("half a character")
    lines = re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff"))
    if not re.fullmatch(r"WEBVTT(?:[ \t].*)?", lines[0]) or "-->" in lines[0]:
        raise ValueError(f"line 1: {lines[0]!r} is no signature")
    if len(lines) > 1 and lines[1]:
        raise ValueError(f"line 2: {lines[1]!r}: the header ends with an empty line")
    found: list[VttCue] = []
    at = 1
    while at < len(lines):
        if not lines[at]:
            at += 1
            continue
        block_end = next((n for n in range(at, len(lines)) if not lines[n]), len(lines))
        found.append(_cue(lines[at:block_end], at + 1))
        if len(found) > 1 and found[-1].start < found[-2].start:
            raise ValueError(f"line {at + 1}: it begins before the cue before it")
        at = block_end
    return found


def _cue(block: list[str], number: int) -> VttCue:
    if "-->" not in block[0]:  # an identifier
        block, number = block[1:], number + 1
    timings = _TIMINGS.fullmatch(block[0]) if block else None
    if timings is None:
        raise ValueError(f"line {number}: no timings")
    start, end = (_seconds(timings, side) for side in "ab")
    if end <= start:
        raise ValueError(f"line {number}: it ends before it begins")
    payload = "\n".join(block[1:])
    if "-->" in payload:
        raise ValueError(f"line {number + 1}: an arrow in the text")
    rest = _REFERENCE.sub("", _TAG.sub("", payload))
    if "<" in rest or "&" in rest:
        raise ValueError(f"line {number + 1}: {payload!r}: a < or & that is none of a tag or a reference")
    if not payload.strip():
        raise ValueError(f"line {number + 1}: a cue without text")
    return VttCue(start, end, payload)


def _seconds(timings: re.Match[str], side: str) -> float:
    hours, minutes, seconds, ms = (int(timings[side + part] or 0) for part in ("h", "m", "s", "ms"))
    return hours * 3600 + minutes * 60 + seconds + ms / 1000
