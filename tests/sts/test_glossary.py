from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.config import ApertiumEngine, Paths, Sts
from dubrelay.sts.mt.apertium import Apertium
from dubrelay.sts.mt.glossary import translated
from dubrelay.wire.glossary import Term

GLOSSARY = (Term(source="goal", target="gol"), Term(source="Bayern"), Term(source="Bayern Munich", target="el Bayern"))


def louder(text: str) -> str:
    return text.upper()


@pytest.mark.unit
def test_terms_are_kept_from_the_translator_whatever_it_does_to_the_rest() -> None:
    text, notes = translated("A goal for Bayern, two goals for bayern munich", GLOSSARY, louder)
    assert text == "A gol FOR Bayern, TWO gol FOR el Bayern"
    assert notes == []


@pytest.mark.unit
def test_a_part_of_a_word_is_no_term() -> None:
    assert translated("The goalkeeper's bayernish", GLOSSARY, louder)[0] == "THE GOALKEEPER'S BAYERNISH"


@pytest.mark.unit
def test_a_translator_that_loses_a_term_is_asked_without_it_and_that_is_said() -> None:
    asked: list[str] = []

    def forgetful(text: str) -> str:
        asked.append(text)
        return text.replace("Zq", "")

    text, notes = translated("A goal", GLOSSARY, forgetful)
    assert (text, asked[-1]) == ("A goal", "A goal")
    assert notes == ["glossary: 'goal' was lost in translation"]


@pytest.mark.unit
@given(
    st.text("ab g'\u2019-", max_size=60),
    st.lists(st.builds(Term, source=st.text("abg", min_size=1, max_size=3), target=st.text("xy\\1", max_size=3))),
)
def test_a_translator_that_changes_nothing_gives_each_term_its_target(text: str, terms: list[Term]) -> None:
    out, notes = translated(text, terms, str)
    assert notes == []
    if not terms:
        assert out == text
    for term in terms:
        assert translated(term.source, [term], str)[0] == (term.target or term.source)


@pytest.mark.service
def test_apertium_leaves_a_term_where_it_belongs() -> None:
    engine = Apertium("apertium", ApertiumEngine(), Sts(), Paths())
    try:
        text, notes = translated(
            "The minister of Bayern said that the new goal will come.",
            GLOSSARY,
            lambda t: engine.translate(t, "en", "es"),
        )
    finally:
        engine.close()
    assert notes == []
    assert "Bayern" in text
    assert "gol" in text
    assert text.startswith("El ministro de Bayern")
