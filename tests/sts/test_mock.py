from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from dubrelay.config import Paths
from dubrelay.sts.engines import load
from dubrelay.sts.pipeline import Pipeline
from dubrelay.sts.tts.mock import RATE_HZ, TONE_HZ, tone
from dubrelay.wire.fragment import ProcessRequest, ProcessResult
from sts_parts import buzz, mock_settings, request_for

pytestmark = pytest.mark.unit


def dub(request: ProcessRequest, voice: str = "tone") -> ProcessResult:
    sts = mock_settings(mock={"voice": voice}).sts
    with closing(Pipeline(load(sts, Paths()), sts)) as pipeline:
        return pipeline.process(request)


@pytest.mark.parametrize(
    ("duration_s", "room_ms", "expected_ms"), [(2.48, None, 2480), (2.0, 3500, 2000), (2.0, 900, 900)]
)
def test_the_tone_is_as_long_as_the_phrase_or_its_room(
    duration_s: float, room_ms: int | None, expected_ms: int
) -> None:
    result = dub(request_for(buzz(duration_s), max_duration_ms=room_ms))
    assert result.dubbed_audio is not None
    assert (result.dubbed_audio.duration_ms, result.metadata.tempo) == (expected_ms, 1.0)
    assert result.metadata.overflow_ms == 0


def test_the_tone_is_440_hz_and_the_same_each_time() -> None:
    spectrum = np.abs(np.fft.rfft(tone(RATE_HZ)))
    assert int(np.argmax(spectrum)) == TONE_HZ
    first, second = dub(request_for(buzz(1.0))), dub(request_for(buzz(1.0)))
    assert first.dubbed_audio == second.dubbed_audio


def test_the_tone_begins_and_ends_without_a_click() -> None:
    samples = tone(RATE_HZ)
    assert np.abs(samples[:3]).max() < 0.002 and np.abs(samples[-3:]).max() < 0.002
    assert tone(0).size == 0


def test_pass_through_gives_the_phrase_back_as_loud_as_every_answer() -> None:
    request = request_for(buzz(1.3))
    result = dub(request, "pass-through")
    assert result.dubbed_audio is not None
    given, got = request.audio.to_mono(), result.dubbed_audio.to_mono()
    assert result.dubbed_audio.sample_rate_hz == request.audio.sample_rate_hz
    gain = np.abs(got).max() / np.abs(given).max()
    assert np.abs(gain * given - got).max() < 1e-4


def test_pass_through_keeps_to_its_room() -> None:
    result = dub(request_for(buzz(1.3), max_duration_ms=700), "pass-through")
    assert result.dubbed_audio is not None and result.dubbed_audio.duration_ms == 700


@pytest.mark.parametrize(("level_db", "status"), [(-56, "no_speech"), (-46, "success"), (-100, "no_speech")])
def test_the_mock_hears_what_is_louder_than_minus_50_db(level_db: float, status: str) -> None:
    noise = np.random.default_rng(1).normal(0, 10 ** (level_db / 20), 16_000).astype(np.float32)
    assert dub(request_for(noise)).status == status


def test_the_mock_says_which_languages_it_was_asked_for() -> None:
    result = dub(request_for(buzz(1.0), source="fr", target="pt-br"))
    assert (result.transcript, result.translated_text) == ("mock phrase", "[fr-pt-br] mock phrase")
    assert result.metadata.tts_model == "mock/tone"
