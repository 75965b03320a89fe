"""A synthesiser for tests and first steps: a tone exactly as long as the phrase it replaces, or the phrase itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dubrelay.config import MockEngine, Paths, Sts
from dubrelay.sts.tts.base import Original, Prepared, Speech

RATE_HZ = 24_000
TONE_HZ = 440.0
TONE_LEVEL = 0.25
RAMP_S = 0.005
WITHOUT_ORIGINAL_S = 1.0


class MockTts:
    """Its tempo is always 1: what it says is made as long as the phrase, or its room where that is shorter."""

    languages = frozenset({"*"})
    licence = "Apache-2.0"
    min_tempo = 1.0
    max_tempo = 1.0

    def __init__(self, name: str, options: MockEngine, settings: Sts, paths: Paths) -> None:
        self.name = name
        self._passes_through = settings.mock.voice == "pass-through"

    @classmethod
    def missing(cls, options: MockEngine, paths: Paths) -> str:
        return ""

    def voices(self, language: str) -> tuple[str, ...]:
        return ("pass-through",) if self._passes_through else ("tone",)

    def prepare(self, text: str, language: str, voice: str) -> Prepared:
        payload = tone(round(WITHOUT_ORIGINAL_S * RATE_HZ))
        return Prepared(language, voice, WITHOUT_ORIGINAL_S, 0.0, Speech(payload, RATE_HZ, 1.0))

    def follow(self, prepared: Prepared, original: Original) -> Prepared:
        length_s = min(len(original.samples) / original.rate_hz, original.room_s)
        if self._passes_through:
            kept = original.samples[: round(length_s * original.rate_hz)]
            speech = Speech(kept, original.rate_hz, 1.0)
        else:
            speech = Speech(tone(round(length_s * RATE_HZ)), RATE_HZ, 1.0)
        return replace(prepared, natural_s=length_s, payload=speech)

    def speak(self, prepared: Prepared, tempo: float) -> Speech:
        speech: Speech = prepared.payload
        return speech


def tone(count: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """`count` samples of 440 Hz at 24 kHz that begin and end without a click; the same ones each time."""
    at_s = np.arange(count) / RATE_HZ
    from_end_s = at_s[::-1]
    ramp = np.minimum(1.0, np.minimum(at_s, from_end_s) / RAMP_S)
    return (TONE_LEVEL * ramp * np.sin(2 * np.pi * TONE_HZ * at_s)).astype(np.float32)
