"""Words and names said as a request's glossary wants them: hidden from the translator, put back afterwards. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from dubrelay.wire.glossary import Term

_MARK = "Zq"
"""Begins what stands for a term. It looks like a name in any language, so translators leave it where it belongs."""
_INFLECTED = "(?:'s|\u2019s|es|s)?"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def translated(text: str, glossary: Sequence[Term], translate: Callable[[str], str]) -> tuple[str, list[str]]:
    """The translation, and a note for each term that the translator did not give back: then it has none of them."""
    wanted = {term.source.lower(): term.target or term.source for term in glossary}
    hidden: list[str] = []

    def hide(found: re.Match[str]) -> str:
        hidden.append(found["term"].lower())
        return _mark(len(hidden) - 1)

    marked = _any_of(wanted).sub(hide, text) if wanted else text
    raw = translate(marked)
    lost = [source for n, source in enumerate(hidden) if not _standing(n).search(raw)]
    if lost:
        return translate(text), [f"glossary: {source!r} was lost in translation" for source in lost]
    for n, source in enumerate(hidden):
        raw = _standing(n).sub(lambda _, said=wanted[source]: said, raw)  # type: ignore[misc]
    return raw, []


def _any_of(sources: dict[str, str]) -> re.Pattern[str]:
    """The longest first: a term may be part of another one."""
    longest = sorted(sources, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?P<term>{'|'.join(map(re.escape, longest))}){_INFLECTED}(?!\w)", re.IGNORECASE)


def _mark(number: int) -> str:
    return _MARK + _LETTERS[number // len(_LETTERS) % len(_LETTERS)] + _LETTERS[number % len(_LETTERS)]


def _standing(number: int) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){_mark(number)}(?!\w)", re.IGNORECASE)
