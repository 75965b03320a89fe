"""Kokoro-82M (int8 ONNX, 24 kHz), with the length of the speech chosen before it is made.

The model runs in two halves. The first predicts how long each phoneme lasts; here those durations are scaled to the
tempo asked for and handed to the second, whose sound lasts exactly their sum. The phonemes come from the espeak-ng
program. The bundled voices are Japanese ones that speak Spanish, slowly: their pace brings tempo 1 near to a native's.
A voice pack of the operator's has native ones.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dubrelay import models
from dubrelay.config import KokoroEngine, Paths, Sts
from dubrelay.errors import StartupError, StsError
from dubrelay.models.network import loaded
from dubrelay.sts.fit import trim
from dubrelay.sts.tts import alphabet, espeak_ng, voicepack
from dubrelay.sts.tts.base import Prepared, Speech

RATE_HZ = 24_000
FRAME_S = 0.025
_FIRST_PAD_FRAMES = 16
"""With fewer the first syllable is lost."""
_CLICK = round(0.01 * RATE_HZ)
_END_FRAMES = (2, 1)
"""Last punctuation and last pad are silence: no time is spent on it."""
_SOUND_BEYOND_S = 0.07
"""Sound before the first phoneme's frame and after the last but one's: median of what trimmed speech lasts longer."""
_MAX_TOKENS = 500
_CEILING = 0.97

_BUNDLED_VOICES = ("jm_kumo", "jf_gongitsune")
_BUNDLED_LANGUAGES = frozenset({"es"})
"""What was measured with them (WER of what a recogniser hears)."""
_BUNDLED_PACE = 1.2
"""docs/decisions/pace.md"""
_SLOWEST, _FASTEST = 0.85, 1.3
"""Against the model's own speed: beyond these it does not sound right."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Sentence:
    """What one run of the second half needs; `durations` are frames at the model's speed, pads included."""

    tokens: npt.NDArray[np.int64]
    style: Floats
    durations: Floats
    hidden: Floats


