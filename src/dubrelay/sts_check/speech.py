"""What the service under test is given to hear."""

from __future__ import annotations

import base64
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from dubrelay.errors import ConfigError
from dubrelay.wire.fragment import RATE_HZ

SENTENCE = "Good evening and welcome."
LANGUAGE = "en"
SHORTEST_S, LONGEST_S = 0.5, 10.0

_HIBARI_HZ = 24_000

Mono = npt.NDArray[np.float32]
"""(n,) in -1..1 at 16 kHz."""


def spoken() -> Mono:
    """A sentence in English by hibari, always the same."""
    from hibari import Hibari  # noqa: PLC0415 - half a second

    hibari: Any = Hibari
    speak = hibari(voice="heart")  # any other name would be downloaded
    raw = np.asarray(speak(SENTENCE, speed=1.0, seed=0), np.float32).reshape(-1)
    return resampled(raw, _HIBARI_HZ, RATE_HZ)


def recorded(path: Path) -> Mono:
    """Speech from a 16-bit WAV file of 0.5 to 10 s. ConfigError."""
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate_hz = file.getsampwidth(), file.getnchannels(), file.getframerate()
            raw = file.readframes(int(LONGEST_S * rate_hz) + 1)
    except (OSError, EOFError, wave.Error) as e:
        raise ConfigError(f"--speech {path}: cannot be read: {getattr(e, 'strerror', None) or 'not a WAV file'}") from e
    if width != 2:
        raise ConfigError(f"--speech {path}: {8 * width} bits a sample: must be 16")
    samples = np.frombuffer(raw, "<i2").reshape(-1, channels).astype(np.float32).mean(axis=1) / 32768
    if not SHORTEST_S <= len(samples) / rate_hz <= LONGEST_S:
        raise ConfigError(f"--speech {path}: must be {SHORTEST_S:g} to {LONGEST_S:g} s long")
    return resampled(samples, rate_hz, RATE_HZ)


def resampled(samples: npt.NDArray[np.float32], from_hz: int, to_hz: int) -> npt.NDArray[np.float32]:
    return np.asarray(soxr.resample(samples, from_hz, to_hz), np.float32)


def as_audio(samples: Mono, rate_hz: int = RATE_HZ, channels: int = 1) -> dict[str, Any]:
    """The `audio` of a request, at another rate or in stereo if asked for."""
    at_rate = resampled(samples, RATE_HZ, rate_hz) if rate_hz != RATE_HZ else samples
    pcm = (np.clip(at_rate, -1, 1) * 32767).round().astype("<i2")
    return {
        "format": "pcm_s16le",
        "sample_rate_hz": rate_hz,
        "channels": channels,
        "duration_ms": round(1000 * len(pcm) / rate_hz),
        "data_base64": base64.b64encode(np.repeat(pcm, channels).tobytes()).decode("ascii"),
    }
