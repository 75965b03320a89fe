"""Which reading of an English word is meant, where Apertium's tagger takes the wrong one too often. Pure.

Between the analyser and the tagger a text is words with their readings, ^leaves/leaf<n><pl>/leave<vblex><pri><p3><sg>$.
Readings that the words around rule out are taken away here (as in Karlsson's constraint grammar); among those that are
left the tagger chooses. What the dictionary does not know and has a capital becomes a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"\\.|\^((?:\\.|[^\\/$^])*)/((?:\\.|[^\\$])*)\$")
_READING = re.compile(r"(?:\\.|[^\\/])+")
_FINITE = re.compile(r"<(?:past|pri|pres)>")
_VERB = re.compile(r"<(?:vblex|vbser|vbhaver|vbdo|vbmod|vaux)>")
_NOMINAL = re.compile(r"<(?:n|np|num)>|^\*")
_PREPOSITIONS = frozenset({"above", "after", "before", "below", "except", "near", "on", "since", "under", "until"})
_NAME = "<np><loc><sg>"
_BE = ("be", "been", "being", "is", "are", "was", "were", "am", "'s", "'re")
_HAVE = ("has", "have", "had", "having", "'ve", "get", "gets", "got")
_AUXILIARIES = frozenset({*_BE, *_HAVE})


@dataclass
class _Word:
    surface: str
    readings: list[str]

    def may_be(self, *tags: str) -> bool:
        """Whether one of its readings has one of the tags."""
        return any(tag in reading for reading in self.readings for tag in tags)

    def only(self, *tags: str) -> bool:
        """Whether each reading has one of the tags."""
        return all(any(tag in reading for tag in tags) for reading in self.readings)

    def keep(self, wanted: Callable[[str], object]) -> None:
        """Those readings; all, where none is wanted."""
        self.readings = [reading for reading in self.readings if wanted(reading)] or self.readings

    @property
    def capital(self) -> bool:
        return self.surface[:1].isupper()

    @property
    def nominal(self) -> bool:
        return any(_NOMINAL.search(reading) for reading in self.readings)

    @property
    def finite(self) -> bool:
        """A finite verb, and nothing else."""
        return all(_VERB.search(reading) and not reading.endswith(("<pp>", "<ger>")) for reading in self.readings)

    @property
    def may_be_past(self) -> bool:
        return self.may_be("<past>")


_START = _Word("", ["<sent>"])


def chosen(analysed: str) -> str:
    """`analysed`, as lt-proc gives it, without the readings that cannot be meant."""
    found = [match for match in _WORD.finditer(analysed) if match[2] is not None]
    words = [_Word(match[1], _READING.findall(match[2])) for match in found]
    for rule in _RULES:
        for at in range(len(words)):
            rule(words, at)
    parts, end = [], 0
    for match, word in zip(found, words, strict=True):
        parts += [analysed[end : match.start()], f"^{word.surface}/{'/'.join(word.readings)}$"]
        end = match.end()
    return "".join([*parts, analysed[end:]])


def _at(words: Sequence[_Word], at: int) -> _Word:
    return words[at] if 0 <= at < len(words) else _START


def _ends_clause(word: _Word) -> bool:
    return word.only("<sent>", "<cm>", "<cnjcoo>", "<cnjsub>", "<cnjadv>", "<rel>", "<lpar>", "<rpar>")


def _clause(words: Sequence[_Word], at: int) -> tuple[list[_Word], list[_Word]]:
    """Of the clause that word `at` is in: what comes before it, and after it."""
    first = at
    while first > 0 and not _ends_clause(words[first - 1]):
        first -= 1
    last = at + 1
    while last < len(words) and not _ends_clause(words[last]):
        last += 1
    return list(words[first:at]), list(words[at + 1 : last])


def _begins_phrase(word: _Word) -> bool:
    """Whether a noun phrase may begin with it."""
    return word.nominal or word.may_be("<det>", "<adj>", "<obj>", "<num>")


def _subject(before: Sequence[_Word]) -> _Word | None:
    """The noun that the words before a verb end with, where it may be the verb's subject."""
    while before and before[-1].only("<adv>", "<preadv>"):
        before = before[:-1]
    if not before:
        return None
    head = before[-1]
    if head.may_be("<subj>", "<rel>"):
        return head
    if not head.nominal:
        return None
    rest = list(before)
    while rest and (rest[-1].nominal or rest[-1].may_be("<adj>", "<det>", "<pos>", "<sup>")):
        rest.pop()
    if not rest:
        return head
    if not rest[-1].may_be("<pr>"):
        return head if rest[-1].only("<adv>", "<preadv>") else None
    rest.pop()
    return head if rest and rest[-1].nominal else None


