"""A recogniser that hears the same phrase in everything that is not silence."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dubrelay.audio import rms
from dubrelay.config import MockEngine, Paths, Sts
from dubrelay.sts.asr.base import Detection, Transcript

TEXT = "mock phrase"
SPEECH_RMS = 10 ** (-50 / 20)


class MockAsr:
    languages = frozenset({"*"})
    detects = True
    to_english = frozenset({"*"})
    licence = "Apache-2.0"

    def __init__(self, name: str, options: MockEngine, settings: Sts, paths: Paths) -> None:
        self.name = name

    @classmethod
    def missing(cls, options: MockEngine, paths: Paths) -> str:
        return ""

    def transcribe(self, samples: npt.NDArray[np.float32], language: str) -> Transcript:
        return Transcript(TEXT if rms(samples) > SPEECH_RMS else "")

    def translate(self, samples: npt.NDArray[np.float32], language: str) -> Transcript:
        return self.transcribe(samples, language)

    def detect(self, samples: npt.NDArray[np.float32]) -> Detection:
        """Everything is English to it."""
        return Detection({"en": 1.0}, lambda language, in_english: self.transcribe(samples, language))
