from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dubrelay import config
from dubrelay.config import OpenAiSpeechEngine, Paths, Sts
from dubrelay.errors import ConfigError, StartupError, StsError
from dubrelay.sts.engines import load
from dubrelay.sts.pipeline import Pipeline
from dubrelay.sts.tts.openai_speech import OpenAiSpeech, from_wav
from openai_server import Answer, OpenAiServer, refuses, says
from sts_parts import buzz, request_for, tiny_sts

pytestmark = pytest.mark.service

KEY = "sk-very-secret"
TEXT = "Buenas noches a todos."
VOICES = {"es": ["eva", "clone-7"], "fr": ["luc"]}


def pcm(samples: npt.NDArray[np.float32]) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def wav(samples: npt.NDArray[np.float32], rate_hz: int = 24_000, channels: int = 1, **changes: int) -> bytes:
    """`changes`: tag, bits, and size, which is what the header says of the samples."""
    data = pcm(np.repeat(samples, channels))
    bits = changes.get("bits", 16)
    form = struct.pack("<HHIIHH", changes.get("tag", 1), channels, rate_hz, 0, channels * bits // 8, bits)
    parts = [(b"LIST", b"odd"), (b"fmt ", form)]
    before = b"".join(name + struct.pack("<I", len(part)) + part + b"\0" * (len(part) % 2) for name, part in parts)
    return b"RIFF\xff\xff\xff\xffWAVE" + before + b"data" + struct.pack("<I", changes.get("size", len(data))) + data


@contextmanager
def speaking(*answers: Answer, **options: Any) -> Iterator[tuple[OpenAiSpeech, OpenAiServer]]:
    with OpenAiServer(*answers) as server:
        given = {"url": server.url, "model": "tts-1", "voices": VOICES, **options}
        engine = OpenAiSpeech("speech", OpenAiSpeechEngine.model_validate(given), Sts(), Paths())
        with closing(engine):
            yield engine, server


def test_a_text_is_asked_for_with_voice_speed_and_key_and_comes_back_as_sound() -> None:
    silence = np.zeros(4800, np.float32)
    answer = wav(np.concatenate([silence, buzz(1.0, 24_000), silence]))
    with speaking(says(answer), key=KEY) as (engine, server):
        speech = engine.speak(engine.prepare(TEXT, "es", "clone-7"), 1.2)
    assert (speech.rate_hz, speech.tempo) == (24_000, 1.2)
    assert len(speech.samples) / 24_000 == pytest.approx(1.0, abs=0.05), "without the silence around it"
    (asked,) = server.asked
    assert asked.path == "/v1/audio/speech"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body == {"model": "tts-1", "input": TEXT, "voice": "clone-7", "response_format": "wav", "speed": 1.2}


def test_samples_without_a_header_have_the_configured_rate() -> None:
    with speaking(says(pcm(buzz(0.5, 16_000))), response_format="pcm", rate_hz=16_000) as (engine, server):
        speech = engine.speak(engine.prepare(TEXT, "es", "eva"), 1.0)
    assert server.asked[0].body["response_format"] == "pcm"
    assert (speech.rate_hz, len(speech.samples)) == (16_000, pytest.approx(8000, abs=200))


def test_a_server_that_answers_wav_to_pcm_is_understood() -> None:
    with speaking(says(wav(buzz(0.5, 22_050), 22_050)), response_format="pcm") as (engine, _):
        assert engine.speak(engine.prepare(TEXT, "es", "eva"), 1.0).rate_hz == 22_050


def test_a_server_without_speed_is_not_asked_for_any() -> None:
    with speaking(says(wav(buzz(0.5, 24_000))), speed=False) as (engine, server):
        engine.speak(engine.prepare(TEXT, "es", "eva"), 1.0)
        assert (engine.min_tempo, engine.max_tempo) == (1.0, 1.0)
    assert "speed" not in server.asked[0].body


def test_voices_are_those_of_the_language_and_the_first_is_the_default() -> None:
    with speaking(says(b"")) as (engine, _):
        assert engine.languages == {"es", "fr"}
        assert engine.voices("es") == ("eva", "clone-7")
        assert engine.prepare(TEXT, "fr", "eva").voice == "luc"
        with pytest.raises(StsError) as caught:
            engine.prepare(TEXT, "de", "default")
    assert (caught.value.code, caught.value.stage) == ("UNSUPPORTED_LANGUAGE", "tts")


def test_the_length_is_learnt_from_what_was_said() -> None:
    with speaking(says(wav(buzz(2.0, 24_000)))) as (engine, server):
        assert engine.prepare(TEXT, "es", "eva").natural_s == pytest.approx(18 * 0.075)
        engine.speak(engine.prepare(TEXT, "es", "eva"), 1.25)
        assert engine.prepare(TEXT, "es", "eva").natural_s == pytest.approx(2.5, rel=0.05)
        assert engine.prepare(TEXT, "es", "clone-7").natural_s == pytest.approx(18 * 0.075), "of each voice"
        assert len(server.asked) == 1, "to prepare asks nobody"


def test_a_text_without_words_is_not_asked_for() -> None:
    with speaking(says(b"")) as (engine, server):
        assert engine.speak(engine.prepare("...", "es", "eva"), 1.0).samples.size == 0
        assert server.asked == []


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (b"", "the answer to response_format = 'wav' is in another format"),
        (b"ID3\x04 mp3", "is in another format"),
        (b'{"url": "https://elsewhere"}', "is in another format"),
        (b"RIFF\0\0\0\0WAVE", "the WAV has no samples"),
        (wav(buzz(0.1, 24_000), bits=8), "the WAV must be 16-bit or float samples"),
        (wav(buzz(0.1, 24_000), tag=6), "the WAV must be 16-bit or float samples"),
        (wav(buzz(0.1, 24_000), rate_hz=192_000), "8000 to 48000 Hz"),
        (wav(buzz(0.1, 24_000), channels=6), "1 or 2 channels"),
    ],
)
def test_what_is_no_sound_is_an_error_of_the_stage(answer: bytes, named: str) -> None:
    with speaking(says(answer)) as (engine, _), pytest.raises(StsError) as caught:
        engine.speak(engine.prepare(TEXT, "es", "eva"), 1.0)
    assert (caught.value.code, caught.value.stage, caught.value.retryable) == ("MODEL_ERROR", "tts", False)
    assert named in caught.value.message and TEXT not in caught.value.message


