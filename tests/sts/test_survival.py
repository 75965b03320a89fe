"""Units, names, sentences, lengths: what is looked at around a translation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.sts.mt import names, units
from dubrelay.sts.mt.plausible import objection
from dubrelay.sts.mt.sentences import ended, sentences

pytestmark = pytest.mark.unit

UNITS = "It costs $5, 5 km at 20 °C, 2.5% at 10 mph, 3 billion euros"


@pytest.mark.parametrize(
    ("translation", "lost"),
    [
        ("5 dólares, 5 km a 20 grados, 2,5 % a 10 millas por hora, 3.000 millones de euros", []),
        ("5 euros, 5 millas a 20 °C, 2,5 por ciento a 10 mph, 3.000 millones de euros", ["$", "km"]),
        ("cinco", ["$", "km", "°C", "%", "mph", "euros"]),
    ],
)
def test_a_unit_that_became_another_one_is_noticed(translation: str, lost: list[str]) -> None:
    assert units.lost(UNITS, "en", translation, "es") == lost


def test_units_of_spanish_are_looked_for_in_english() -> None:
    assert units.lost("3 mil millones de dólares y 5 pies", "es", "3 billion dollars and 5 metres", "en") == ["pies"]


def test_nothing_is_said_of_languages_whose_units_are_not_known() -> None:
    assert units.lost(UNITS, "en", "fünf", "de") == []


def test_people_with_titles_codes_and_addresses_have_to_be_kept() -> None:
    text = (
        "Mr. Green and Dr. John Smith's iPhone 15, COVID-19 in the G20, see www.x.com, a@b.org, YouTube; NATO at 7pm."
    )
    kept = ["Green", "John Smith", "iPhone", "COVID-19", "G20", "www.x.com", "a@b.org", "YouTube"]
    assert names.kept(text) == kept


@pytest.mark.parametrize(
    ("text", "translation", "lost"),
    [
        ("Mr. Green", "El Sr. Verde", ["Green"]),
        ("Mr. Garcia", "El Sr. García", []),
        ("London and the EU", "Londres y la UE", []),
        ("the iPhone", "el teléfono", ["iPhone"]),
    ],
)
def test_names_that_were_translated_are_noticed(text: str, translation: str, lost: list[str]) -> None:
    assert names.lost(text, translation) == lost


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("He lives in the U.S. with Bob. Then he left.", ["He lives in the U.S. with Bob.", "Then he left."]),
        ("Mr. Smith vs. Dr. Who came! Yes? No.", ["Mr. Smith vs. Dr. Who came!", "Yes?", "No."]),
        ("¿Qué? ¡Élla! 5 más.", ["¿Qué?", "¡Élla!", "5 más."]),
        ("It rose 2.5 per cent. 5 people", ["It rose 2.5 per cent.", "5 people"]),
        ("well... no", ["well... no"]),
        ("", []),
    ],
)
def test_sentences_are_told_apart(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts


@given(st.text("aB.?! 1\u00bf\n", max_size=60))
def test_no_word_of_any_text_is_left_out_of_its_sentences(text: str) -> None:
    parts = sentences(text)
    assert " ".join(parts) == " ".join(text.split())
    assert all(parts)


@pytest.mark.parametrize(
    ("text", "whole"), [("Done.", True), ('"Yes!"', True), ("and then", False), ("well...", False), ("wait…", False)]
)
def test_a_sentence_that_trails_off_has_not_ended(text: str, whole: bool) -> None:
    assert ended(text) == whole


SENTENCE = "The president of the council resigned this morning."


@pytest.mark.parametrize(
    ("text", "translation", "target", "why"),
    [
        (SENTENCE, "El presidente del consejo dimitió esta mañana.", "es", ""),
        (SENTENCE, "今朝、評議会の議長が辞任しました。", "ja", ""),
        ("No.", "De ninguna manera.", "es", ""),
        ("No, no, no, no, no, no.", "No, no, no, no, no, no.", "es", ""),
        (SENTENCE, "  ", "es", "it is empty"),
        (SENTENCE, "¡Pirata!", "es", f"it has only 8 characters for {len(SENTENCE)}"),
        ("Hello", "x" * 80, "es", "it has 80 characters for 5"),
        (SENTENCE, "la casa, la casa, la casa, la casa, la casa", "es", "it repeats itself"),
    ],
)
def test_a_text_that_can_be_no_translation_is_objected_to(text: str, translation: str, target: str, why: str) -> None:
    assert objection(text, "en", translation, target) == why
