"""Engines one after the other, as one engine: the first that can do the language, and the next when it fails.

Only what may be better with another engine is tried again; the log says which engine failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from dubrelay import logs
from dubrelay.errors import Stage, StsError
from dubrelay.sts.asr.base import Asr, Detection, Transcript, detecting, to_english
from dubrelay.sts.mt.base import NO_WISH, Translator, Wish, heeds
from dubrelay.sts.route import EVERY, can, closed, translates
from dubrelay.sts.tts.base import FollowsOriginal, Original, Prepared, Speech, Tts

E = TypeVar("E", Asr, Translator, Tts)
T = TypeVar("T")


class AsrChain:
    def __init__(self, name: str, engines: Sequence[Asr]) -> None:
        self.name = name
        self.licence = _licences(engines)
        self._engines = engines
        self.languages = frozenset(language for engine in engines for language in engine.languages)
        self._linguists: list[Any] = [linguist for engine in engines if (linguist := detecting(engine))]
        self._translating: list[Any] = [engine for engine in engines if to_english(engine)]
        self.detects = bool(self._linguists)

    @property
    def to_english(self) -> frozenset[str]:
        known = frozenset(language for engine in self._translating for language in to_english(engine))
        if EVERY in known:
            return self.languages - {"en"}
        return known if EVERY in self.languages else known & self.languages

    def transcribe(self, samples: npt.NDArray[np.float32], language: str) -> Transcript:
        able = [engine for engine in self._engines if can(language, engine.languages)]
        return _first_answer("asr", able, lambda engine: engine.transcribe(samples, language))

    def translate(self, samples: npt.NDArray[np.float32], language: str) -> Transcript:
        able = [engine for engine in self._translating if can(language, to_english(engine))]
        heard: Transcript = _first_answer("asr", able, lambda engine: engine.translate(samples, language))
        return heard

    def detect(self, samples: npt.NDArray[np.float32]) -> Detection:
        """As the first that can tell, heard by the first that knows the language."""
        found: Detection = _first_answer("asr", self._linguists, lambda engine: engine.detect(samples))

        def hear(language: str, in_english: bool) -> Transcript:
            return self.translate(samples, language) if in_english else self.transcribe(samples, language)

        return Detection(found.probabilities, hear)

    def close(self) -> None:
        for engine in self._engines:
            closed(engine)


class TranslatorChain:
    def __init__(self, name: str, engines: Sequence[Translator]) -> None:
        self.name = name
        self.licence = _licences(engines)
        self._engines = engines
        self.pairs = frozenset(pair for engine in engines for pair in engine.pairs)
        self.shortens = any(heeds(engine, "shortens") for engine in engines)
        self.knows_context = all(heeds(engine, "knows_context") for engine in engines)
        self.knows_glossary = all(heeds(engine, "knows_glossary") for engine in engines)

    def translate(self, text: str, source: str, target: str, wish: Wish = NO_WISH) -> str:
        able = [engine for engine in self._engines if translates(engine, source, target)]
        return _first_answer("mt", able, lambda engine: engine.translate(text, source, target, wish))

    def close(self) -> None:
        for engine in self._engines:
            closed(engine)


class TtsChain:
    """The payload of what it prepares is (engine, what that engine prepared, text, language, voice)."""

    def __init__(self, name: str, engines: Sequence[Tts]) -> None:
        self.name = name
        self.licence = _licences(engines)
        self._engines = engines
        self.languages = frozenset(language for engine in engines for language in engine.languages)
        self.min_tempo = max(engine.min_tempo for engine in engines)
        self.max_tempo = min(engine.max_tempo for engine in engines)

    def voices(self, language: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(voice for engine in self._able(language) for voice in engine.voices(language)))

    def prepare(self, text: str, language: str, voice: str) -> Prepared:
        able = sorted(self._able(language), key=lambda engine: voice not in engine.voices(language))
        return _first_answer("tts", able, lambda engine: _prepared(engine, text, language, voice))

    def follow(self, prepared: Prepared, original: Original) -> Prepared:
        engine, own, *rest = prepared.payload
        if isinstance(engine, FollowsOriginal):
            own = engine.follow(own, original)
        assert isinstance(own, Prepared)
        return replace(own, payload=(engine, own, *rest))

    def speak(self, prepared: Prepared, tempo: float) -> Speech:
        chosen, own, text, language, voice = prepared.payload
        others = [engine for engine in self._able(language) if engine is not chosen]

        def say(engine: Tts) -> Speech:
            ready = own if engine is chosen else _prepared(engine, text, language, voice).payload[1]
            return engine.speak(ready, tempo)

        return _first_answer("tts", [chosen, *others], say)

    def close(self) -> None:
        for engine in self._engines:
            closed(engine)

    def _able(self, language: str) -> list[Tts]:
        return [engine for engine in self._engines if can(language, engine.languages)]


def _prepared(engine: Tts, text: str, language: str, voice: str) -> Prepared:
    voices = engine.voices(language)
    own = engine.prepare(text, language, voice if voice in voices else voices[0])
    return replace(own, payload=(engine, own, text, language, voice))


def _first_answer(stage: Stage, engines: Sequence[E], ask: Callable[[E], T]) -> T:
    """Of the first engine that does not fail; what the last one raised, when all of them do."""
    failure: Exception | None = None
    for engine in engines:
        try:
            return ask(engine)
        except Exception as e:
            logs.get().warning("engine failed", stage=stage, engine=engine.name, error=type(e).__name__)
            failure = e
    if failure is None:
        raise StsError("UNSUPPORTED_LANGUAGE", "no engine of the chain knows the language", stage=stage)
    raise failure


def _licences(engines: Iterable[Any]) -> str:
    return "; ".join(dict.fromkeys(getattr(engine, "licence", "") for engine in engines))
