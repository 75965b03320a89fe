from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.config import ApertiumEngine, Glossary, Paths, Sts, Term
from dubrelay.sts.mt.apertium import Apertium
from dubrelay.sts.mt.base import NO_WISH, Wish
from dubrelay.sts.mt.faithful import Asking, while_cheap
from dubrelay.wire.fragment import Context
from sts_parts import FakeClock

pytestmark = pytest.mark.unit

GLOSSARY = (Term(source="goal", target="gol"), Term(source="Bayern"))


class Scripted:
    """A translator that says what a function makes of the text; `knows` it may all by itself."""

    name = "scripted"
    pairs = frozenset({("en", "es")})

    def __init__(self, say: Callable[[str], str], knows: bool = False) -> None:
        self._say = say
        self.knows_context = self.knows_glossary = knows
        self.asked: list[str] = []

    def translate(self, text: str, source: str, target: str, wish: Wish = NO_WISH) -> str:
        self.asked.append(text)
        return self._say(text)

    def close(self) -> None:
        pass


def asking(
    mt: Scripted,
    glossary: Glossary = (),
    context: Context | None = None,
    again: Callable[[], bool] = lambda: True,
    goes_on: bool = True,
) -> Asking:
    return Asking(mt, "en", "es", Wish(context or Context(), glossary, goes_on=goes_on), again)


def test_a_phrase_that_has_nothing_to_keep_is_asked_for_once() -> None:
    mt = Scripted(lambda _: "La casa es blanca.")
    kept = asking(mt, GLOSSARY).phrase("The house is white.")
    assert (kept.text, kept.notes, mt.asked) == ("La casa es blanca.", [], ["The house is white."])


def test_a_translator_that_loses_marks_is_asked_without_them() -> None:
    mt = Scripted(lambda text: "un gol" if text == "a goal" else "un")
    kept = asking(mt, GLOSSARY).phrase("a goal")
    assert (kept.text, kept.notes) == ("un gol", [])
    assert mt.asked == ["a Zqaa", "a goal"]


def test_without_time_it_is_not_asked_again_and_what_is_lost_is_noted() -> None:
    mt = Scripted(lambda _: "un tanto")
    kept = asking(mt, GLOSSARY, again=lambda: False).phrase("a goal")
    assert (kept.text, len(mt.asked)) == ("un tanto", 1)
    assert kept.notes == ["glossary: 'goal' was lost in translation"]


def test_a_translator_that_knows_the_glossary_gets_the_words_themselves() -> None:
    mt = Scripted(lambda _: "un gol", knows=True)
    assert asking(mt, GLOSSARY).phrase("a goal").text == "un gol"
    assert mt.asked == ["a goal"]


def test_a_mark_that_it_makes_up_leaves_no_gap() -> None:
    assert asking(Scripted(lambda _: "la Zqab casa Zqac ")).phrase("the house").text == "la casa"


def test_a_term_that_it_ignores_all_the_same_is_hidden_from_it() -> None:
    mt = Scripted(lambda text: text.replace("a ", "un ").replace("goal", "tanto"), knows=True)
    kept = asking(mt, GLOSSARY).phrase("a goal")
    assert (kept.text, kept.notes, mt.asked) == ("un gol", [], ["a goal", "a Zqaa"])


def test_a_name_that_was_translated_is_hidden_the_second_time() -> None:
    mt = Scripted(lambda text: text.replace("Mr.", "El Sr.").replace("Green", "Verde"))
    kept = asking(mt).phrase("Mr. Green")
    assert (kept.text, kept.notes) == ("El Sr. Green", [])


def test_a_spelt_number_that_was_lost_is_asked_for_in_figures() -> None:
    mt = Scripted(lambda text: "en 1984" if "1984" in text else "en diecinueve ochenta")
    kept = asking(mt).phrase("in nineteen eighty four")
    assert (kept.text, kept.notes, mt.asked) == ("en 1984", [], ["in nineteen eighty four", "in 1984"])


def test_numbers_are_put_right_and_units_noted() -> None:
    kept = asking(Scripted(lambda _: "2 billones de millas")).phrase("2 billion km")
    assert kept.text == "2000 millones de millas"
    assert kept.notes == ["unit: 'km' was lost in translation"]


HALF = Context(transcript="The president of the", translated_text="El presidente del.")