def _named(words: list[_Word], at: int) -> None:
    """Names: what is unknown and has a capital; what follows a first name with a capital."""
    word, after = words[at], _at(words, at + 1)
    if word.capital and word.readings[0].startswith("*"):
        word.readings = [word.surface + _NAME]
    if word.may_be("<np><ant>") and after.capital:
        word.keep(lambda reading: "<np>" in reading)
        if after.may_be("<np>"):
            after.keep(lambda reading: "<np>" in reading)
        elif after.readings[0][:1].isupper() and after.nominal:
            after.readings = [after.surface + _NAME]


def _preposition(words: list[_Word], at: int) -> None:
    """On Monday, after five years, above the city."""
    word, after = words[at], _at(words, at + 1)
    if word.surface.lower() not in _PREPOSITIONS or not word.may_be("<pr>") or not _begins_phrase(after):
        return
    if word.may_be("<cnjadv>") and any(other.finite or other.may_be_past for other in _clause(words, at)[1]):
        return
    word.keep(lambda reading: "<pr>" in reading)


def _after_determiner(words: list[_Word], at: int) -> None:
    """What stands between a determiner and its noun is no verb."""
    word, before = words[at], _at(words, at - 1)
    if not word.may_be("<n>", "<adj>", "<num>") or before.may_be("<prn>", "<adv>", "<vblex>", "<vaux>"):
        return
    label = before.only("<num>") and _at(words, at - 2).nominal  # Flight 512
    if before.only("<det>", "<adj>", "<num>") and not label:
        word.keep(lambda reading: not _VERB.search(reading) or reading.endswith(("<pp>", "<ger>", "<pprs>", "<subs>")))


def _ordinal(words: list[_Word], at: int) -> None:
    """The first win."""
    if words[at].may_be("<det><ord>") and _at(words, at - 1).may_be("<det>") and _at(words, at + 1).may_be("<n>"):
        words[at].keep(lambda reading: "<ord>" in reading)


def _participle(words: list[_Word], at: int) -> None:
    """The flooded towns."""
    if words[at].may_be("<pp>") and _at(words, at - 1).only("<det>") and _at(words, at + 1).may_be("<n>"):
        words[at].keep(lambda reading: not _FINITE.search(reading))


def _infinitive(words: list[_Word], at: int) -> None:
    """They want to build 400 flats."""
    word, after = words[at], _at(words, at + 1)
    if (
        _at(words, at - 1).surface.lower().endswith("to")
        and word.may_be("<n>")
        and after.only("<det>", "<num>", "<np>")
    ):
        word.keep(lambda reading: reading.endswith("<inf>"))


def _one(words: list[_Word], at: int) -> None:
    if words[at].surface.lower() == "one" and _at(words, at + 1).may_be("<n>"):
        words[at].keep(lambda reading: "<num>" in reading)
        _at(words, at + 1).keep(lambda reading: "<n>" in reading)


def _after_auxiliary(words: list[_Word], at: int) -> None:
    """Was found, have been closed, is not broken."""
    if not words[at].may_be("<pp>"):
        return
    before = at - 1
    while before >= 0 and words[before].only("<adv>", "<preadv>"):
        before -= 1
    if _at(words, before).surface.lower() in _AUXILIARIES:
        words[at].keep(lambda reading: reading.endswith(("<pp>", "<adj>")) or "<adj>" in reading)


