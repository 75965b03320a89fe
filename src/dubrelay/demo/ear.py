"""Who listens to the demo's recording: the STS room's recognisers, in this process."""

from __future__ import annotations

import ctranslate2
import numpy as np
import numpy.typing as npt

from dubrelay import models
from dubrelay.config import AUTO, Settings, WhisperEngine
from dubrelay.sts.asr.mel import log_mel
from dubrelay.sts.asr.whisper import Whisper

_WINDOW_S = 30.0
"""Languages are told apart as the model was trained, not in the shorter window that is enough for words."""


class WhisperEar:
    """whisper-base tells languages apart; English is heard by the model that knows nothing else.

    Base would translate what it is told to hear as English, and invent the original anew.
    """

    def __init__(self, settings: Settings, source_language: str) -> None:
        folder = models.whisper("whisper-base", settings.paths)
        self._linguist = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="int8")
        name = "whisper-tiny.en" if source_language == "en" else "whisper-base"
        self._listener = Whisper(name, WhisperEngine(model=name), settings.sts, settings.paths)
        self._source_language = source_language

    def language(self, samples: npt.NDArray[np.float32]) -> tuple[str, float]:
        mel = log_mel(samples, _WINDOW_S, self._linguist.n_mels)
        token, probability = self._linguist.detect_language(ctranslate2.StorageView.from_array(mel[None]))[0][0]
        return token.strip("<|>"), probability

    def words(self, samples: npt.NDArray[np.float32]) -> str:
        if self._source_language != AUTO:
            return self._listener.transcribe(samples, self._source_language).text
        found = self._listener.detect(samples)
        return found.hear(max(found.probabilities, key=found.probabilities.__getitem__), False).text