def test_the_second_half_of_a_sentence_is_translated_with_the_first() -> None:
    mt = Scripted(
        {
            "council resigned.": "El concejo dimitió.",
            "The president of the council resigned.": "El presidente del consejo dimitió.",
        }.__getitem__
    )
    assert asking(mt, context=HALF).phrase("council resigned.").text == "consejo dimitió."


@pytest.mark.parametrize("whole", ["El jefe del consejo dimitió.", "El presidente del.", ""])
def test_it_is_translated_by_itself_where_the_cut_is_not_certain(whole: str) -> None:
    mt = Scripted(lambda text: "El concejo dimitió." if text == "council resigned." else whole)
    assert asking(mt, context=HALF).phrase("council resigned.").text == "El concejo dimitió."


def test_it_is_translated_by_itself_where_the_whole_would_lose_a_number() -> None:
    mt = Scripted(lambda text: "3 concejos" if text == "3 councils" else "El presidente del consejo")
    assert asking(mt, context=HALF).phrase("3 councils").text == "3 concejos"


def test_a_sentence_is_not_gone_on_with_when_a_phrase_is_missing_between() -> None:
    mt = Scripted(lambda _: "El presidente del consejo dimitió.")
    assert asking(mt, context=HALF, goes_on=False).phrase("council resigned.").text.startswith("El presidente")
    assert mt.asked == ["council resigned."]


@pytest.mark.parametrize(("cost_s", "calls"), [(0.0, 2), (0.9, 2), (1.2, 1)])
def test_asking_again_may_take_a_quarter_of_the_time_there_is(cost_s: float, calls: int) -> None:
    clock = FakeClock()

    def slow(_: str) -> str:
        clock.advance(cost_s)
        return "un tanto"

    mt = Scripted(slow)
    asking(mt, GLOSSARY, again=while_cheap(clock, clock() + 8.0)).phrase("a goal")
    assert len(mt.asked) == calls


def test_there_is_no_second_call_for_it_when_time_is_short() -> None:
    mt = Scripted(lambda _: "El concejo dimitió.")
    asking(mt, context=HALF, again=lambda: False).phrase("council resigned.")
    assert mt.asked == ["council resigned."]


def test_a_translator_that_knows_the_context_is_not_let_to_repeat_it() -> None:
    mt = Scripted(lambda _: "El presidente del consejo dimitió.", knows=True)
    assert asking(mt, context=HALF).phrase("council resigned.").text == "consejo dimitió."
    assert mt.asked == ["council resigned."]


WORDS = st.lists(st.sampled_from(["uno", "dos", "Tres", "gol.", "Bayern", "Zqaa", "7", "El"]), max_size=8).map(" ".join)


@given(WORDS, WORDS, WORDS, WORDS, st.booleans())
def test_whatever_is_said_before_no_word_of_it_is_repeated_because_of_that(
    before: str, said: str, phrase: str, translation: str, knows: bool
) -> None:
    """What comes out is the phrase's own translation, or what follows exactly the words that were said."""
    mt = Scripted(lambda text: translation if text == phrase else f"{said} {translation}", knows)
    alone = asking(mt).phrase(phrase).text
    together = asking(mt, context=Context(transcript=before, translated_text=said)).phrase(phrase).text
    own = " ".join(word for word in translation.split() if word != "Zqaa")  # a mark that nobody gave it
    assert together == alone or (alone if knows else own).endswith(together)


@pytest.fixture(scope="module")
def apertium() -> Iterator[Apertium]:
    with closing(Apertium("apertium", ApertiumEngine(), Sts(), Paths())) as engine:
        yield engine


@pytest.mark.service
def test_apertium_leaves_a_term_where_it_belongs(apertium: Apertium) -> None:
    kept = Asking(apertium, "en", "es", Wish(glossary=GLOSSARY)).phrase(
        "The minister of Bayern said that two goals will come."
    )
    assert kept.notes == []
    assert kept.text == "El ministro de Bayern dijo que dos goles vendrá."


@pytest.mark.service
def test_apertium_goes_on_with_a_sentence_that_was_cut(apertium: Apertium) -> None:
    said = apertium.translate("The president said that", "en", "es")
    wish = Wish(Context(transcript="The president said that", translated_text=said), goes_on=True)
    assert Asking(apertium, "en", "es", wish).phrase("the houses are white.").text == "las casas son blancas."