class Kokoro:
    languages = _BUNDLED_LANGUAGES
    licence = "Apache-2.0"

    def __init__(self, name: str, options: KokoroEngine, settings: Sts, paths: Paths) -> None:
        self.name = name
        if absent := espeak_ng.missing():
            raise StartupError(absent)
        files = models.kokoro(paths)
        self._predictor = loaded(files.predictor)
        self._speaker = loaded(files.speaker, threads=settings.tts_threads)
        self._letters: dict[str, int] = json.loads(files.vocab.read_text(encoding="utf-8"))["vocab"]
        self._styles, native = _voices(options, files.voices)
        self._pace = options.pace or (1.0 if options.voices else _BUNDLED_PACE)
        self.min_tempo, self.max_tempo = _SLOWEST / self._pace, _FASTEST / self._pace
        self.languages = frozenset(alphabet.ESPEAK_VOICE if options.languages else native)
        if not self.languages:
            allowed = ", ".join(alphabet.ESPEAK_VOICE)
            raise StartupError(
                f"{options.voices or files.voices}: no voice is named for a language ({allowed}): set `languages`"
            )
        # Two at once would each take twice as long: one after the other serves the first one sooner.
        self._one_at_a_time = threading.Lock()

    @classmethod
    def missing(cls, options: KokoroEngine, paths: Paths) -> str:
        pack = voicepack.missing(options.voices) if options.voices else ""
        return espeak_ng.missing() or models.missing("kokoro", paths) or pack

    def voices(self, language: str) -> tuple[str, ...]:
        """Those that are named for the language first: ef_dora and em_alex for es."""
        if language not in self.languages:
            return ()
        return tuple(sorted(self._styles, key=lambda voice: alphabet.language_of(voice) != language))

    def prepare(self, text: str, language: str, voice: str = "default") -> Prepared:
        if language not in self.languages:
            raise StsError("UNSUPPORTED_LANGUAGE", f"kokoro does not speak {language!r} here", stage="tts")
        voice = voice if voice in self._styles else self.voices(language)[0]
        espeak = alphabet.espeak_voice(language, voice)
        sentences = [self._predict(tokens, self._styles[voice]) for tokens in self._tokens(text, espeak)]
        return Prepared(
            language,
            voice,
            natural_s=sum(_sounding_s(sentence.durations, self._pace) for sentence in sentences),
            work_s=sum(_computed_s(_frames(sentence.durations, self._pace)) for sentence in sentences),
            payload=sentences,
        )

    def speak(self, prepared: Prepared, tempo: float) -> Speech:
        parts = [trim(self._sound(sentence, tempo)[_CLICK:], RATE_HZ) for sentence in prepared.payload]
        samples = np.concatenate([np.zeros(0, np.float32), *parts], dtype=np.float32)
        peak = float(np.abs(samples).max(initial=0))
        gain = np.float32(min(1.0, _CEILING / max(peak, 1e-6)))
        return Speech(samples * gain, RATE_HZ, tempo)

    def _tokens(self, text: str, espeak: str) -> list[list[int]]:
        ipa = alphabet.respelt(espeak_ng.phonemes(text, espeak), espeak)
        if ipa and ipa[-1] not in ".?!…":
            ipa += "."
        parts = [[self._letters[c] for c in part if c in self._letters] for part in _pieces(ipa, _MAX_TOKENS)]
        return [part for part in parts if len(part) > 1]

    def _predict(self, letters: list[int], styles: Floats) -> _Sentence:
        tokens = np.array([[0, *letters, 0]], np.int64)
        style = styles[min(len(letters), len(styles)) - 1][None]
        given = {"tokens": tokens, "style": style, "speed": np.ones(1, np.float32)}
        durations, hidden = self._predictor.run(["durations", "hidden"], given)
        return _Sentence(tokens, style, durations[0], hidden)

    def _sound(self, sentence: _Sentence, tempo: float) -> Floats:
        given = {
            "tokens": sentence.tokens,
            "style": sentence.style,
            "durations": _frames(sentence.durations, self._pace * tempo)[None],
            "hidden": sentence.hidden,
        }
        with self._one_at_a_time:
            sound: Floats = self._speaker.run(None, given)[0]
        return sound.reshape(-1)


def _voices(options: KokoroEngine, bundled: Path) -> tuple[voicepack.Styles, Iterable[str]]:
    """The styles by voice, and the languages that they are for."""
    styles = voicepack.read(options.voices or bundled)
    if options.voices is None and set(_BUNDLED_VOICES) <= set(styles):
        return {name: styles[name] for name in _BUNDLED_VOICES}, _BUNDLED_LANGUAGES
    return styles, {language for voice in styles if (language := alphabet.language_of(voice))}


def _pieces(ipa: str, longest: int) -> list[str]:
    """At most `longest` letters each, cut after the last punctuation, else the last space, that fits."""
    pieces = []
    while len(ipa) > longest:
        head = ipa[:longest]
        cut = max((head.rfind(mark) for mark in ".?!;:,"), default=-1)
        cut = cut if cut > 0 else head.rfind(" ")
        cut = cut + 1 if cut > 0 else longest
        pieces.append(ipa[:cut].strip())
        ipa = ipa[cut:].strip()
    return [*pieces, ipa] if ipa else pieces


def _frames(durations: Floats, speed: float) -> Floats:
    """Whole frames per token at a speed: rounded so that errors do not add up, and none is left out."""
    scaled = np.maximum(durations[1:-2], 1) / speed
    edges = np.round(np.concatenate([[0], np.cumsum(scaled)]))
    body = np.maximum(np.diff(edges), 1)
    return np.concatenate([[_FIRST_PAD_FRAMES], body, _END_FRAMES]).astype(np.float32)


def _computed_s(frames: Floats) -> float:
    return float(frames.sum() - models.KOKORO_UNHEARD_FRAMES) * FRAME_S


def _sounding_s(durations: Floats, speed: float) -> float:
    return float(np.maximum(durations[1:-3], 1).sum()) * FRAME_S / speed + _SOUND_BEYOND_S
