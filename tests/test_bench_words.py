"""How bench/quality compares what was said with what was heard: the judge has to be right."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.unit


def _words() -> ModuleType:
    spec = importlib.util.spec_from_file_location("words", Path(__file__).parents[1] / "bench" / "words.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bench = _words()


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("en", "More than 12,000 people.", "more than twelve thousand people"),
        ("en", "It rose to 6.5%", "It rose to six point five percent."),
        ("en", "at 7:30 p.m.", "at seven thirty PM"),
        ("en", "$40", "forty dollars"),
        ("en", "one hundred and five", "105"),
        ("en", "1,450,000", "one million four hundred and fifty thousand"),
        ("es", "Más de 12.000 personas", "más de doce mil personas"),
        ("es", "2,75 por ciento", "dos coma siete cinco %"),
        ("es", "¿Llegó a las 9:45?", "llego a las nueve cuarenta y cinco"),
        ("es", "doscientas una casas", "201 casas"),
        ("es", "1.250.000 euros", "un millón doscientos cincuenta mil euros"),
        ("es", "1,450,000 visitantes", "1.450.000 visitantes"),
        ("es", "100 y 116", "cien y ciento dieciséis"),
    ],
)
def test_the_same_said_otherwise_is_the_same(language: str, one: str, other: str) -> None:
    assert bench.words(one, language) == bench.words(other, language)


@pytest.mark.parametrize(("one", "other"), [("año", "ano"), ("15", "50"), ("2,5", "25"), ("7:30", "7:13")])
def test_what_is_not_the_same_is_not(one: str, other: str) -> None:
    assert bench.words(one, "es") != bench.words(other, "es")


def test_words_left_out_put_in_and_exchanged_count_one_each() -> None:
    wanted = bench.words("the old bridge is closed", "en")
    assert bench.distance(wanted, wanted) == 0
    assert bench.distance(wanted, bench.words("the bridge is closed", "en")) == 1
    assert bench.distance(wanted, bench.words("the old bridge is now closed", "en")) == 1
    assert bench.distance(wanted, bench.words("the cold bridge is closed", "en")) == 1
    assert bench.distance(wanted, []) == 5


def test_a_number_is_found_in_one_piece_only() -> None:
    assert bench.holds(bench.words("cuesta 12.000 euros", "es"), bench.words("12.000", "es"))
    assert not bench.holds(bench.words("cuesta 12 euros, no mil", "es"), bench.words("12.000", "es"))
