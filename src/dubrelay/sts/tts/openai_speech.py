"""Speech from an OpenAI-compatible server, POST /v1/audio/speech: one's own, such as a cloning engine, or a vendor's.

How long a text lasts is known when the sound is there; asking twice would cost twice. So it is guessed from the
characters and what the voice needed for those before, and what the guess missed is stretched afterwards.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dubrelay.config import OpenAiSpeechEngine, Paths, Sts
from dubrelay.errors import StsError
from dubrelay.sts.fit import trim
from dubrelay.sts.openai import OpenAi
from dubrelay.sts.tts.base import Prepared, Speech
from dubrelay.sts.tts.lengths import Lengths

_FIRST_GUESS_S = 0.075
"""Per letter or digit."""
_SLOWEST, _FASTEST = 0.8, 1.3
_RATES_HZ = range(8000, 48_001)
_PCM_16, _FLOAT_32 = (1, 16), (3, 32)
"""Tag and bits of the formats that are read."""
_EXTENSIBLE = 0xFFFE
_FOREIGN = (b"ID3", b"OggS", b"fLaC", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1", b"\xff\xf9", b"{")


class OpenAiSpeech:
    languages: frozenset[str] = frozenset()
    licence = "of the service"
    device = "remote"
    concurrency = 4

    def __init__(self, name: str, options: OpenAiSpeechEngine, settings: Sts, paths: Paths) -> None:
        self.name = name
        self._options = options
        self.languages = frozenset(options.voices)
        self.min_tempo, self.max_tempo = (_SLOWEST, _FASTEST) if options.speed else (1.0, 1.0)
        self._lengths = Lengths(_FIRST_GUESS_S)
        self._api = OpenAi(name, "tts", options)

    @classmethod
    def missing(cls, options: OpenAiSpeechEngine, paths: Paths) -> str:
        return ""

    def close(self) -> None:
        self._api.close()

    def voices(self, language: str) -> tuple[str, ...]:
        return tuple(self._options.voices.get(language, ()))

    def prepare(self, text: str, language: str, voice: str = "default") -> Prepared:
        known = self.voices(language)
        if not known:
            raise StsError("UNSUPPORTED_LANGUAGE", f"{self.name} has no voice for {language!r}", stage="tts")
        chosen = voice if voice in known else known[0]
        natural_s = self._lengths.guess_s(_key(language, chosen), _letters(text))
        return Prepared(language, chosen, natural_s=natural_s, work_s=natural_s, payload=text)

    def speak(self, prepared: Prepared, tempo: float) -> Speech:
        text: str = prepared.payload
        if not _letters(text):
            return Speech(np.zeros(0, np.float32), self._options.rate_hz, tempo)
        asked: dict[str, str | float] = {
            "model": self._options.model,
            "input": text,
            "voice": prepared.voice,
            "response_format": self._options.response_format,
        }
        if self._options.speed:
            asked["speed"] = round(tempo, 3)
        answer = self._api.post_for_bytes("audio/speech", asked)
        try:
            sound = from_wav(answer) if answer[:4] == b"RIFF" else self._from_pcm(answer)
        except ValueError as e:
            raise StsError("MODEL_ERROR", f"{self.name}: {e}", stage="tts") from e
        samples = trim(sound.samples, sound.rate_hz)
        natural_s = tempo * len(samples) / sound.rate_hz
        self._lengths.learn(_key(prepared.language, prepared.voice), _letters(text), natural_s)
        return Speech(samples, sound.rate_hz, tempo)

    def _from_pcm(self, answer: bytes) -> Sound:
        if self._options.response_format == "wav" or answer.startswith(_FOREIGN):
            raise ValueError(f"the answer to response_format = {self._options.response_format!r} is in another format")
        return Sound(_mono_of_16_bit(answer, 1), self._options.rate_hz)


@dataclass(frozen=True)
class Sound:
    samples: npt.NDArray[np.float32]
    """(n,) mono in -1..1."""
    rate_hz: int


def from_wav(content: bytes) -> Sound:
    """16-bit or float samples, channels averaged; a length in the header that a stream left open does not matter.

    ValueError says what is wrong with it.
    """
    form: tuple[int, int] | None = None
    channels = rate_hz = 0
    at = 12
    while at + 8 <= len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        body = at + 8
        if name == b"fmt " and body + 16 <= len(content):
            tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", content, body)
            if tag == _EXTENSIBLE and body + 26 <= len(content):
                tag = int.from_bytes(content[body + 24 : body + 26], "little")
            form = tag, bits
        elif name == b"data":
            if form not in (_PCM_16, _FLOAT_32) or not 1 <= channels <= 2 or rate_hz not in _RATES_HZ:
                raise ValueError("the WAV must be 16-bit or float samples, 1 or 2 channels, 8000 to 48000 Hz")
            data = content[body : body + size] if 0 < size <= len(content) - body else content[body:]
            samples = _mono_of_16_bit(data, channels) if form == _PCM_16 else _mono_of_float(data, channels)
            return Sound(samples, rate_hz)
        at = body + size + size % 2
    raise ValueError("the WAV has no samples")


def _mono_of_16_bit(data: bytes, channels: int) -> npt.NDArray[np.float32]:
    whole = len(data) // (2 * channels)
    pcm = np.frombuffer(data, "<i2", whole * channels).reshape(whole, channels)
    return np.asarray(pcm.mean(axis=1) / 32768, np.float32)


def _mono_of_float(data: bytes, channels: int) -> npt.NDArray[np.float32]:
    whole = len(data) // (4 * channels)
    samples = np.frombuffer(data, "<f4", whole * channels).reshape(whole, channels)
    return np.asarray(samples.mean(axis=1), np.float32)


def _key(language: str, voice: str) -> str:
    return f"{language}/{voice}"


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))
