"""espeak-ng as a voice: robotic and hard to understand, but 10-30 ms a phrase. The fast lane."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dubrelay.config import EspeakEngine, Paths, Sts
from dubrelay.errors import StartupError, StsError
from dubrelay.sts.fit import trim
from dubrelay.sts.tts import espeak_ng
from dubrelay.sts.tts.base import Prepared, Speech

_NATURAL_WPM = 175
_SLOWEST_WPM, _FASTEST_WPM = 80, 450
_TOLERANCE = 0.02
_TRIES = 2

_VOICES: dict[str, tuple[str, ...]] = {
    "en": ("en-us", "en-gb"),
    "es": ("es", "es-419"),
    "pt": ("pt", "pt-br"),
    **{code: (code,) for code in ("ca", "cs", "da", "de", "el", "eo", "fi", "fr", "hu", "it", "nb", "nl", "pl", "ro")},
    **{code: (code,) for code in ("ru", "sv", "tr", "uk")},
}


class Espeak:
    languages = frozenset(_VOICES)
    min_tempo = 0.7
    max_tempo = 1.8
    licence = "GPL-3.0-or-later (a program of its own)"

    def __init__(self, name: str, options: EspeakEngine, settings: Sts, paths: Paths) -> None:
        self.name = name
        if absent := self.missing(options, paths):
            raise StartupError(absent)

    @classmethod
    def missing(cls, options: EspeakEngine, paths: Paths) -> str:
        return espeak_ng.missing()

    def voices(self, language: str) -> tuple[str, ...]:
        return _VOICES.get(language, ())

    def prepare(self, text: str, language: str, voice: str = "default") -> Prepared:
        known = self.voices(language)
        if not known:
            raise StsError("UNSUPPORTED_LANGUAGE", f"espeak-ng does not speak {language!r}", stage="tts")
        voice = voice if voice in known else known[0]
        natural = _say(text, voice, 1.0)
        length_s = len(natural) / espeak_ng.RATE_HZ
        return Prepared(language, voice, natural_s=length_s, work_s=length_s, payload=(text, natural))

    def speak(self, prepared: Prepared, tempo: float) -> Speech:
        text, samples = prepared.payload
        wanted = len(samples) / tempo
        asked, used = tempo, 1.0
        for _ in range(_TRIES):
            if not len(samples) or abs(len(samples) / wanted - 1) <= _TOLERANCE:
                break
            samples = _say(text, prepared.voice, asked)
            used = prepared.natural_s * espeak_ng.RATE_HZ / max(1, len(samples))
            asked *= tempo / used
        return Speech(samples, espeak_ng.RATE_HZ, used)


def _say(text: str, voice: str, tempo: float) -> npt.NDArray[np.float32]:
    wpm = round(min(max(_NATURAL_WPM * tempo, _SLOWEST_WPM), _FASTEST_WPM))
    return trim(espeak_ng.sound(text, voice, wpm), espeak_ng.RATE_HZ)
