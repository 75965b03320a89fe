from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.sts.mt.numbers import compared, found, in_figures, repaired, with_clock_times

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "language", "values"),
    [
        ("It costs $9.99 or 1,250.5", "en", ["9.99", "1250.5"]),
        ("Cuesta 9,99 dólares o 1.250,5", "es", ["9.99", "1250.5"]),
        ("1\u00a0250,5 in 3.12.2024", "de", ["1250.5", "3", "12", "2024"]),
        ("2.5 million", "en", ["2500000"]),
        ("2,5 millones, 2.500 millones, mil millones", "es", ["2500000", "2500000000", "1000000000"]),
        ("dos millones quinientos mil", "es", ["2500000"]),
        ("nineteen ninety nine, then twenty twenty-four", "en", ["1999", "2024"]),
        ("mil novecientos noventa y nueve", "es", ["1999"]),
        ("two hundred and fifty three thousand and four", "en", ["253004"]),
        ("three four, five and six", "en", ["3", "4", "5", "6"]),
        ("two-one, 2-1", "en", ["2", "1", "2", "1"]),
        ("a hundred and one", "en", ["101"]),
        ("at 7:30 and 19:00 on the 21st", "en", ["7:30", "19", "21"]),
        ("siglo XXI", "es", ["21"]),
        ("no number, none at all, someone, tenor, MIX, VX, IIII", "en", []),
        ("drei von 3", "de", ["3"]),
    ],
)
def test_numbers_are_read_as_the_language_writes_them(text: str, language: str, values: list[str]) -> None:
    assert [number.values[0] for number in found(text, language)] == values


@pytest.mark.parametrize(
    ("english", "spanish"),
    [
        ("Inflation rose 2.5% in 2024.", "La inflación subió un 2,5 % en 2024."),
        ("Two million people", "2 millones de personas"),
        ("2 billion euros", "dos mil millones de euros"),
        ("one of them", "de ellos"),
        ("at 7:30 p.m.", "a las 19:30"),
        ("at 7:00 p.m.", "a las 7 de la tarde"),
        ("the 1990s", "los años 90"),
        ("the 1st of May", "el primero de mayo"),
        ("in the 21st century", "en el siglo XXI"),
        ("The match ended two to one.", "El partido acabó 2 a 1."),
        ("2 billion dollars", "2 miles de millones de dólares"),
    ],
)
def test_the_same_number_may_be_written_in_other_ways(english: str, spanish: str) -> None:
    assert compared(english, "en", spanish, "es") == ([], [])
    assert repaired(english, "en", spanish, "es") == (spanish, [])


@pytest.mark.parametrize(
    ("english", "wrong", "right"),
    [
        ("2 billion euros", "2 billones de euros", "2000 millones de euros"),
        ("It costs 1,250 euros.", "Cuesta 1,250 euros.", "Cuesta 1250 euros."),
        ("12,500 people", "12,500 personas", "12.500 personas"),
        ("In 1999 25 came at 7:30", "En 1998 25 vinieron a las 7:30", "En 1999 25 vinieron a las 7:30"),
        ("at 7:30", "a las 7:35", "a las 7:30"),
    ],
)
def test_the_one_number_that_was_changed_is_put_right(english: str, wrong: str, right: str) -> None:
    assert repaired(english, "en", wrong, "es") == (right, [])


@pytest.mark.parametrize(
    ("english", "spanish", "lost"),
    [
        ("It rose 2.5% in 2024.", "La inflación subió.", ["2.5", "2024"]),
        ("10 of 20", "11 de 21", ["10", "20"]),
        ("two dogs", "tres perros", ["two"]),
        ("2 billion people", "2 thousand millones de personas", ["2 billion"]),
    ],
)
def test_what_cannot_be_put_right_is_named(english: str, spanish: str, lost: list[str]) -> None:
    assert repaired(english, "en", spanish, "es") == (spanish, lost)


def test_spelt_numbers_are_put_in_figures() -> None:
    text = "One of twenty-five born in nineteen eighty four, 3 of two million"
    assert in_figures(text, "en") == "One of 25 born in 1984, 3 of 2 million"
    assert in_figures("drei", "de") == "drei"


@pytest.mark.parametrize(
    ("heard", "meant"),
    [
        ("It leaves at 7.30 and arrives at 9.45.", "It leaves at 7:30 and arrives at 9:45."),
        ("At noon, at 12.05, at 23.59", "At noon, at 12:05, at 23:59"),
        ("Rates stay at 2.25.", "Rates stay at 2.25."),
        ("It sold at 9.50", "It sold at 9.50"),
        ("at 3.25 percent, at 7.30%, at 1.50 euros", "at 3.25 percent, at 7.30%, at 1.50 euros"),
        ("at 7.305, at 25.10, at 7.75, from 7.30", "at 7.305, at 25.10, at 7.75, from 7.30"),
    ],
)
def test_a_time_that_was_heard_with_a_dot_is_one(heard: str, meant: str) -> None:
    assert with_clock_times(heard, "en") == meant
    assert with_clock_times(heard, "es") == heard


def test_small_numbers_may_be_spelt_in_a_language_whose_words_are_not_known() -> None:
    assert compared("7 dogs", "en", "sieben Hunde", "de") == ([], [])
    assert [n.values for n in compared("70 dogs", "en", "siebzig Hunde", "de")[0]] == [("70",)]


numbers = st.decimals(min_value=0, max_value=9_999_999, places=2)


@given(st.lists(numbers, min_size=1, max_size=4))
def test_what_is_written_in_one_language_is_read_again_in_another(values: list[object]) -> None:
    english = " and ".join(f"{value:,}" for value in values)
    (*_, last) = found(english, "en")
    spanish = " y ".join(number.written("es") for number in found(english, "en"))
    assert compared(english, "en", spanish, "es") == ([], [])
    assert repaired(english, "en", f"{last.written('es')}", "es")[0]


@given(st.integers(0, 9999), st.integers(0, 9999))
def test_a_single_number_never_stays_wrong(right: int, wrong: int) -> None:
    text, lost = repaired(f"So {right}.", "en", f"Pues {wrong}.", "es")
    assert [n.values[0] for n in found(text, "es")] == [str(right)]
    assert lost == []


@given(st.text(max_size=80), st.text(max_size=80), st.sampled_from(["en", "es", "de", "zh"]))
def test_any_text_can_be_looked_at(text: str, translation: str, language: str) -> None:
    for number in found(text, language):
        assert text[number.start : number.end].strip()
    assert compared(text, language, text, language)[0] == []
    repaired(text, "en", translation, language)


_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def _spelt(value: int) -> str:
    if value < 20:
        return (*_ONES, *_TEENS)[value]
    if value < 100:
        return _TENS[value // 10 - 2] + (f"-{_ONES[value % 10]}" if value % 10 else "")
    if value < 1000:
        return f"{_ONES[value // 100]} hundred" + (f" and {_spelt(value % 100)}" if value % 100 else "")
    return f"{_spelt(value // 1000)} thousand" + (f" {_spelt(value % 1000)}" if value % 1000 else "")


@given(st.integers(0, 999_999))
def test_spelt_numbers_are_read(value: int) -> None:
    assert [number.values[0] for number in found(f"there are {_spelt(value)} of them", "en")] == [str(value)]
