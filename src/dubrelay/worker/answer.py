"""What the STS service answered, checked before it may be heard: repaired where that is safe, refused otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dubrelay import audio as pcm
from dubrelay.errors import DubrelayError
from dubrelay.wire.fragment import Audio, Metadata, ProcessResult
from dubrelay.wire.status import FallbackReason

_RATES_HZ = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000)
_SHORTEST_S = 0.05
_SILENT = 0.002
_FULL_SCALE = 32_700 / 32_768
_CLIPPED_REPAIR = 0.0005
_CLIPPED_NOISE = 0.05
_LOUDEST_RMS = 0.5
"""Speech stays below 0.3 even when it is compressed; random bytes read as PCM have 0.58."""
_OFFSET = 0.01

Mono = npt.NDArray[np.float32]


class PhraseFailed(DubrelayError):
    """A phrase that will not be dubbed, and the reason it is counted under."""

    def __init__(
        self,
        reason: FallbackReason,
        message: str,
        *,
        retryable: bool = False,
        retry_after_s: float = 0.0,
        of_request: bool = False,
    ) -> None:
        super().__init__(message, code=reason, retryable=retryable)
        self.reason: FallbackReason = reason
        self.retry_after_s = retry_after_s
        self.of_request = of_request
        """The service is well, and says that what was asked for is wrong: a language or voice that it has not."""


@dataclass(frozen=True)
class Dubbed:
    """Speech for a phrase: (n,) samples in -1..1."""

    samples: Mono
    rate_hz: int
    transcript: str
    translated_text: str
    metadata: Metadata
    rtt_ms: int
    repairs: tuple[str, ...] = ()
    """What was wrong with the sound and was put right."""


@dataclass(frozen=True)
class NoSpeech:
    """The service heard no words in the phrase."""

    metadata: Metadata
    rtt_ms: int


def checked(body: bytes, fragment_id: str, longest_ms: int, rtt_ms: int) -> Dubbed | NoSpeech:
    """The answer to `fragment_id` in the body of an HTTP 200.

    Raises pydantic's ValidationError when it has not the shape of one, PhraseFailed("invalid_output") when it is
    another phrase's or its sound is none that can be used; speech longer than `longest_ms` is such.
    """
    result = ProcessResult.model_validate_json(body)
    if result.fragment_id != fragment_id:
        raise _invalid(f"an answer for fragment {result.fragment_id} came instead of {fragment_id}")
    if result.dubbed_audio is None:
        return NoSpeech(result.metadata, rtt_ms)
    repairs: list[str] = []
    samples, rate_hz = _sound(result.dubbed_audio, longest_ms, repairs)
    return Dubbed(
        samples, rate_hz, result.transcript, result.translated_text, result.metadata, rtt_ms, repairs=tuple(repairs)
    )


def _invalid(message: str) -> PhraseFailed:
    return PhraseFailed("invalid_output", message)


def _sound(audio: Audio, longest_ms: int, repairs: list[str]) -> tuple[Mono, int]:
    try:
        samples = audio.to_mono()
    except ValueError as e:
        raise _invalid(str(e)) from e
    rate_hz = _rate(len(samples), audio, repairs)
    duration_s = len(samples) / rate_hz
    if not _SHORTEST_S <= duration_s <= longest_ms / 1000:
        raise _invalid(f"{duration_s:.2f} s of sound: not between {_SHORTEST_S} and {longest_ms / 1000:.2f} s")
    return _usable(samples, rate_hz, repairs), rate_hz


def _rate(count: int, audio: Audio, repairs: list[str]) -> int:
    """The rate that was declared, unless only another one gives the duration that was declared, too."""
    if _fits(count, audio.sample_rate_hz, audio.duration_ms, 0.05):
        return audio.sample_rate_hz
    rate_hz = next((rate for rate in _RATES_HZ if _fits(count, rate, audio.duration_ms, 0.01)), None)
    if rate_hz is None:
        repairs.append(f"duration_ms was {audio.duration_ms}")
        return audio.sample_rate_hz
    repairs.append(f"sample_rate_hz was {audio.sample_rate_hz} for sound of {rate_hz}")
    return rate_hz


def _fits(count: int, rate_hz: int, duration_ms: int, tolerance: float) -> bool:
    return abs(count * 1000 / rate_hz - duration_ms) <= 20 + tolerance * duration_ms


def _usable(samples: Mono, rate_hz: int, repairs: list[str]) -> Mono:
    """16-bit PCM holds no NaN; noise, silence, an offset and clipping are what it can hold instead of speech."""
    offset = float(samples.mean())
    if abs(offset) > _OFFSET:
        samples = samples - np.float32(offset)
        repairs.append("offset removed")
    if np.abs(samples).max() < _SILENT:
        raise _invalid("the sound is silence")
    full = np.abs(samples) >= _FULL_SCALE - abs(offset)
    clipped = float(full.mean())
    if pcm.rms(samples) > _LOUDEST_RMS or clipped > _CLIPPED_NOISE:
        raise _invalid(f"the sound is noise: level {pcm.rms(samples):.2f}, {clipped:.0%} at full scale")
    if clipped > _CLIPPED_REPAIR:
        samples = _unclipped(samples, full, longest=rate_hz // 500)
        repairs.append("clipping rounded")
    return samples


def _unclipped(samples: Mono, full: npt.NDArray[np.bool_], longest: int) -> Mono:
    """Each flat top of at most `longest` samples becomes the cubic that goes on from the slopes at its sides."""
    out = samples.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], full, [False]]).astype(np.int8)))
    for start, end in edges.reshape(-1, 2):
        if start < 2 or end + 2 > len(samples) or not 1 < end - start <= longest:
            continue
        left, right, steps = start - 1, end, end - start + 1
        rise = (samples[left] - samples[left - 1]) * steps
        fall = (samples[right + 1] - samples[right]) * steps
        t = np.arange(1, steps) / steps
        out[start:end] = (
            (2 * t**3 - 3 * t**2 + 1) * samples[left]
            + (t**3 - 2 * t**2 + t) * rise
            + (3 * t**2 - 2 * t**3) * samples[right]
            + (t**3 - t**2) * fall
        )
    return np.asarray(out / max(1.0, float(np.abs(out).max())), np.float32)
