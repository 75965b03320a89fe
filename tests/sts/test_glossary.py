from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.config import Term
from dubrelay.sts.mt.glossary import hidden, missing, names_as_listed, put_right

pytestmark = pytest.mark.unit

GLOSSARY = (
    Term(source="goal", target="gol"),
    Term(source="Bayern"),
    Term(source="Bayern Munich", target="el Bayern"),
    Term(source="penalty", target="penalti"),
    Term(source="ball", target="balón"),
    Term(source="referee", target="juez"),
)


def said(text: str, target: str = "es") -> str:
    """By a translator that shouts."""
    marked = hidden(text, GLOSSARY, target)
    return marked.shown(marked.text.upper())


def test_terms_are_kept_from_the_translator_whatever_it_does_to_the_rest() -> None:
    assert said("A goal for Bayern, a goal for bayern munich") == "A gol FOR Bayern, A gol FOR el Bayern"


def test_a_part_of_a_word_is_no_term() -> None:
    assert said("The goalkeeper's bayernish") == "THE GOALKEEPER'S BAYERNISH"


@pytest.mark.parametrize(
    ("text", "translation"),
    [
        ("two goals, penalties and balls", "TWO goles, penaltis AND balones"),
        ("the referees", "THE jueces"),
        ("Bayern's goal", "Bayern gol"),
        ("the goal's end", "THE gol END"),
        ("Goals! Goal", "Goles! Gol"),
    ],
)
def test_number_case_and_genitive_of_a_term_do_not_matter(text: str, translation: str) -> None:
    assert said(text) == translation
    assert missing(text, translation, GLOSSARY) == []


@pytest.mark.parametrize(
    ("term", "heard"),
    [
        ("Harbour Cup", "the harbor cup"),
        ("Labor Center", "the Labour Centre's plan"),
        ("organisation", "two organizations"),
        ("defence", "a defense"),
    ],
)
def test_a_term_may_be_spelt_as_others_spell_it(term: str, heard: str) -> None:
    assert hidden(heard, [Term(source=term, target="x")], "es").said
    assert missing(heard, "nada", [Term(source=term, target="x")])


@pytest.mark.parametrize(
    ("heard", "meant"),
    [
        ("Mario Gomez spoke.", "Maria Gomez spoke."),
        ("with Maria Gomes and Mari Gomez", "with Maria Gomez and Mari Gomez"),
        ("Mario Gomez, Mario Gomez", "Maria Gomez, Maria Gomez"),
        ("Maria Gomez", "Maria Gomez"),
        ("Marco Gomez, Mario Lopez, Mario, Gomez", "Marco Gomez, Mario Lopez, Mario, Gomez"),
        ("mario Gomez", "mario Gomez"),
        ("Helen Bakes", "Helen Bakes"),
    ],
)
def test_a_name_heard_with_one_letter_wrong_is_the_one_that_is_listed(heard: str, meant: str) -> None:
    listed = [Term(source="Maria Gomez"), Term(source="Helen Baker"), Term(source="Helen Bakes"), Term(source="goal")]
    assert names_as_listed(heard, listed) == meant


def test_an_article_before_a_term_has_its_gender() -> None:
    cup = [Term(source="Harbour Cup", target="Copa del Puerto"), Term(source="bank", target="Banco")]
    text = hidden("Harbour Cup and bank", cup, "es")
    first, second = text.text.split(" and ")
    shown = text.shown(f"El {first}, un {first}, del {first}, al {second}, el {second}")
    assert shown == "La Copa del Puerto, una Copa del Puerto, de la Copa del Puerto, al Banco, el Banco"


def test_a_mark_that_the_translator_makes_up_is_left_out() -> None:
    assert hidden("a goal", GLOSSARY, "es").shown("un Zqaa Zqzz") == "un gol "


@pytest.mark.parametrize(
    ("text", "translation", "lost"),
    [
        ("a goal", "un tanto", ["goal"]),
        ("a goal", "un gol", []),
        ("two goals", "dos Goles", []),
        ("a goal and a goal", "un gol y un tanto", ["goal"]),
        ("Bayern won", "ganó", ["Bayern"]),
        ("Bayern Munich beat Bayern", "el Bayern ganó al Bayern", []),
        ("nothing of that", "nada", []),
    ],
)
def test_lost_terms_are_found_in_any_translation(text: str, translation: str, lost: list[str]) -> None:
    assert [term.source for term in missing(text, translation, GLOSSARY)] == lost


def test_a_term_that_was_not_translated_is() -> None:
    assert put_right("two goals", "dos goals", GLOSSARY, "es") == "dos goles"
    assert put_right("a goal", "un tanto", GLOSSARY, "es") == "un tanto"
    assert put_right("for Bayern Munich", "para Bayern Munich", GLOSSARY, "es") == "para el Bayern"
    assert put_right("for Bayern", "para el club", GLOSSARY, "es") == "para el club"


texts = st.text("ab g'\u2019-", max_size=60)
terms = st.lists(st.builds(Term, source=st.text("abg", min_size=1, max_size=3), target=st.text("xy\\1", max_size=3)))


@given(texts, terms)
def test_a_translator_that_changes_nothing_gives_each_term_its_target(text: str, glossary: list[Term]) -> None:
    marked = hidden(text, glossary, "es")
    out = marked.shown(marked.text)
    if not glossary:
        assert out == text
    for term in glossary:
        alone = hidden(term.source, [term], "es")
        assert alone.shown(alone.text) == (term.target or term.source)
        assert missing(term.source, term.target or term.source, [term]) == []


@given(texts, terms, st.text(max_size=60))
def test_any_translation_can_be_put_right(text: str, glossary: list[Term], translation: str) -> None:
    mended = put_right(text, translation, glossary, "es")
    assert len(missing(text, mended, glossary)) <= len(glossary)
    hidden(text, glossary, "es").shown(translation)
