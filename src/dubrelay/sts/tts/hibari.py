"""hibari: English at 24 kHz, a hundred times as fast as real time."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from dubrelay import models
from dubrelay.config import HibariEngine, Paths, Sts
from dubrelay.errors import StartupError, StsError, first_line
from dubrelay.sts.fit import stretch, trim
from dubrelay.sts.tts.base import Prepared, Speech

_VOICE = "heart"
"""The only voice inside the package: any other name would make the library download a model."""


class Hibari:
    languages = frozenset({"en"})
    min_tempo = 0.8
    max_tempo = 1.4
    licence = "Apache-2.0"

    def __init__(self, name: str, options: HibariEngine, settings: Sts, paths: Paths) -> None:
        self.name = name
        model = models.hibari(paths)
        try:
            import hibari  # noqa: PLC0415  an optional engine: missing is a StartupError, not an ImportError
        except ImportError as e:
            raise StartupError(f"the package hibari-tts cannot be loaded ({e}): run scripts/setup") from e
        try:
            self._library = hibari.Hibari(voice=_VOICE, model=str(model), threads=1)
        except Exception as e:  # ONNX Runtime's own classes, one per status
            raise StartupError(f"{model} cannot be loaded: {first_line(e)}") from e
        self._rate_hz = int(self._library.sample_rate)
        self._lock = threading.Lock()
        self._say("Ready.")  # loads the dictionaries

    @classmethod
    def missing(cls, options: HibariEngine, paths: Paths) -> str:
        return models.missing("hibari", paths)

    def voices(self, language: str) -> tuple[str, ...]:
        return (_VOICE,) if language in self.languages else ()

    def prepare(self, text: str, language: str, voice: str = "default") -> Prepared:
        if language not in self.languages:
            raise StsError("UNSUPPORTED_LANGUAGE", f"hibari does not speak {language!r}", stage="tts")
        natural = self._say(text)
        length_s = len(natural) / self._rate_hz
        return Prepared(language, _VOICE, natural_s=length_s, work_s=length_s, payload=natural)

    def speak(self, prepared: Prepared, tempo: float) -> Speech:
        # Not by the library's `speed`: it rounds durations per phoneme, so 1.3 gives 1.13 and 1.4 gives 1.6.
        return Speech(stretch(prepared.payload, self._rate_hz, tempo), self._rate_hz, tempo)

    def _say(self, text: str) -> npt.NDArray[np.float32]:
        with self._lock:
            spoken = self._library(text, seed=0)
        return trim(np.asarray(spoken, np.float32).reshape(-1), self._rate_hz)
