"""What was said as words that can be compared: no case, no punctuation, no accents, numbers spelled out. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence


def _list(text: str) -> list[str]:
    return text.split()


EN = _list(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
EN_TENS = _list("_ _ twenty thirty forty fifty sixty seventy eighty ninety")
ES = _list(
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciseis diecisiete "
    "dieciocho diecinueve veinte veintiuno veintidos veintitres veinticuatro veinticinco veintiseis veintisiete "
    "veintiocho veintinueve"
)
ES_TENS = _list("_ _ _ treinta cuarenta cincuenta sesenta setenta ochenta noventa")
ES_HUNDREDS = _list(
    "_ ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos novecientos"
)
POINT = {"en": "point", "es": "coma"}
SIGNS = {
    "en": {"%": "percent", "$": "dollars", "€": "euros", "£": "pounds", "&": "and"},
    "es": {"%": "por ciento", "$": "dolares", "€": "euros", "£": "libras", "&": "y"},
}
ALIKE = {
    "en": {
        "ok": "okay",
        "mr": "mister",
        "mrs": "missus",
        "dr": "doctor",
        "centre": "center",
        "defence": "defense",
        "harbour": "harbor",
        "metres": "meters",
        "theatre": "theater",
    },
    "es": {"un": "uno", "una": "uno", "veintiun": "veintiuno", "veintiuna": "veintiuno", "km": "kilometros"},
}


def words(text: str, language: str) -> list[str]:
    """`language`: en or es."""
    text = _folded(text.lower())
    text = re.sub(r"([$€£]) ?(\d[\d.,]*\d|\d)", r"\2 \1", text)
    for sign, word in SIGNS[language].items():
        text = text.replace(sign, f" {word} ")
    text = re.sub(r"\d+(?:[.,:]\d+)*", lambda m: f" {_spelled(m[0], language)} ", text)
    text = re.sub(r"\b([ap])\.? ?m\b\.?", r"\1m", text).replace("per cent", "percent")
    text = text.replace("halftime", "half time")
    if language == "en":
        text = re.sub(r"\b(hundred|thousand) and\b", r"\1", text)
    else:
        text = re.sub(r"cientas\b", "cientos", text)
    found = re.findall(r"[a-zñ']+", text.replace("\u2019", "'"))
    return [ALIKE[language].get(word.strip("'"), word.strip("'")) for word in found if word.strip("'")]


def distance(wanted: Sequence[str], found: Sequence[str]) -> int:
    """Words left out, put in and exchanged (Levenshtein)."""
    row = list(range(len(found) + 1))
    for i, here in enumerate(wanted, 1):
        before, row[0] = row[0], i
        for j, there in enumerate(found, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (here != there))
    return row[-1]


def holds(found: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether `wanted` stands in `found`, in one piece."""
    return any(list(found[n : n + len(wanted)]) == list(wanted) for n in range(len(found) - len(wanted) + 1))


def _folded(text: str) -> str:
    """Without accents; ñ is a letter."""
    parts = unicodedata.normalize("NFD", text.replace("ñ", "\0"))
    return "".join(c for c in parts if not unicodedata.combining(c)).replace("\0", "ñ")


def _spelled(figures: str, language: str) -> str:
    """12,000 or 12.000; 2.5 or 2,5; 7:30."""
    if ":" in figures:
        return " ".join(_whole(int(part), language) for part in figures.split(":") if part.isdecimal() and int(part))
    thousands, point = (",", ".") if language == "en" else (".", ",")
    if re.fullmatch(rf"\d{{1,3}}(?:\{thousands}\d{{3}})+|\d{{1,3}}(?:[.,]\d{{3}}){{2,}}", figures):
        return _whole(int(re.sub(r"[.,]", "", figures)), language)
    whole, _, part = figures.replace(thousands, point).partition(point)
    if not part or not part.isdecimal():
        return " ".join(_whole(int(part), language) for part in re.findall(r"\d+", figures))
    tail = " ".join(_whole(int(digit), language) for digit in part)
    return f"{_whole(int(whole), language)} {POINT[language]} {tail}"


def _whole(number: int, language: str) -> str:
    return (_english if language == "en" else _spanish)(number)


def _english(number: int) -> str:
    if number < 20:
        return EN[number]
    if number < 100:
        return f"{EN_TENS[number // 10]} {EN[number % 10] if number % 10 else ''}"
    for size, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = _english(number % size) if number % size else ""
            return f"{_english(number // size)} {name} {rest}"
    raise AssertionError(number)


def _spanish(number: int) -> str:
    if number < 30:
        return ES[number]
    if number < 100:
        return ES_TENS[number // 10] + (f" y {ES[number % 10]}" if number % 10 else "")
    if number == 100:
        return "cien"
    if number < 1000:
        return f"{ES_HUNDREDS[number // 100]} {_spanish(number % 100) if number % 100 else ''}"
    if number < 10**6:
        thousands = "" if number < 2000 else _spanish(number // 1000)
        return f"{thousands} mil {_spanish(number % 1000) if number % 1000 else ''}"
    millions = number // 10**6
    name = "millon" if millions == 1 else "millones"
    return f"{_spanish(millions)} {name} {_spanish(number % 10**6) if number % 10**6 else ''}"