def _past(words: list[_Word], at: int) -> None:
    """The team scored: the clause has no other verb."""
    word = words[at]
    if not (word.may_be_past and word.may_be("<pp>", "<n>")):
        return
    before, after = _clause(words, at)
    if any(other.finite for other in (*before, *after)) or _subject(before) is None:
        return
    if _at(words, at - 1).surface.lower() in _AUXILIARIES or any(other.may_be("<pri>") for other in after):
        return
    word.keep(lambda reading: "<past>" in reading)


def _present(words: list[_Word], at: int) -> None:
    """The train leaves: no plural, where a single one is the subject of nothing else."""
    word, after = words[at], _at(words, at + 1)
    if not (word.may_be("<pri><p3><sg>") and word.may_be("<n><pl>")):
        return
    before, follow = _clause(words, at)
    subject = _subject(before)
    if subject is None or any(other.finite for other in before):
        return
    if any(other.finite or (other.may_be("<past>") and not other.may_be("<n>", "<adj>")) for other in follow):
        return
    single = subject.may_be("<n><sg>", "<np>", "<num>", "<subj>", "<rel>", "<sp>")
    if not single or after.surface.lower() in {"of", "'s"}:
        return
    if subject.may_be("<adj>") and after.nominal and not after.may_be("<num>", "<det>"):
        return
    bare = len(before) == 1 and subject.may_be("<n>") and not subject.may_be("<np>")
    if bare and (_at(words, at - 2).only("<cnjcoo>", "<cm>") or not after.may_be("<det>", "<pr>", "<adv>")):
        return
    word.keep(lambda reading: "<pri>" in reading)
    if "<subj>" not in subject.readings[0]:
        subject.keep(lambda reading: not _VERB.search(reading) and "<adj>" not in reading)


def _base(words: list[_Word], at: int) -> None:
    """Children pay: a verb after a plural, where the clause has no other."""
    word = words[at]
    if not (word.may_be("<vblex><pres>") and word.may_be("<n><sg>")):
        return
    before, after = _clause(words, at)
    last = _at(words, at - 1)
    if not last.only("<n><pl>") or any(other.finite for other in (*before, *after)) or _subject(before) is None:
        return
    if any(other.may_be_past and not other.may_be("<n>", "<adj>") for other in after) or not _begins_phrase(
        _at(words, at + 1)
    ):
        return
    word.keep(lambda reading: "<pres>" in reading)


def _which(words: list[_Word], at: int) -> None:
    """A family that lost its farm; the woman who came."""
    word, before, after = words[at], _at(words, at - 1), _at(words, at + 1)
    if word.surface.lower() in {"that", "who", "which"} and word.may_be("<rel>") and before.may_be("<n>", "<np>"):
        verb = any(_VERB.search(reading) and _FINITE.search(reading) for reading in after.readings)
        if verb and not after.may_be("<n><sg>"):
            word.keep(lambda reading: "<rel>" in reading)
            after.keep(_FINITE.search)


def _noun(words: list[_Word], at: int) -> None:
    """To the capital, in the north, the law on housing: a noun, with none after it."""
    word, before, after = words[at], _at(words, at - 1), _at(words, at + 1)
    if word.may_be("<n>") and word.may_be("<ger>") and before.only("<pr>", "<det>"):
        if not _begins_phrase(after):
            word.keep(lambda reading: "<n>" in reading)
        return
    if not (word.may_be("<n>") and word.may_be("<adj>")) or not before.only("<det>", "<pos>", "<sp>"):
        return
    if not after.nominal and not after.may_be("<adj>", "<vblex>"):
        word.keep(lambda reading: "<n>" in reading)


_RULES = (
    _named,
    _preposition,
    _ordinal,
    _participle,
    _infinitive,
    _after_determiner,
    _one,
    _after_auxiliary,
    _which,
    _past,
    _present,
    _base,
    _noun,
)
