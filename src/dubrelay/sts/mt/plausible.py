"""Whether a text can be the translation of another one, by its length and its repetitions. Pure."""

from __future__ import annotations

import re

_DENSE = frozenset({"zh", "ja", "ko", "th"})
"""Languages that say as much in far fewer characters."""
_DENSITY = 3.0
_MOST, _ROOM = 3.0, 40
"""A translation is at most so many times as long, and so many characters more."""
_LEAST, _LEAST_OF = 0.2, 40
"""And at least so long a part of a text that has so many characters."""
_REPEATED = re.compile(r"(\b.{1,40}?)(?:[\s,.;!?-]+\1){4,}(?!\w)", re.IGNORECASE)


def objection(text: str, source: str, translation: str, target: str) -> str:
    """Why `translation` cannot be one of `text`, in words that quote neither; empty when it can."""
    before, after = _length(text, source), _length(translation, target)
    if not re.search(r"\w", translation):
        return "it is empty" if re.search(r"\w", text) else ""
    if after > _MOST * before + _ROOM:
        return f"it has {len(translation)} characters for {len(text)}"
    if before >= _LEAST_OF and after < _LEAST * before:
        return f"it has only {len(translation)} characters for {len(text)}"
    if _REPEATED.search(translation) and not _REPEATED.search(text):
        return "it repeats itself"
    return ""


def _length(text: str, language: str) -> float:
    return len(text) * (_DENSITY if language.partition("-")[0] in _DENSE else 1.0)
