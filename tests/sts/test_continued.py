from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.sts.mt.continued import rest, tail, without_repetition
from dubrelay.wire.fragment import Context

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("before", "phrase", "half"),
    [
        ("Good evening. The president of the", "council resigned.", "The president of the"),
        ("The president of the...", "council resigned.", "The president of the"),
        ("The president of the.", "council resigned.", "The president of the"),  # Whisper ends what was cut, too
        ("The president resigned.", "Then he left.", ""),
        ("He said", "Madrid was lost.", "He said"),
        ("", "council resigned.", ""),
        ("dent of the", "council resigned.", ""),  # the context itself was cut at its left
        ("it rained. The president", "resigned", "The president"),
        ("The " + "very " * 40 + "old", "man", ""),
    ],
)
def test_the_first_half_of_a_sentence_is_found_in_the_context(before: str, phrase: str, half: str) -> None:
    assert tail(before, phrase) == half


@pytest.mark.parametrize(
    ("said", "whole", "second"),
    [
        ("Hola. El presidente del.", "El presidente del consejo dimitió.", "consejo dimitió."),
        ("El presidente del", "el Presidente del consejo dimitió.", "consejo dimitió."),
        ("El presidente. Del.", "El presidente del consejo dimitió.", "consejo dimitió."),
        ("El presidente del", "El jefe del consejo dimitió.", ""),
        ("El presidente del", "El presidente del.", ""),
        ("El", "El consejo dimitió.", ""),  # one word may be the same by chance
        ("Ayer el presidente del", "El presidente del consejo dimitió.", ""),
        ("", "El consejo dimitió.", ""),
    ],
)
def test_the_second_half_is_cut_out_only_where_that_is_certain(said: str, whole: str, second: str) -> None:
    assert rest(whole, Context(translated_text=said)) == second


def test_what_was_spoken_is_not_spoken_again() -> None:
    context = Context(transcript="The president of the", translated_text="El presidente del")
    assert without_repetition("El presidente del consejo dimitió.", context, "council resigned.") == "consejo dimitió."
    assert without_repetition("consejo dimitió.", context, "council resigned.") == "consejo dimitió."


def test_what_the_speaker_says_twice_is_said_twice() -> None:
    context = Context(transcript="The president", translated_text="El presidente")
    assert without_repetition("El presidente, el presidente.", context, "the president, the president") == (
        "El presidente, el presidente."
    )


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


speech = st.lists(st.sampled_from(["El", "la", "casa", "del", "rey", "Y", "luego", "casa."]), max_size=12).map(" ".join)


@given(speech, speech)
def test_said_and_rest_together_are_the_whole_and_no_word_of_it_twice(said: str, whole: str) -> None:
    second = rest(whole, Context(translated_text=said))
    if second:
        first = words(whole)[: len(words(whole)) - len(words(second))]
        assert first and first == words(said)[-len(first) :]
        assert words(second) == words(whole)[len(first) :]


@given(st.text(max_size=200), st.text(max_size=80), st.text(max_size=80))
def test_any_text_can_come_before_any_other(before: str, phrase: str, translation: str) -> None:
    half = tail(before, phrase)
    assert not half or half in " ".join(before.split())
    context = Context(transcript=before, translated_text=before)
    assert translation.endswith(without_repetition(translation, context, phrase))
