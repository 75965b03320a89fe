from __future__ import annotations

import math
import textwrap
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.orchestrator.captions import Cue, cues, webvtt
from dubrelay.wire.status import PhraseReport
from vtt_grammar import parsed

pytestmark = pytest.mark.unit

EPOCH = 1.7e9


def phrase(
    number: int = 0, text: str = "Hola.", *, at: float = 0, dub_after_ms: int = 120, **more: object
) -> PhraseReport:
    values: dict[str, object] = {
        "sequence_number": number, "t0_ms": round(at * 1000), "started_at": EPOCH + at, "duration_ms": 2000,
        "status": "dubbed", "dub_t0_ms": round(at * 1000) + dub_after_ms, "dubbed_ms": 1800, "transcript": "Hello.",
        "translated_text": text,
    }  # fmt: skip
    return PhraseReport.model_validate(values | more)


def test_a_cue_is_there_while_the_dub_is_heard() -> None:
    (cue,) = cues([phrase(at=10)], "dub", delay_s=8)
    assert (cue.start - EPOCH, cue.end - EPOCH, cue.text) == (pytest.approx(18.12), pytest.approx(19.92), "Hola.")


def test_the_original_s_cue_is_there_while_it_would_have_been_heard() -> None:
    (cue,) = cues([phrase(at=10)], "original", delay_s=8)
    assert (cue.start - EPOCH, cue.end - EPOCH, cue.text) == (pytest.approx(18), pytest.approx(20), "Hello.")


def test_what_stayed_original_has_no_cue_of_the_dub() -> None:
    stayed = phrase(status="fallback", reason="deadline", dub_t0_ms=None)
    assert cues([stayed, phrase(1, dub_t0_ms=None), phrase(2, text="")], "dub", 8) == []


def test_a_long_text_becomes_several_cues_that_share_its_time() -> None:
    text = (
        "La compañía busca ingenieros y electricistas para la central nueva que el consejo quiere abrir en primavera."
    )
    found = cues([phrase(text=text, dubbed_ms=6000)], "dub", 8)
    assert len(found) == 2
    assert " ".join(cue.text for cue in found).replace("\n", " ") == text
    assert found[1].end - found[0].start == pytest.approx(6, abs=0.05)
    shares = [(cue.end - cue.start) / len(cue.text) for cue in found]
    assert shares[0] == pytest.approx(shares[1], rel=0.05)


@given(st.lists(st.text("abcdefghij", min_size=1, max_size=50), min_size=1, max_size=40))
def test_lines_can_be_read_and_none_has_the_last_word_alone(words: list[str]) -> None:
    text = " ".join(words)
    found = cues([phrase(text=text, dubbed_ms=6000)], "dub", 8)
    lines = [line for cue in found for line in cue.text.split("\n")]
    assert "".join(lines).replace(" ", "") == "".join(words), "no letter is lost"
    assert all(len(line) <= 42 for line in lines)
    assert all(cue.text.count("\n") <= 1 for cue in found)
    assert len(found) == math.ceil(len(textwrap.wrap(text, 42)) / 2), "as few cues as there can be"


def test_a_text_is_cut_into_lines_about_as_long() -> None:
    (cue,) = cues([phrase(text="El tiempo sigue al final del programa de hoy.")], "dub", 8)
    assert cue.text == "El tiempo sigue al final\ndel programa de hoy."


def test_a_short_one_stays_until_it_can_be_read_or_the_next_one_comes() -> None:
    alone, close, after = phrase(dubbed_ms=300), phrase(1, at=5, dubbed_ms=300), phrase(2, at=5.5)
    found = cues([alone, close, after], "dub", 8)
    assert found[0].end - found[0].start == pytest.approx(1)
    assert found[1].end == pytest.approx(found[2].start - 0.04)


def test_before_zero_nothing_is_shown() -> None:
    shown = [Cue(EPOCH - 5, EPOCH - 3, "gone"), Cue(EPOCH - 1, EPOCH + 1, "cut"), Cue(EPOCH + 2, EPOCH + 3, "whole")]
    assert parsed(webvtt(shown, EPOCH, "es")) == [(0, 1, "cut"), (2, 3, "whole")]


def test_hours_have_as_many_digits_as_they_need() -> None:
    ((start, _, _),) = parsed(webvtt([Cue(EPOCH + 400_000, EPOCH + 400_001, "late")], EPOCH, "es"))
    assert start == 400_000


def test_markup_is_text() -> None:
    (cue,) = cues([phrase(text="<b>5 > 3</b> & 00:00.000 --> 1\n\nNOTE x")], "dub", 8)
    ((_, _, payload),) = parsed(webvtt([cue], EPOCH, "es"))
    assert payload.replace("\n", " ") == "&lt;b&gt;5 &gt; 3&lt;/b&gt; &amp; 00:00.000 --&gt; 1 NOTE x"


@given(
    st.lists(
        st.tuples(st.floats(0, 600), st.integers(1, 8000), st.integers(0, 3000), st.text(max_size=300)), max_size=20
    ),
    st.floats(-20, 600),
)
def test_whatever_is_said_the_file_is_valid_and_no_two_cues_are_there_at_once(
    said: list[tuple[float, int, int, str]], zero: float
) -> None:
    phrases = [
        phrase(n, text, at=at, dub_after_ms=after, dubbed_ms=lasts) for n, (at, lasts, after, text) in enumerate(said)
    ]
    found = cues(phrases, "dub", 8)
    for earlier, later in pairwise(found):
        assert earlier.end <= later.start
    parsed(webvtt(found, EPOCH + zero, "es"))
