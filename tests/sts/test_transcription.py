"""Recognition by an OpenAI-compatible service, against a real one on loopback."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dubrelay.config import Paths, Sts, TranscriptionEngine
from dubrelay.errors import StartupError, StsError
from dubrelay.sts.asr.base import RATE_HZ
from dubrelay.sts.asr.transcription import Transcription
from dubrelay.sts.engines import load
from dubrelay.wire.fragment import Word
from media import free_port
from openai_server import Answer, OpenAiServer, refuses, says
from sts_parts import buzz, tiny_sts

pytestmark = pytest.mark.service


def verbose(text: str = "Good evening.", logprob: float = -0.2, no_speech: float = 0.01, **more: Any) -> dict[str, Any]:
    segment = {"start": 0.0, "end": 2.0, "text": text, "avg_logprob": logprob, "no_speech_prob": no_speech}
    return {"task": "transcribe", "language": "english", "duration": 2.0, "text": text, "segments": [segment], **more}


@contextmanager
def hearing(*answers: Answer, **options: Any) -> Iterator[tuple[Transcription, OpenAiServer]]:
    with OpenAiServer(*answers) as server:
        chosen = TranscriptionEngine.model_validate({"url": server.url, "model": "whisper-1", **options})
        with closing(Transcription("api", chosen, Sts(), Paths())) as asr:
            yield asr, server


def test_the_phrase_goes_out_as_a_wave_file_with_its_language() -> None:
    sound = buzz(1.5)
    with hearing(says(verbose())) as (asr, server):
        assert asr.transcribe(sound, "en").text == "Good evening."
    (asked,) = server.asked
    assert asked.path == "/v1/audio/transcriptions"
    assert asked.fields == {
        "model": "whisper-1", "language": "en", "response_format": "verbose_json", "temperature": "0",
    }  # fmt: skip
    with wave.open(io.BytesIO(asked.files["file"])) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE_HZ, 1, 2)
        sent = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
    assert np.abs(sent - sound).max() < 1e-4


def test_nothing_at_all_is_sent_as_a_moment_of_silence() -> None:
    with hearing(says({"text": ""})) as (asr, server):
        assert asr.transcribe(np.zeros(0, np.float32), "en").text == ""
    with wave.open(io.BytesIO(server.asked[0].files["file"])) as file:
        assert file.getnframes() == RATE_HZ // 10


def test_a_translation_is_asked_for_where_the_service_has_it() -> None:
    with hearing(says(verbose("The train leaves.")), translate=True) as (asr, server):
        assert asr.translate(buzz(2), "de").text == "The train leaves."
        assert asr.to_english == {"*"}
    assert server.asked[0].path == "/v1/audio/translations"
    assert "language" not in server.asked[0].fields
    with hearing(says(verbose())) as (asr, _), pytest.raises(StsError, match="translate = false"):
        assert asr.to_english == frozenset()
        asr.translate(buzz(2), "de")


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (verbose("I am going to the airport.", logprob=-1.5), "unsure"),
        (verbose("Thank you.", no_speech=0.4), "a stock phrase"),
        (verbose("Beep beep beep beep beep beep beep beep"), "repeats itself"),
        ({"text": "Subtitles by the Amara.org community"}, "a credit line"),
        ({"text": "..."}, "no words"),
    ],
)
def test_what_is_invented_is_refused_as_whispers_own(answer: dict[str, Any], refused: str) -> None:
    with hearing(says(answer)) as (asr, _):
        heard = asr.transcribe(buzz(2), "en")
    assert heard.text == "" and refused in heard.refused


def test_a_translation_that_the_service_is_unsure_of_is_refused() -> None:
    with hearing(says(verbose("Thousands marched.", logprob=-0.7)), translate=True) as (asr, _):
        assert asr.transcribe(buzz(2), "es").text == "Thousands marched."
        assert "unsure" in asr.translate(buzz(2), "es").refused


def test_times_of_words_are_taken_where_the_service_gives_them() -> None:
    words = [{"word": "Good", "start": 0.1, "end": 0.4}, {"word": "evening", "start": 0.4, "end": 9.0}, {"word": 3}]
    with hearing(says(verbose(words=words))) as (asr, _):
        heard = asr.transcribe(buzz(2), "en")
    assert heard.words == [
        Word(text="Good", start_ms=100, end_ms=400), Word(text="evening", start_ms=400, end_ms=2000),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("named", "code"), [("spanish", "es"), ("Spanish", "es"), ("es", "es"), ("es-MX", "es"), ("klingonese", "")]
)
def test_the_language_is_told_by_name_or_code(named: str, code: str) -> None:
    with hearing(says(verbose("Buenas noches.", language=named))) as (asr, server):
        found = asr.detect(buzz(2))
        assert list(found.probabilities) == ([code] if code else [])
        assert found.hear("es", False).text == "Buenas noches."
    assert "language" not in server.asked[0].fields
    assert len(server.asked) == (1 if code == "es" else 2), "asked again only for another language"


def test_in_json_a_service_tells_no_language() -> None:
    with hearing(says({"text": "hi"}), response_format="json") as (asr, server):
        assert not asr.detects
        assert asr.transcribe(buzz(2), "en").text == "hi"
    assert server.asked[0].fields["response_format"] == "json"


@pytest.mark.parametrize("answer", [{}, [], "text", {"text": None}, {"text": 7}, None])
def test_an_answer_without_a_text_is_an_error_of_the_stage(answer: object) -> None:
    with hearing(says(answer)) as (asr, _), pytest.raises(StsError) as caught:
        asr.transcribe(buzz(1), "en")
    assert (caught.value.code, caught.value.stage) == ("MODEL_ERROR", "asr")


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["start", "end", "avg_logprob", "no_speech_prob", "word", "text"]), inner, max_size=4
    ),
    max_leaves=8,
)  # fmt: skip


def test_whatever_else_stands_in_an_answer_is_harmless() -> None:
    with hearing(says({"text": "hi"})) as (asr, server):

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(anything, anything, anything)
        def check(segments: object, words: object, language: object) -> None:
            server.answers[:] = [says({"text": "hi", "segments": segments, "words": words, "language": language})]
            heard = asr.transcribe(buzz(1), "en")
            assert heard.text == "hi" or heard.refused
            asr.detect(buzz(1))

        check()


def own(url: str, chained: bool = False, **options: Any) -> Sts:
    ears = {"kind": "openai-transcription", "url": url, "model": "m", **options}
    chain = {"kind": "chain", "engines": ["ears"]}
    return tiny_sts(asr=["chain" if chained else "ears"], engines={"ears": ears, "chain": chain})


def test_a_service_that_says_no_stops_the_start() -> None:
    with OpenAiServer(refuses(401, "invalid_api_key")) as server, pytest.raises(StartupError) as caught:
        load(own(server.url, key="sk-secret"), Paths())
    assert caught.value.message == (
        "sts.asr: ears cannot be used: ears: HTTP 401 invalid_api_key; see sts.engines.ears: key"
    )


def test_one_that_is_not_there_yet_does_not() -> None:
    for sts in (own(f"http://127.0.0.1:{free_port()}"), own(f"http://127.0.0.1:{free_port()}", chained=True)):
        engines = load(sts, Paths())
        assert engines.pairs() == {("*", "*")}
        engines.close()
