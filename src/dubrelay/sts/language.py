"""In which language a stream speaks, when its source language is "auto": detected per phrase, changed with care. Pure.

The service keeps nothing between requests: what was settled before comes with the request's context and goes back in
the answer's metadata. The rule:

- Nothing was settled before: the most probable language that can be dubbed.
- A phrase is *clear* when it lasts 2 s or more and its language has a probability of 0.8 or more.
- Another language than before is settled when two phrases were clear in it, with none between that spoke the old one;
  the first of them is reported as `heard_language`. Or at once, when it is beyond doubt: 3 s or more, its
  probability 0.97 or more, and that of the old one a hundredth of it or less.
- A phrase that is beyond doubt in a language that cannot be dubbed is not dubbed: it would become nonsense.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

CLEAR, CLEAR_S = 0.8, 2.0
BEYOND_DOUBT, BEYOND_DOUBT_S, BEYOND_DOUBT_RATIO = 0.97, 3.0, 100.0


@dataclass(frozen=True)
class Settled:
    language: str
    """As what the phrase is heard."""
    heard_language: str | None = None
    """What it clearly was in, when that is another one and not settled yet."""


def settled(
    probabilities: Mapping[str, float],
    duration_s: float,
    before: str | None,
    heard_before: str | None,
    possible: Callable[[str], bool],
) -> Settled | None:
    """The language of a phrase; None when there is none that can be dubbed and nothing was settled before.

    `before` and `heard_before` are what the last answer said; `possible` tells which languages can be dubbed. The
    language can be one that is not possible: then the phrase is beyond doubt in it.
    """
    if before is not None and not possible(before):
        before = None
    best = max(probabilities, key=probabilities.__getitem__, default=before)
    if best is None:
        return None
    share = probabilities.get(best, 0.0)
    clear = share >= CLEAR and duration_s >= CLEAR_S
    others = max((probabilities.get(language, 0.0) for language in probabilities if language != best), default=0.0)
    rival = others if before is None else probabilities.get(before, 0.0)
    certain = share >= BEYOND_DOUBT and duration_s >= BEYOND_DOUBT_S and rival * BEYOND_DOUBT_RATIO <= share
    if not possible(best):
        if certain:
            return Settled(best)
        known = {language: p for language, p in probabilities.items() if possible(language)}
        fallback = before or max(known, key=known.__getitem__, default=None)
        return Settled(fallback, heard_before) if fallback else None
    if before is None or best == before:
        return Settled(best)
    if certain or (clear and best == heard_before):
        return Settled(best)
    return Settled(before, best if clear else heard_before)
