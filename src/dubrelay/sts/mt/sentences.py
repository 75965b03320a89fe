"""A text cut into its sentences: translators are trained on one at a time, and drop what is more. Pure."""

from __future__ import annotations

import re

_TITLES = r"(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)(?<!\bProf\.)(?<!\bSr\.)(?<!\bSra\.)(?<!\bSrta\.)"
_OTHERS = r"(?<!\bvs\.)(?<!\betc\.)(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bapprox\.)(?<!\bNo\.)(?<!\bpág\.)(?<!\baprox\.)"
_INITIALS = r"(?<!\b[A-Z]\.)"
_BREAK = re.compile(
    rf"(?:(?<=[.?!…]){_TITLES}{_OTHERS}{_INITIALS}\s+(?=[¿¡\"'«(]*[^\W_a-zà-öø-ÿ])|(?<=[\u3002\uff1f\uff01])\s*(?=\S))"
)
_END = re.compile(r"[.?!\u3002\uff1f\uff01][\"'»)\u201d\u2019]*\s*$")
_DOTS = re.compile(r"(?:\.\.+|…)[\"'»)\u201d\u2019]*\s*$")


def sentences(text: str) -> list[str]:
    """The sentences of `text`, none of them empty; joined by a space they are the text again."""
    return [sentence for sentence in _BREAK.split(" ".join(text.split())) if sentence]


def ended(text: str) -> bool:
    """Whether `text` ends where a sentence does. Dots that trail off end none."""
    return bool(_END.search(text)) and not _DOTS.search(text)
