"""A recogniser behind an OpenAI-compatible API: /v1/audio/transcriptions, and /translations where it has that."""

from __future__ import annotations

import io
import re
import wave
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from dubrelay.config import Paths, Sts, TranscriptionEngine
from dubrelay.errors import StsError
from dubrelay.sts.asr.base import RATE_HZ, Detection, Transcript
from dubrelay.sts.asr.guards import LEAST_LOGPROB, LEAST_LOGPROB_TRANSLATED, refusal
from dubrelay.sts.asr.language_names import CODES
from dubrelay.sts.openai import OpenAi
from dubrelay.sts.route import EVERY
from dubrelay.wire.fragment import Word

Mono = npt.NDArray[np.float32]

_TRUST = 0.9
"""How sure a service is of a language that it names, for it does not tell: clear, but not beyond doubt."""
_LEAST_S = 0.1
"""Shorter sound is refused by services of this kind."""


class Transcription:
    licence = "of the service"
    languages = frozenset({EVERY})
    device = "remote"
    detects = True
    concurrency = 4
    """So many phrases may be on their way at once: it is not this machine that computes."""

    def __init__(self, name: str, options: TranscriptionEngine, settings: Sts, paths: Paths) -> None:
        self.name = name
        self._options = options
        self.detects = options.response_format == "verbose_json"
        self._api = OpenAi(name, "asr", options)

    @classmethod
    def missing(cls, options: TranscriptionEngine, paths: Paths) -> str:
        return ""

    @property
    def to_english(self) -> frozenset[str]:
        return self.languages - {"en"} if self._options.translate else frozenset()

    def transcribe(self, samples: Mono, language: str) -> Transcript:
        return self._transcript(self._ask("transcriptions", samples, language), samples, LEAST_LOGPROB)

    def translate(self, samples: Mono, language: str) -> Transcript:
        """The text in English. The service finds out by itself in which language it was said."""
        if not self._options.translate:
            raise StsError("UNSUPPORTED_LANGUAGE", f"{self.name}: translate = false", stage="asr")
        return self._transcript(self._ask("translations", samples, None), samples, LEAST_LOGPROB_TRANSLATED)

    def detect(self, samples: Mono) -> Detection:
        """What is asked for is a transcript; it serves when it is in the language that is wanted in the end."""
        answer = self._ask("transcriptions", samples, None)
        found = self._code(answer)
        transcript = self._transcript(answer, samples, LEAST_LOGPROB)

        def hear(language: str, in_english: bool) -> Transcript:
            if in_english:
                return self.translate(samples, language)
            return transcript if language == found else self.transcribe(samples, language)

        return Detection({found: _TRUST} if found else {}, hear)

    def close(self) -> None:
        self._api.close()

    def _ask(self, path: str, samples: Mono, language: str | None) -> Any:
        fields = {
            "model": self._options.model,
            "response_format": self._options.response_format,
            "temperature": "0",
        }
        if language is not None:
            fields["language"] = language
        return self._api.post_form(f"audio/{path}", fields, ("phrase.wav", _wav(samples), "audio/wav"))

    def _code(self, answer: Any) -> str:
        """The language that an answer names, by name or code; empty where it names none that is known here."""
        named = answer.get("language") if isinstance(answer, dict) else None
        if not isinstance(named, str):
            return ""
        named = named.strip().lower()
        code = CODES.get(named, named.partition("-")[0])
        known = re.fullmatch(r"[a-z]{2,3}", code) and (EVERY in self.languages or code in self.languages)
        return code if known else ""

    def _transcript(self, answer: Any, samples: Mono, least_logprob: float) -> Transcript:
        text = " ".join(self._api.text_at(answer, "text").split())
        duration_s = len(samples) / RATE_HZ
        logprob = _mean(answer, "avg_logprob")
        if refused := refusal(text, duration_s, logprob, _mean(answer, "no_speech_prob"), least_logprob):
            return Transcript("", refused)
        return Transcript(text, words=_words(answer, duration_s))


def _wav(samples: Mono) -> bytes:
    padded = np.pad(samples, (0, max(0, round(_LEAST_S * RATE_HZ) - len(samples))))
    pcm = (np.clip(padded, -1, 1) * 32767).round().astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(pcm.tobytes())
    return file.getvalue()


def _mean(answer: Any, key: str) -> float | None:
    """Over the segments, each as long as it is; None where the service does not tell."""
    found = [
        (float(segment[key]), max(float(segment.get("end", 0)) - float(segment.get("start", 0)), 0.01))
        for segment in _tables(answer, "segments")
        if _is_number(segment.get(key)) and _is_number(segment.get("start", 0)) and _is_number(segment.get("end", 0))
    ]
    return sum(value * weight for value, weight in found) / sum(weight for _, weight in found) if found else None


def _words(answer: Any, duration_s: float) -> list[Word]:
    """Where the service tells."""
    words: list[Word] = []
    for word in _tables(answer, "words"):
        text, start_s, end_s = word.get("word"), word.get("start"), word.get("end")
        if isinstance(text, str) and _is_number(start_s) and _is_number(end_s):
            start_ms, end_ms = (round(1000 * min(max(s, 0.0), duration_s)) for s in (start_s, end_s))
            words.append(Word(text=text.strip(), start_ms=start_ms, end_ms=max(start_ms, end_ms)))
    return words


def _tables(answer: Any, key: str) -> list[dict[str, Any]]:
    found = answer.get(key) if isinstance(answer, dict) else None
    return [table for table in found if isinstance(table, dict)] if isinstance(found, list) else []


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
