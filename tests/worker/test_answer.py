from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from dubrelay.wire.fragment import Audio, Metadata, ProcessResult
from dubrelay.worker.answer import Dubbed, NoSpeech, PhraseFailed, checked

pytestmark = pytest.mark.unit

RATE = 24_000


def voice(duration_s: float = 2.0, level: float = 0.3) -> npt.NDArray[np.float32]:
    t = np.arange(round(duration_s * RATE)) / RATE
    return np.asarray(level * np.sin(2 * np.pi * 300 * t) * (1 + np.sin(2 * np.pi * 4 * t)) / 2, np.float32)


def answer(audio: Audio | None, **changes: Any) -> bytes:
    status = "success" if audio else "no_speech"
    return (
        ProcessResult.model_construct(
            fragment_id="f1", status=status, dubbed_audio=audio, transcript="Hi", translated_text="Hola",
            processing_time_ms=1, metadata=Metadata(),
        )
        .model_copy(update=changes)
        .model_dump_json()
        .encode()
    )  # fmt: skip


def dubbed(audio: Audio) -> Dubbed:
    result = checked(answer(audio), "f1", longest_ms=9_000, rtt_ms=5)
    assert isinstance(result, Dubbed)
    return result


def refusal(audio: Audio) -> str:
    with pytest.raises(PhraseFailed) as caught:
        checked(answer(audio), "f1", longest_ms=9_000, rtt_ms=5)
    assert caught.value.reason == "invalid_output"
    assert not caught.value.retryable
    return caught.value.message


def test_good_speech_passes_unchanged() -> None:
    result = dubbed(Audio.from_samples(voice(), RATE))
    np.testing.assert_allclose(result.samples, voice(), atol=1e-4)
    assert (result.rate_hz, result.repairs, result.translated_text, result.rtt_ms) == (RATE, (), "Hola", 5)


def test_no_speech_passes() -> None:
    assert isinstance(checked(answer(None), "f1", 9_000, 5), NoSpeech)


def test_a_wrong_rate_is_recognised_by_the_duration() -> None:
    audio = Audio.from_samples(voice(), RATE).model_copy(update={"sample_rate_hz": 48_000})
    result = dubbed(audio)
    assert result.rate_hz == RATE
    assert result.repairs == ("sample_rate_hz was 48000 for sound of 24000",)


def test_a_wrong_duration_is_not_believed() -> None:
    result = dubbed(Audio.from_samples(voice(), RATE).model_copy(update={"duration_ms": 77}))
    assert (result.rate_hz, len(result.samples)) == (RATE, 2 * RATE)
    assert result.repairs == ("duration_ms was 77",)


def test_an_offset_is_removed() -> None:
    result = dubbed(Audio.from_samples(voice() + np.float32(0.2), RATE))
    assert abs(float(result.samples.mean())) < 0.001
    assert result.repairs == ("offset removed",)


def test_clipped_tops_are_rounded() -> None:
    loud = voice(level=1.08)
    result = dubbed(Audio.from_samples(np.clip(loud, -1, 1), RATE))
    assert result.repairs == ("clipping rounded",)
    assert np.abs(result.samples).max() <= 1

    def correlation(sound: npt.NDArray[np.float32]) -> float:
        return float(np.corrcoef(sound, loud)[0, 1])

    assert correlation(result.samples) > correlation(np.clip(loud, -1, 1))


@pytest.mark.parametrize(
    ("sound", "why"),
    [
        (np.zeros(RATE, np.float32), "silence"),
        (np.random.default_rng(1).uniform(-1, 1, RATE).astype(np.float32), "noise"),
        (np.sign(voice()), "noise"),
        (voice(0.02), "0.02 s of sound"),
        (np.zeros(0, np.float32), "0.00 s of sound"),
        (voice(9.5), "9.50 s of sound"),
    ],
)
def test_what_is_no_speech_is_refused(sound: npt.NDArray[np.float32], why: str) -> None:
    assert why in refusal(Audio.from_samples(sound, RATE))


@pytest.mark.parametrize("data", ["%%%", base64.b64encode(b"abc").decode(), "aGVsbG8"])
def test_what_is_no_pcm_is_refused(data: str) -> None:
    refusal(Audio(sample_rate_hz=RATE, duration_ms=1000, data_base64=data))


def test_another_fragments_answer_is_refused() -> None:
    with pytest.raises(PhraseFailed, match="instead of f2"):
        checked(answer(Audio.from_samples(voice(), RATE)), "f2", 9_000, 5)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"status":"success"}', answer(None, status="success"), b"\xff\xfe"]
)
def test_a_body_of_another_shape_is_a_validation_error(body: bytes) -> None:
    with pytest.raises(ValidationError):
        checked(body, "f1", 9_000, 5)
