"""The numbers of a text, whatever they are written like, and what became of them in its translation. Pure.

    "2.5 million" (en)  =  "2,5 millones" (es)  =  "dos millones quinientos mil" (es)

Figures are read in every language; words in those of `_WORDS`. A number that is one thing in the source and another in
the translation is put right when it is certain which one it became.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

_POINT = frozenset({"en", "zh", "ja", "ko", "he", "hi", "th", "ms"})
"""Languages that write 1,250.5; all others write 1.250,5."""

_GAP = "\u00a0\u202f"
_FIGURES = re.compile(
    rf"(?<![\w.,:])(?P<hours>\d{{1,2}}):(?P<minutes>[0-5]\d)(?!\d|:)|(?P<number>\d+(?:[.,{_GAP}]\d+)*)", re.ASCII
)
_ORDINAL = re.compile(r"st|nd|rd|th|\.?[ºª°](?!\w)")
_DECADE = re.compile(r"'?s\b")
_ROMAN = re.compile(r"\b(?=[IVX]{2})X{0,3}(?:IX|IV|V?I{0,3})\b(?<=[IVX])")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10}
_LARGEST_SPELT = 20
"""Up to here ordinals, and figures in languages whose words are not known, may be written out in the translation."""


@dataclass(frozen=True)
class _Words:
    small: dict[str, int]
    """Below 1000: they are added up."""
    scales: dict[str, int]
    hundred: str = ""
    joint: str = ""
    """Between the parts of one number."""
    plural_scales: dict[str, int] = field(default_factory=dict)
    """Scales only after figures: without them they are no number."""


def _row(words: str, first: int, step: int = 1) -> dict[str, int]:
    return {word: first + i * step for i, word in enumerate(words.split())}


_WORDS = {
    "en": _Words(
        _row("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen", 0)
        | _row("seventeen eighteen nineteen", 17)
        | _row("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10),
        {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12},
        hundred="hundred",
        joint="and",
    ),
    "es": _Words(
        _row("cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis", 0)
        | _row("diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro veinticinco", 17)
        | _row("veintiséis veintisiete veintiocho veintinueve treinta", 26)
        | _row("treinta cuarenta cincuenta sesenta setenta ochenta noventa", 30, 10)
        | _row("ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos", 100, 100)
        | {"un": 1, "una": 1, "veintiún": 21, "veintiuna": 21, "cien": 100, "novecientos": 900}
        | _row("doscientas trescientas cuatrocientas quinientas seiscientas setecientas ochocientas", 200, 100)
        | {"novecientas": 900},
        {"mil": 10**3, "millón": 10**6, "millones": 10**6, "billón": 10**12, "billones": 10**12},
        joint="y",
        plural_scales={"miles": 10**3},
    ),
}
_TOKEN = re.compile(r"[^\W\d_]+")
_NEXT_WORD = re.compile(r"[ \u00a0-](?:de )?([^\W\d_]+)")
_SCALE = re.compile(
    r"[ \u00a0-](?:de )?(?:mil(?:es|l[oó]n(?:es)?|lions?)?|bill[oó]n(?:es)?|billions?|thousands?)(?!\w)", re.IGNORECASE
)


@dataclass(frozen=True)
class Number:
    start: int
    end: int
    """Where it stands in the text."""
    values: tuple[str, ...]
    """What it may be, as it is written there first: a decade is 1990 or 90, an hour 19 or 7."""
    figures: bool
    firm: bool
    """It has to be found again in the translation."""

    def written(self, language: str) -> str:
        """In figures, as the language writes them."""
        value = self.values[0]
        return value if ":" in value else _written(Decimal(value), language)


_TIME_WITH_DOT = re.compile(r"(?<=\bat )(\d|1\d|2[0-3])\.([0-5]\d)(?![\w%]|[.,:]\d| ?%)")
_AFTER_A_RATE = re.compile(r" ?(?:percent|per cent|points?|degrees|million|billion|met\w+|dollars|euros|pounds|cents)")
_OF_RATES = re.compile(
    r"\b(?:rates?|prices?|priced|shares?|stocks?|index|inflation|yields?|trad(?:es?|ing|ed)|sells?|sold|stands?|stood)\b"
)


def with_clock_times(text: str, language: str) -> str:
    """An English `text` with 7:30 where a recogniser wrote "at 7.30": a time unless the sentence is about rates."""
    if language != "en" or _OF_RATES.search(text.lower()):
        return text
    return _TIME_WITH_DOT.sub(
        lambda time: time[0] if _AFTER_A_RATE.match(text, time.end()) else f"{time[1]}:{time[2]}", text
    )


def found(text: str, language: str) -> list[Number]:
    """Every number of `text`, from left to right. `language`: a code such as `en`."""
    language = language.partition("-")[0]
    figures = [number for match in _FIGURES.finditer(text) for number in _figures(match, text, language)]
    taken = [(number.start, number.end) for number in figures]
    words = [n for n in _spelt(text, language) if not any(a < n.end and n.start < b for a, b in taken)]
    romans = [
        Number(m.start(), m.end(), (str(_roman(m[0])),), figures=False, firm=False) for m in _ROMAN.finditer(text)
    ]
    return sorted((*figures, *words, *romans), key=lambda number: number.start)


def compared(text: str, source: str, translation: str, target: str) -> tuple[list[Number], list[Number]]:
    """(numbers of `text` that `translation` lacks, figures of `translation` that `text` does not have)."""
    left = found(translation, target)
    lost = []
    for number in found(text, source):
        same = next((other for other in left if set(other.values) & set(number.values)), None)
        if same is not None:
            left.remove(same)
        elif number.firm and not (target.partition("-")[0] not in _WORDS and _small(number)):
            lost.append(number)
    return lost, [number for number in left if number.figures]


def repaired(text: str, source: str, translation: str, target: str) -> tuple[str, list[str]]:
    """The translation with the one number put right that was changed, and the numbers that are lost for good.

    The lost are given as `text` has them.
    """
    lost, foreign = compared(text, source, translation, target)
    if len(lost) == len(foreign) == 1 and lost[0].figures and not _SCALE.match(translation, foreign[0].end):
        (wrong,) = foreign
        mended = translation[: wrong.start] + lost[0].written(target) + translation[wrong.end :]
        if compared(text, source, mended, target) == ([], []):
            return mended, []
    return translation, [text[number.start : number.end] for number in lost]


def in_figures(text: str, language: str) -> str:
    """`text` with its numbers from 2 on in figures, which translators get wrong less often."""
    for number in reversed(found(text, language)):
        if number.firm and not number.figures:
            text = text[: number.start] + number.written(language) + text[number.end :]
    return text


def _small(number: Number) -> bool:
    return any(value.isdigit() and int(value) <= _LARGEST_SPELT for value in number.values)


def _figures(match: re.Match[str], text: str, language: str) -> Iterator[Number]:
    if match["hours"] is not None:
        yield _clock(match)
        return
    end = match.end()
    value = _value(match["number"], language)
    if value is None:  # a date, a version: each part for itself
        for part in re.finditer(r"\d+", match["number"]):
            start = match.start() + part.start()
            yield Number(start, start + len(part[0]), _one(Decimal(part[0])), figures=True, firm=True)
        return
    if (scale := _scale_after(text, end, language)) is not None:
        end, factor = scale
        value *= factor
    elif ordinal := _ORDINAL.match(text, end):
        firm = value > _LARGEST_SPELT
        yield Number(match.start(), ordinal.end(), _one(value), figures=True, firm=firm)
        return
    elif (decade := _DECADE.match(text, end)) and value % 10 == 0:
        short = value % 100
        values = (*_one(value), *_one(short), *_one(1900 + short))
        yield Number(match.start(), decade.end(), values, figures=True, firm=True)
        return
    yield Number(match.start(), end, _one(value), figures=True, firm=True)


def _clock(match: re.Match[str]) -> Number:
    hours, minutes = int(match["hours"]), match["minutes"]
    on_the_dial = dict.fromkeys((hours, (hours - 1) % 12 + 1, (hours - 1) % 12 + 13))
    values = tuple(str(hour) if minutes == "00" else f"{hour}:{minutes}" for hour in on_the_dial)
    return Number(match.start(), match.end(), values, figures=True, firm=True)


def _value(figures: str, language: str) -> Decimal | None:
    """None where it is not one number in any writing."""
    decimal, group = (".", ",") if language in _POINT else (",", ".")
    if re.fullmatch(rf"\d{{1,3}}(?:[{re.escape(group)}{_GAP}]\d{{3}})+(?:{re.escape(decimal)}\d+)?", figures):
        plain = re.sub(rf"[{re.escape(group)}{_GAP}]", "", figures)
        return Decimal(plain.replace(decimal, "."))
    if re.fullmatch(r"\d+(?:[.,]\d+)?", figures):
        return Decimal(figures.replace(",", "."))
    return None


def _scale_after(text: str, at: int, language: str) -> tuple[int, int] | None:
    """(end, factor) of the scale words that follow: "mil millones"."""
    words = _WORDS.get(language)
    if words is None:
        return None
    end, factor = at, 1
    scales = words.scales | words.plural_scales
    while match := _NEXT_WORD.match(text, end):
        scale = scales.get(match[1].lower())
        if scale is None:
            break
        end, factor = match.end(), factor * scale
    return (end, factor) if factor > 1 else None


def _spelt(text: str, language: str) -> Iterator[Number]:
    """Numbers in words. 1 is never firm: it is an article as often as a number."""
    words = _WORDS.get(language)
    if words is None:
        return
    run: list[re.Match[str]] = []
    for match in [*_TOKEN.finditer(text), None]:
        follows = match and run and re.fullmatch(r"[ -]+", text[run[-1].end() : match.start()])
        if match and follows and (_counts(match[0].lower(), words) or match[0].lower() == words.joint):
            run.append(match)
            continue
        yield from _of_run(run, words)
        run = [match] if match and _counts(match[0].lower(), words) else []


def _counts(word: str, words: _Words) -> bool:
    return word in words.small or word in words.scales or (word == words.hundred != "")


def _of_run(run: list[re.Match[str]], words: _Words) -> Iterator[Number]:
    """The numbers of words that follow each other: "nineteen ninety nine" is one, "three four" are two."""
    while run and run[-1][0].lower() == words.joint:
        run = run[:-1]
    part, total, low, begun, joined = 0, 0, 0, 0, False
    for i, match in enumerate(run):
        word = match[0].lower()
        if word == words.joint:
            joined = True
            continue
        if word in words.scales:
            total, part = _scaled(total, part, words.scales[word])
            low = words.scales[word]
        elif word == words.hundred != "":
            part, low = max(part, 1) * 100, 100
        else:
            value = words.small[word]
            if i > begun and not _continues(part, low, value, joined):
                if words.hundred and 10 <= part <= 99 and 10 <= value <= 99 and not joined and not total:
                    part *= 100  # a year, as only English says it
                else:
                    yield _word_number(run[begun], run[i - (2 if joined else 1)], total + part)
                    part, total, begun = 0, 0, i
            part, low = part + value, _size(value)
        joined = False
    if run:
        yield _word_number(run[begun], run[-1], total + part)


def _scaled(total: int, part: int, scale: int) -> tuple[int, int]:
    """ "dos mil millones" multiplies what was there, "dos millones tres mil" adds to it."""
    if total and scale > total:
        return (total + part) * scale, 0
    return total + max(part, 1) * scale, 0


def _continues(part: int, low: int, value: int, joined: bool) -> bool:
    """Whether a word is of the number so far: what it adds is smaller than the last part."""
    return (part == 0 and low >= 1000) or (low > _size(value) and (value < low)) or (joined and low > value)


def _size(value: int) -> int:
    """100 after hundreds, 10 after tens, 1 after all that nothing can be added to."""
    if value >= 100:
        return 100
    return 10 if value >= 20 and value % 10 == 0 else 1


def _word_number(first: re.Match[str], last: re.Match[str], value: int) -> Number:
    return Number(first.start(), last.end(), _one(Decimal(value)), figures=False, firm=value > 1)


def _one(value: Decimal) -> tuple[str, ...]:
    return (format(value.normalize(), "f"),)


def _roman(letters: str) -> int:
    values = [_ROMAN_VALUES[letter] for letter in letters]
    return sum(-v if any(v < w for w in values[i + 1 :]) else v for i, v in enumerate(values))


def _written(value: Decimal, language: str) -> str:
    language = language.partition("-")[0]
    if language in _WORDS and value >= 10**6 and value % 10**5 == 0:
        million = {"en": "million", "es": "millones" if value >= 2 * 10**6 else "millón"}[language]
        return f"{_written(value / 10**6, language)} {million}"
    plain = f"{value.normalize():,f}" if value >= 10**4 else format(value.normalize(), "f")
    return plain if language in _POINT else plain.translate(str.maketrans(",.", ".,"))
