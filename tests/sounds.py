"""Sounds without a word in them: what nothing may be said for."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from dubrelay.audio import RATE_HZ, Samples, to_pcm

Kind = Literal["silence", "noise", "music"]


def quiet(kind: Kind, seconds: float, seed: int = 0) -> Samples:
    """(n, 2) at 48 kHz: nothing at all, pink-ish noise, or a melody with drums. Always the same for the same seed."""
    count = round(seconds * RATE_HZ)
    if kind == "silence":
        return np.zeros((count, 2), np.float32)
    dice = np.random.default_rng(seed)
    sound = _noise(dice, count) if kind == "noise" else _music(dice, count)
    return np.asarray(sound * (0.1 / np.sqrt(np.mean(sound**2))), np.float32).clip(-1, 1)


def write_wav(path: Path, samples: Samples, rate_hz: int = RATE_HZ) -> Path:
    """S16LE stereo."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(to_pcm(samples))
    return path


def _noise(dice: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """White noise with a share that lies lower, swelling and sinking."""
    white = dice.standard_normal((count, 2))
    low = np.apply_along_axis(lambda x: np.convolve(x, np.full(64, 1 / 8), "same"), 0, white)
    return (white + low) * (1 + 0.5 * np.sin(2 * np.pi * 0.1 * np.arange(count) / RATE_HZ))[:, None]


def _music(dice: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """Two notes and one stroke of a drum a half second."""
    out = np.zeros((count, 2))
    beat = RATE_HZ // 2
    scale_hz = 220 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
    for at in range(0, count, beat):
        t = np.arange(min(2 * beat, count - at)) / RATE_HZ
        for side, hz in enumerate(dice.choice(scale_hz, 2)):
            note = sum(np.sin(2 * np.pi * k * hz * t) / k for k in range(1, 5))
            out[at : at + len(t), side] += note * np.exp(-2 * t) * np.minimum(1, t * 200)
        drum = dice.standard_normal(len(t)) * np.exp(-30 * t)
        out[at : at + len(t)] += drum[:, None]
    return out
