"""Words and names said as a request's glossary wants them, before and after the translator. Pure.

Before: a translator that cannot be told about a glossary gets marks in place of the terms, and the marks become the
targets. After: whoever translated, each target is looked for, and a term that was left as it was becomes its target.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from dubrelay.config import Term

_MARK = "Zq"
"""Begins what stands for a term. It looks like a name in any language, so translators leave it where it belongs."""
_GENITIVE = "(?:'s|\u2019s|'|\u2019)"
_INFLECTED = f"(?:(?P<plural>es|s)?{_GENITIVE}?)"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_CHANGED_ENDINGS = {"y": "ie", "z": "c", "án": "an", "én": "en", "ín": "in", "ón": "on", "ún": "un"}
_SPELT = (
    (r"(?<=[a-z]{2})our(?=s?\b|ed\b|ing\b|able\b)", "or"),
    (r"(?<=[a-z]{2})or(?=s?\b|ed\b|ing\b|able\b)", "our"),
    (r"(?<=[a-z][bct])re\b", "er"),
    (r"(?<=[a-z][bct])er\b", "re"),
    (r"(?<=[a-z]{3})is(?=(?:e|es|ed|ing|ation)\b)", "iz"),
    (r"(?<=[a-z]{3})iz(?=(?:e|es|ed|ing|ation)\b)", "is"),
    (r"(?<=[a-z]{3})nce\b", "nse"),
    (r"(?<=[a-z]{3})nse\b", "nce"),
)
_NAME_WORD = re.compile(r"[^\W\d_]+")
_LEAST_NEARLY = 5
_SENTENCE_BEGINS = re.compile(r"(?:^|[.?!…]\s)[\s¿¡\"'«(]*$")


@dataclass(frozen=True)
class Hidden:
    """A text whose terms are marks."""

    text: str
    said: tuple[str, ...]
    """What each mark stands for in the translation."""
    capital: tuple[bool, ...]
    """Whether a capital was put on it, as sentences begin with one."""
    target: str
    """The language of the translation."""

    def shown(self, translation: str) -> str:
        """The translation with what its marks stand for; one that the translator made up is left out."""
        if self.target.partition("-")[0] == "es":
            translation = _MASCULINE.sub(self._with_article, translation)
        return _ANY_MARK.sub(lambda mark: self._shown(_number(mark), translation[: mark.start()]), translation)

    def _with_article(self, found: re.Match[str]) -> str:
        """A mark is masculine to the translator: la Copa, not el Copa."""
        number = _number(found)
        if number >= len(self.said) or not _FEMININE.match(self.said[number]):
            return found[0]
        article = _ARTICLES[found["article"].lower()]
        return (article.capitalize() if found["article"][0].isupper() else article) + found["mark"]

    def _shown(self, number: int, before: str) -> str:
        if number >= len(self.said):
            return ""
        said = self.said[number]
        return said[:1].upper() + said[1:] if self.capital[number] and _SENTENCE_BEGINS.search(before) else said


def names_as_listed(text: str, glossary: Sequence[Term]) -> str:
    """`text` with the names that were heard with one letter wrong: Mario Gomez, where Maria Gomez is in the glossary.

    Of names of several words only, one of which is wrong and has five letters or more.
    """
    listed = {term.source.lower() for term in glossary}
    names = [name for term in glossary if len(name := term.source.split()) > 1 and all(w[0].isupper() for w in name)]
    words = list(_NAME_WORD.finditer(text))
    for name in names:
        for at in range(len(words) - len(name) + 1):
            window = words[at : at + len(name)]
            heard = text[window[0].start() : window[-1].end()]
            if heard.lower() in listed or " ".join(word[0] for word in window) != heard:
                continue
            wrong = [
                (word, right) for word, right in zip(window, name, strict=True) if word[0].lower() != right.lower()
            ]
            if len(wrong) == 1 and _nearly(wrong[0][0][0], wrong[0][1]):
                fixed = text[: wrong[0][0].start()] + wrong[0][1] + text[wrong[0][0].end() :]
                return names_as_listed(fixed, glossary)
    return text


def _nearly(heard: str, name: str) -> bool:
    """Whether one letter is another one, too much or missing."""
    short, long = sorted((heard.lower(), name.lower()), key=len)
    if not heard[0].isupper() or len(short) < _LEAST_NEARLY or len(long) - len(short) > 1:
        return False
    same = next((n for n, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    return short[same + (len(short) == len(long)) :] == long[same + 1 :]


def hidden(text: str, glossary: Sequence[Term], target: str) -> Hidden:
    """`text` with a mark for each term in it. `target`: the language of the translation."""
    said: list[str] = []
    capital: list[bool] = []
    terms = _by_form(glossary)

    def hide(found: re.Match[str]) -> str:
        term = terms[found["term"].lower()]
        said.append(_said(term, found, target))
        capital.append(bool(term.target) and found[0][0].isupper() and not term.source[0].isupper())
        return _mark(len(said) - 1)

    marked = _any_of(terms).sub(hide, text) if terms else text
    return Hidden(marked, tuple(said), tuple(capital), target)


def missing(text: str, translation: str, glossary: Sequence[Term]) -> list[Term]:
    """The terms of `text` whose target, in any case and number, is not in `translation` as often as they are."""
    terms = _by_form(glossary)
    if not terms:
        return []
    wanted = [terms[found["term"].lower()] for found in _any_of(terms).finditer(text)]
    return [term for term in dict.fromkeys(wanted) if _count(_target(term), translation) < _times(term, wanted)]


def put_right(text: str, translation: str, glossary: Sequence[Term], target: str) -> str:
    """`translation` with those terms replaced that the translator left as they were."""
    for term in missing(text, translation, glossary):
        if not term.target or _count(term.source, term.target):
            continue
        translation = _any_of(_by_form([term])).sub(partial(_said, term, target=target), translation)
    return translation


def _times(term: Term, wanted: Sequence[Term]) -> int:
    """How often a target is to be said: terms may share one."""
    return sum(_target(other).lower() == _target(term).lower() for other in wanted)


def _count(words: str, text: str) -> int:
    return len(re.findall(_forms_of([words]), text, re.IGNORECASE))


def _by_form(glossary: Sequence[Term]) -> dict[str, Term]:
    """Each term by what stands before an ending of it; the last of two with the same source counts."""
    whole = {term.source.lower(): term for term in glossary}
    spelt = {spelling: term for source, term in whole.items() for spelling in _spellings(source)} | whole
    return {stem: term for spelling, term in spelt.items() for stem in _stems(spelling)} | spelt


def _stems(word: str) -> list[str]:
    """What its endings are put to: penalty and penaltie(s), vez and vec(es), balón and balon(es)."""
    stems = [word]
    for ending, changed in _CHANGED_ENDINGS.items():
        if word.endswith(ending) and len(word) > len(ending):
            stems.append(word.removesuffix(ending) + changed)
    return stems


def _spellings(term: str) -> list[str]:
    """An English term as British and Americans write it: harbour and harbor, centre and center, organise, organize."""
    found = {term}
    for one, other in _SPELT:
        found |= {re.sub(one, other, spelling) for spelling in found}
    return sorted(found)


def _any_of(terms: Iterable[str]) -> re.Pattern[str]:
    return re.compile(_forms_of(terms), re.IGNORECASE)


def _forms_of(words: Iterable[str]) -> str:
    """The longest first: a term may be part of another one."""
    stems = {stem for word in words for stem in _stems(word)}
    longest = sorted(stems, key=lambda stem: (-len(stem), stem))
    return rf"(?<!\w)(?P<term>{'|'.join(map(re.escape, longest))}){_INFLECTED}(?!\w)"


def _target(term: Term) -> str:
    return term.target or term.source


def _said(term: Term, found: re.Match[str], target: str) -> str:
    """A term as it is to be said for what was found: more of them where there were more."""
    if not found["plural"]:
        return _target(term)
    if not term.target:
        return term.source + found["plural"]
    return _plural(term.target, target.partition("-")[0])


def _plural(word: str, language: str) -> str:
    """Of a common noun of one word; names and whole expressions stay as they are."""
    if not word.isalpha() or not word.islower() or word.endswith("s"):
        return word
    if language == "en":
        if re.search(r"[^aeiou]y$", word):
            return f"{word[:-1]}ies"
        return word + ("es" if re.search(r"(x|z|ch|sh)$", word) else "s")
    if language == "es":
        if word[-1] in "aeiouáéó":
            return f"{word}s"
        return f"{_stems(word)[-1]}es"
    return word


def _mark(number: int) -> str:
    return _MARK + _LETTERS[number // len(_LETTERS) % len(_LETTERS)] + _LETTERS[number % len(_LETTERS)]


_MASCULINE = re.compile(rf"(?<!\w)(?P<article>el|un|del|al)(?P<mark> {_MARK}([a-z])([a-z]))(?!\w)", re.IGNORECASE)
_ARTICLES = {"el": "la", "un": "una", "del": "de la", "al": "a la"}
_FEMININE = re.compile(
    r"(?!(?:día|mapa|planeta|tranvía|agua|área|arma|alma|aula|acta|águila|ala)\b)\w+(?:[^m\W]a|ción|sión|dad|tad|tud)\b",
    re.IGNORECASE,
)
"""Most Spanish nouns that end so."""
_ANY_MARK = re.compile(rf"(?<!\w){_MARK}([a-z])([a-z])(?!\w)", re.IGNORECASE)


def _number(mark: re.Match[str]) -> int:
    """Of a match that ends with a mark."""
    letters = mark[0][-2:].lower()
    return _LETTERS.index(letters[0]) * len(_LETTERS) + _LETTERS.index(letters[1])
