"""A translation that its voice would have to hurry through is asked for again, shorter."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from dubrelay.errors import StsError
from dubrelay.sts.chain import TranslatorChain
from dubrelay.sts.mt.base import NO_WISH, Wish
from dubrelay.sts.pipeline import Pipeline
from dubrelay.sts.tts.base import Prepared
from dubrelay.wire.fragment import Context, ProcessResult
from sts_parts import FakeClock, TinyAsr, TinyTranslator, TinyTts, buzz, request_for, tiny_engines, tiny_sts

pytestmark = pytest.mark.unit

LONG, SHORT = "Muy largo es lo que dice.", "Es largo."


class Terse(TinyTranslator):
    """Says LONG, and `short` when there is a budget."""

    shortens = True
    knows_context = knows_glossary = True

    def __init__(self, short: Callable[[], str] = lambda: SHORT, **options: Any) -> None:
        super().__init__(LONG, **options)
        self._short = short
        self.budgets: list[int | None] = []
        self.wishes: list[Wish] = []

    def translate(self, text: str, source: str, target: str, wish: Wish = NO_WISH) -> str:
        self.budgets.append(wish.most_characters)
        self.wishes.append(wish)
        self._cost()
        return self._text if wish.most_characters is None else self._short()


class Reads(TinyTts):
    """A tenth of a second for each character."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.read: list[str] = []

    def prepare(self, text: str, language: str, voice: str) -> Prepared:
        self.read.append(text)
        self.natural_s = len(text) / 10
        return super().prepare(text, language, voice)


def dub(
    mt: TinyTranslator, room_s: float, clock: FakeClock | None = None, heard: str = "hello", **sts: Any
) -> ProcessResult:
    engines = tiny_engines(TinyAsr(heard), mt, Reads())
    with closing(Pipeline(engines, tiny_sts(**sts), clock or FakeClock())) as pipeline:
        return pipeline.process(request_for(buzz(room_s)))


def test_a_hurried_translation_is_asked_for_again_with_the_characters_there_is_time_for() -> None:
    mt = Terse()
    result = dub(mt, room_s=1.0)
    assert mt.budgets == [None, int(1.0 * 1.25 * 10)]
    assert result.translated_text == SHORT
    assert result.metadata.notes == [f"shortened: {len(SHORT)} of {len(LONG)} characters"]
    assert result.metadata.tempo == pytest.approx(1.0)


@pytest.mark.parametrize(("before", "goes_on"), [(6, True), (5, False), (None, False)])
def test_a_phrase_goes_on_only_with_the_one_directly_before_it(before: int | None, goes_on: bool) -> None:
    mt = Terse()
    context = Context(transcript="The president of the", translated_text="El presidente del", sequence_number=before)
    with closing(Pipeline(tiny_engines(TinyAsr("council"), mt, Reads()), tiny_sts(), FakeClock())) as pipeline:
        pipeline.process(request_for(buzz(4.0), context=context))
    assert [wish.goes_on for wish in mt.wishes] == [goes_on]


def test_one_that_fits_at_the_preferred_tempo_is_left_as_it_is() -> None:
    mt = Terse()
    assert dub(mt, room_s=2.1).translated_text == LONG
    assert mt.budgets == [None]


@pytest.mark.parametrize(("room_s", "read"), [(3.0, [LONG]), (1.0, [LONG, SHORT])])
def test_the_voice_makes_each_text_ready_once(room_s: float, read: list[str]) -> None:
    voice = Reads()
    engines = tiny_engines(TinyAsr("hello"), Terse(), voice)
    with closing(Pipeline(engines, tiny_sts(), FakeClock())) as pipeline:
        pipeline.process(request_for(buzz(room_s)))
    assert voice.read == read


def test_the_preferred_tempo_is_a_setting() -> None:
    mt = Terse()
    dub(mt, room_s=2.1, preferred_tempo=1.0)
    assert mt.budgets == [None, 21]


def test_an_engine_that_cannot_shorten_is_asked_once() -> None:
    mt = Terse()
    mt.shortens = False
    assert dub(mt, room_s=1.0).translated_text == LONG
    assert mt.budgets == [None]


def fails() -> str:
    raise StsError("MODEL_ERROR", "no")


@pytest.mark.parametrize("short", [lambda: "", lambda: LONG + " Y más.", fails])
def test_a_second_try_that_is_no_better_changes_nothing(short: Callable[[], str]) -> None:
    result = dub(Terse(short), room_s=1.0)
    assert (result.translated_text, result.metadata.notes) == (LONG, [])


def test_a_shorter_one_that_loses_a_number_is_not_taken() -> None:
    mt = Terse(lambda: "Casas.")
    mt._text = "Hay 12 casas en la calle."
    assert dub(mt, room_s=1.0, heard="12 houses").translated_text == mt._text


def test_there_is_no_second_try_without_time_for_it_and_for_the_voice() -> None:
    clock = FakeClock()
    mt = Terse(cost=lambda: clock.advance(3.5))
    assert dub(mt, room_s=1.0, clock=clock).translated_text == LONG
    assert mt.budgets == [None]


def test_a_chain_shortens_when_one_of_it_can() -> None:
    chain = TranslatorChain("both", [Terse(), TinyTranslator()])
    assert (chain.shortens, chain.knows_context, chain.knows_glossary) == (True, False, False)
