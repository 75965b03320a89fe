"""Units that stand with figures: 5 km must not become 5 miles, nor 9 euros 9 dollars. English and Spanish. Pure."""

from __future__ import annotations

import re

_UNITS: dict[str, dict[str, str]] = {
    "%": {"en": r"%|percent|per cent", "es": r"%|por ciento"},
    "dollar": {"en": r"\$|dollars?|bucks?|USD", "es": r"\$|dólar(?:es)?|USD"},
    "euro": {"en": r"€|euros?|EUR", "es": r"€|euros?|EUR"},
    "pound": {"en": r"£|pounds?|lbs?", "es": r"£|libras?"},
    "kilometre": {"en": r"km|kilomet(?:er|re)s?|kilometric", "es": r"km|kilómetros?"},
    "kilometre per hour": {
        "en": r"km/h|kph|kilomet(?:er|re)s? (?:per|an) hour",
        "es": r"km/h|kilómetros? por hora",
    },
    "metre": {"en": r"m|met(?:er|re)s?", "es": r"m|metros?"},
    "centimetre": {"en": r"cm|centimet(?:er|re)s?", "es": r"cm|centímetros?"},
    "mile": {"en": r"mi|miles?", "es": r"millas?"},
    "mile per hour": {"en": r"mph|miles? (?:per|an) hour", "es": r"mph|millas? por hora"},
    "foot": {"en": r"ft|foot|feet", "es": r"pies?"},
    "inch": {"en": r"inch(?:es)?", "es": r"pulgadas?"},
    "kilogram": {"en": r"kg|kilos?|kilograms?", "es": r"kg|kilos?|kilogramos?"},
    "gram": {"en": r"g|grams?", "es": r"g|gramos?"},
    "ton": {"en": r"tons?|tonnes?", "es": r"toneladas?"},
    "litre": {"en": r"l|lit(?:er|re)s?", "es": r"l|litros?"},
    "degree": {"en": r"°[CF]?|degrees?", "es": r"°[CF]?|grados?"},
    "second": {"en": r"s|secs?|seconds?", "es": r"s|segundos?"},
    "minute": {"en": r"min|minutes?", "es": r"min|minutos?"},
    "hour": {"en": r"h|hours?", "es": r"h|horas?"},
    "day": {"en": r"days?", "es": r"días?"},
    "week": {"en": r"weeks?", "es": r"semanas?"},
    "month": {"en": r"months?", "es": r"mes(?:es)?"},
    "year": {"en": r"years?", "es": r"años?"},
}


def _pattern(language: str) -> re.Pattern[str]:
    """Longest first: a unit may begin as another one does."""
    names = sorted(_UNITS, key=lambda unit: -len(_UNITS[unit][language]))
    after = "|".join(f"(?P<{_group(unit)}>{_UNITS[unit][language]})" for unit in names)
    scale = {"en": r"(?: (?:thousand|million|billion|trillion))?", "es": r"(?: (?:mil|mill[oó]n(?:es)?)(?: de)?)*"}
    return re.compile(rf"(?P<sign>[$€£])\s?\d|\d{scale[language]}[\s-]?(?:{after})(?![\w/])", re.IGNORECASE)


def _group(unit: str) -> str:
    return "u" + str(list(_UNITS).index(unit))


_FIND = {language: _pattern(language) for language in ("en", "es")}
_SIGNS = {"$": "dollar", "€": "euro", "£": "pound"}


def lost(text: str, source: str, translation: str, target: str) -> list[str]:
    """The units that figures of `text` have and no word of `translation` names, as `text` has them.

    Empty for languages whose units are not known.
    """
    if source not in _FIND or target not in _FIND:
        return []
    gone = []
    for unit, shown in _found(text, source):
        if not re.search(rf"(?<![^\W\d])(?:{_UNITS[unit][target]})(?![\w/])", translation, re.IGNORECASE):
            gone.append(shown)
    return list(dict.fromkeys(gone))


def _found(text: str, language: str) -> list[tuple[str, str]]:
    """(unit, how it is written there)"""
    units = []
    for match in _FIND[language].finditer(text):
        if match["sign"]:
            units.append((_SIGNS[match["sign"]], match["sign"]))
            continue
        units += [(unit, match[_group(unit)]) for unit in _UNITS if match[_group(unit)]]
    return units