def test_mp3_is_not_taken_for_samples() -> None:
    mp3 = says(b"\xff\xfb\x90\x00" * 50)
    refused = pytest.raises(StsError, match="'pcm' is in another format")
    with speaking(mp3, response_format="pcm") as (engine, _), refused:
        engine.speak(engine.prepare(TEXT, "es", "eva"), 1.0)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 2**31])
def test_a_length_that_a_stream_left_open_does_not_matter(size: int) -> None:
    assert len(from_wav(wav(buzz(0.1, 24_000), size=size)).samples) == 2400


def test_channels_are_averaged_and_an_odd_byte_at_the_end_is_dropped() -> None:
    sound = from_wav(wav(buzz(0.1, 24_000), channels=2) + b"\0")
    np.testing.assert_allclose(sound.samples, buzz(0.1, 24_000), atol=1e-4)


def test_float_samples_are_read() -> None:
    content = wav(np.zeros(0, np.float32), tag=3, bits=32, size=0) + buzz(0.1, 24_000).tobytes()
    np.testing.assert_array_equal(from_wav(content).samples, buzz(0.1, 24_000))


def test_a_refused_voice_of_the_request_is_said_by_the_service_in_its_stage() -> None:
    with speaking(refuses(400, "invalid_voice")) as (engine, _), pytest.raises(StsError) as caught:
        engine.speak(engine.prepare(TEXT, "es", "eva"), 1.0)
    assert caught.value.stage == "tts" and "invalid_voice" in caught.value.message


def engines_of(url: str, **options: Any) -> Any:
    own = {"own": {"kind": "openai-speech", "url": url, "model": "m", "voices": VOICES, **options}}
    return tiny_sts(tts=["own"], engines=own)


def test_a_phrase_is_dubbed_with_the_voice_that_was_asked_for() -> None:
    with OpenAiServer(says(wav(buzz(1.5, 24_000)))) as server:
        sts = engines_of(server.url)
        engines = load(sts, Paths())
        with closing(engines), closing(Pipeline(engines, sts)) as pipeline:
            result = pipeline.process(request_for(buzz(2.0), voice="clone-7"))
            with pytest.raises(StsError, match="es has default, eva, clone-7"):
                pipeline.process(request_for(buzz(2.0), voice="clone-8"))
    assert result.metadata.tts_model == "own/clone-7"
    assert result.dubbed_audio is not None and result.dubbed_audio.duration_ms == pytest.approx(1500, abs=50)
    assert [asked.body["voice"] for asked in server.asked] == ["eva", "clone-7"], "the first is the warm-up"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"voices": {}}, "voices"),
        ({"voices": {"es": []}}, "voices.es"),
        ({"voices": {"Spanish": ["eva"]}}, "voices.Spanish"),
        ({"response_format": "mp3"}, "response_format = 'mp3'"),
        ({"rate_hz": 96_000}, "rate_hz = 96000"),
    ],
)
def test_options_that_are_wrong_are_named(options: dict[str, Any], named: str) -> None:
    own = {"own": {"kind": "openai-speech", "url": "http://h", "model": "m", "voices": VOICES, **options}}
    with pytest.raises(ConfigError) as caught:
        config.load(None, {}, {"sts.engines": own})
    assert named in caught.value.message


def test_a_key_that_is_refused_stops_the_start_without_showing_it() -> None:
    with OpenAiServer(refuses(401)) as server, pytest.raises(StartupError) as caught:
        load(engines_of(server.url, key=KEY), Paths())
    assert "sts.engines.own: key" in caught.value.message and KEY not in caught.value.message
