"""A translation that keeps what has to survive: the glossary, numbers, units, names, and half sentences said before.

Each translator is helped as far as it does not help itself (base.heeds). It is asked again where something is lost and
there is time for it; what is lost all the same becomes a note of the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dubrelay.config import Glossary, Term
from dubrelay.sts.mt import continued, glossary, names, numbers, units
from dubrelay.sts.mt.base import Translator, Wish, heeds

Again = Callable[[], bool]
"""Whether there is time to ask the translator once more."""

_SHARE = 0.25
"""Of the time that is left when translation begins: so much it may take in all, for it to be asked again."""


def never() -> bool:
    return False


def while_cheap(clock: Callable[[], float], deadline: float) -> Again:
    """Made when translation begins. One more call is expected to cost as much as all before."""
    began = clock()
    return lambda: 2 * (clock() - began) <= _SHARE * (deadline - began)


@dataclass(frozen=True)
class Kept:
    """A translation, and a note for each thing that it lacks."""

    text: str
    notes: list[str]


@dataclass(frozen=True)
class Asking:
    """One translator, asked for one pair of languages with one wish."""

    mt: Translator
    source: str
    target: str
    wish: Wish
    again: Again = lambda: True

    def phrase(self, text: str) -> Kept:
        """`text` translated, as the phrase that comes after `wish.context`. At most three calls of the translator."""
        text = glossary.names_as_listed(numbers.with_clock_times(text, self.source), self.wish.glossary)
        alone = self.kept(text, self.again)
        before = continued.tail(self.wish.context.transcript, text) if self.wish.goes_on else ""
        if not before:
            return alone
        if heeds(self.mt, "knows_context"):
            return self._checked(text, continued.without_repetition(alone.text, self.wish.context, text))
        if not self.again():
            return alone
        whole = self.kept(f"{before} {text}", never)
        rest = continued.rest(whole.text, self.wish.context)
        other = self._checked(text, rest)
        return other if rest and len(other.notes) <= len(alone.notes) else alone

    def kept(self, text: str, again: Again) -> Kept:
        """`text` translated for itself: the better of two tries, where the first one lost something."""
        terms = self.wish.glossary
        hide = not heeds(self.mt, "knows_glossary")
        first = self._tried(text, text, terms if hide else ())
        gone = names.lost(text, first.text)
        lost_terms = glossary.missing(text, first.text, terms)
        figures = numbers.in_figures(text, self.source)
        if figures == text or not numbers.compared(text, self.source, first.text, self.target)[0]:
            figures = ""
        if not (gone or lost_terms or figures) or not again():
            return first
        # Marks that do not come back are left away, what was not hidden and was lost is hidden.
        to_hide = () if hide and lost_terms else (*terms, *(Term(source=name[:100]) for name in gone))
        second = self._tried(text, figures or text, to_hide)
        return min(first, second, key=lambda each: len(each.notes))

    def _tried(self, text: str, asked: str, to_hide: Glossary) -> Kept:
        hidden = glossary.hidden(asked, to_hide, self.target)
        translation = self.mt.translate(hidden.text, self.source, self.target, self.wish)
        return self._checked(text, " ".join(hidden.shown(translation).split()))

    def _checked(self, text: str, translation: str) -> Kept:
        """What can be put right without the translator is."""
        terms = self.wish.glossary
        translation = glossary.put_right(text, translation, terms, self.target)
        translation, lost_numbers = numbers.repaired(text, self.source, translation, self.target)
        notes = [f"glossary: {term.source!r}" for term in glossary.missing(text, translation, terms)]
        notes += [f"number: {number!r}" for number in lost_numbers]
        notes += [f"unit: {unit!r}" for unit in units.lost(text, self.source, translation, self.target)]
        notes += [f"name: {name!r}" for name in names.lost(text, translation)]
        return Kept(translation, [f"{note} was lost in translation" for note in notes])
