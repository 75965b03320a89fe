"""What is not to be trusted of a recogniser's text, and what is."""

from __future__ import annotations

import pytest

from dubrelay.sts.asr import invented
from dubrelay.sts.asr.guards import LEAST_LOGPROB_TRANSLATED, first_words, nothing_but, refusal, words_of_one_saying

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "logprob", "no_speech", "duration_s", "refused"),
    [
        ("", -0.2, 0.0, 2.0, ""),
        ("...", -0.2, 0.0, 2.0, "no words"),
        ("Beep beep beep beep beep beep beep beep beep beep", -0.17, 0.1, 4.0, "repeats"),
        ("A great many words in next to no time at all", -0.2, 0.0, 0.5, "more text"),
        ("I am going to the airport.", -1.5, 0.1, 3.0, "unsure"),
        ("Thank you for watching!", -0.3, 0.6, 3.0, "stock phrase"),
        ("Thank you.", -0.2, 0.05, 1.0, ""),
        ("The music plays while I speak.", -0.4, 0.5, 3.0, ""),
    ],
)
def test_what_is_not_to_be_trusted_is_refused(
    text: str, logprob: float, no_speech: float, duration_s: float, refused: str
) -> None:
    said = refusal(text, duration_s, logprob, no_speech)
    assert refused in said
    assert bool(said) == bool(refused)


EVERY_STOCK = [phrase for phrases in invented.STOCK.values() for phrase in phrases]


@pytest.mark.parametrize("phrase", EVERY_STOCK)
def test_each_stock_phrase_is_refused_in_doubt_and_only_then(phrase: str) -> None:
    text, long_enough_s = phrase.capitalize() + ".", 4.0
    assert refusal(text, long_enough_s, -0.9, 0.0) == "a stock phrase that is heard in noise"
    assert refusal(text, long_enough_s, -0.3, 0.3) == "a stock phrase that is heard in noise"
    assert refusal(text, long_enough_s, -0.3, 0.05) == ""
    assert refusal(text, long_enough_s) == "", "without numbers there is no doubt"


@pytest.mark.parametrize(
    "text",
    [
        "Subtitles by the Amara.org community",
        "Subtítulos realizados por la comunidad de Amara.org",
        "Sous-titres réalisés para la communauté d'Amara.org",
        "Untertitelung im Auftrag des ZDF für funk, 2017",
        "Sottotitoli creati dalla comunità Amara.org",
        "Субтитры сделал DimaTorzok",
        "字幕by索兰娅",
    ],
)
def test_credits_are_refused_however_sure_the_recogniser_is(text: str) -> None:
    assert refusal(text, 5.0, -0.05, 0.0) == "a credit line of subtitles"
    assert refusal(text, 5.0) == "a credit line of subtitles"


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("Thank you. Thank you for watching! Bye-bye.", True),
        ("¡Gracias por ver el video!", True),
        ("ご視聴ありがとうございました。", True),
        ("[Music]", True),
        ("♪ la la la", True),
        ("Thank you, Mister President.", False),
        ("Gracias a todos los que vinieron.", False),
        ("You are right.", False),
        ("Untertitel: Anna Müller", True),  # a sentence that begins so is stock, whatever follows
    ],
)
def test_every_sentence_has_to_be_stock(text: str, refused: bool) -> None:
    assert bool(refusal(text, 5.0, -0.3, 0.4)) is refused


def test_a_translation_has_to_be_surer_than_a_transcript() -> None:
    assert refusal("Thousands of people marched.", 3.0, -0.7, 0.1) == ""
    assert "unsure" in refusal("Thousands of people marched.", 3.0, -0.7, 0.1, LEAST_LOGPROB_TRANSLATED)


def test_what_only_repeats_the_terms_is_known() -> None:
    terms = ("Maria Gomez", "Harbour Cup")
    assert nothing_but(terms, "Maria Gomez, Harbour Cup.")
    assert nothing_but(terms, "Cup")
    assert not nothing_but(terms, "Maria Gomez won the Cup.")
    assert not nothing_but(terms, "")


def test_data_is_written_as_it_is_compared() -> None:
    data = [*EVERY_STOCK, *invented.STOCK_BEGINNINGS, *invented.CREDITS, *invented.CREDIT_BEGINNINGS]
    assert [phrase for phrase in data if phrase != phrase.lower() or phrase != " ".join(phrase.split())] == []
    assert len(EVERY_STOCK) == len(set(EVERY_STOCK))


@pytest.mark.parametrize(
    ("text", "duration_s", "words"),
    [
        ("Gate 36 is open now. Gate 36 is open now.", 2.0, 5),
        ("Gate 36 Is Open Now. Gate 36 is open now", 1.2, 5),
        ("Gate 36 is open now. Gate 36 is open now. Gate 36 is open now. Ga", 2.4, 5),
        ("Gate 36 is open now. Gate 36 is open now. Gate 36 is", 2.4, 5),
        ("Gate 36 is open now. Gate 36 is open now.", 4.0, 0),
        ("Gate 36 is open now. Gate 37 is open now.", 2.0, 0),
        ("Gate 36 is open now.", 0.8, 0),
        ("Come on! Come on!", 0.9, 0),
        ("", 1.0, 0),
    ],
)
def test_one_saying_that_is_written_again_and_again_is_told_from_several(
    text: str, duration_s: float, words: int
) -> None:
    assert words_of_one_saying(text, duration_s) == words


def test_the_first_words_are_cut_out_with_their_full_stop() -> None:
    tokens = [" Gate", " 36", " is", " op", "en", ".", " Gate", " 36"]
    decoded = lambda some: "".join(tokens[i] for i in some)  # noqa: E731
    assert first_words(range(len(tokens)), 4, decoded) == 6
