"""A recogniser that hears the same phrase in everything that is not silence."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dubrelay.audio import rms
from dubrelay.config import Paths, Sts
from dubrelay.sts.asr.base import Transcript

TEXT = "mock phrase"
SPEECH_RMS = 10 ** (-50 / 20)


class MockAsr:
    name = "mock"
    languages = frozenset({"*"})
    licence = "Apache-2.0"

    def __init__(self, settings: Sts, paths: Paths) -> None:
        pass

    @classmethod
    def missing(cls, paths: Paths) -> str:
        return ""

    def transcribe(self, samples: npt.NDArray[np.float32], language: str) -> Transcript:
        return Transcript(TEXT if rms(samples) > SPEECH_RMS else "")
