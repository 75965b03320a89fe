"""Engines one after the other, as one engine: the first that can do the language, and the next when it fails.

Only what may be better with another engine is tried again; the log says which engine failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from dubrelay import logs
from dubrelay.errors import Stage, StsError
from dubrelay.sts.asr.base import Asr, Detection, Transcript, detecting, to_english, told
from dubrelay.sts.mt.base import NO_WISH, Translator, Wish, heeds
from dubrelay.sts.route import EVERY, can, closed, translates
from dubrelay.sts.tts.base import FollowsOriginal, Original, Prepared, Speech, Tts

E = TypeVar("E", Asr, Translator, Tts)
T = TypeVar("T")
Told = Callable[[Any, Exception | None], None]
"""Hears of each engine that was asked, and what it raised; None: it answered."""


class _Chain(Generic[E]):
    stage: Stage

    def __init__(self, name: str, engines: Sequence[E]) -> None:
        self.name = name
        self.licence = _licences(engines)
        self.concurrency: int = getattr(engines[0], "concurrency", 1) if engines else 1
        self.members: list[E] = list(engines)
        self.told: Told = lambda engine, error: None
        self.left_out: Callable[[Any], bool] = lambda engine: False
        """Which members are not asked as long as there is another one."""

    def close(self) -> None:
        for engine in self.members:
            closed(engine)

    def _first_answer(self, engines: Sequence[E], ask: Callable[[E], T], *, proves: bool = True) -> T:
        """Of the first engine that does not fail; what the last one raised, when all of them do. `proves`: who answers
        works."""
        failure: Exception | None = None
        for engine in [engine for engine in engines if not self.left_out(engine)] or engines:
            try:
                answer = ask(engine)
            except Exception as e:
                logs.get().warning("engine failed", stage=self.stage, engine=engine.name, error=type(e).__name__)
                self.told(engine, e)
                failure = e
            else:
                if proves:
                    self.told(engine, None)
                return answer
        if failure is None:
            raise StsError("UNSUPPORTED_LANGUAGE", "no engine of the chain knows the language", stage=self.stage)
        raise failure


class AsrChain(_Chain[Asr]):
    stage = "asr"
    takes_terms = True

    def __init__(self, name: str, engines: Sequence[Asr]) -> None:
        super().__init__(name, engines)
        self.languages = frozenset(language for engine in engines for language in engine.languages)
        self.detects = bool(self._linguists())

    @property
    def to_english(self) -> frozenset[str]:
        known = frozenset(language for engine in self.members for language in to_english(engine))
        if EVERY in known:
            return self.languages - {"en"}
        return known if EVERY in self.languages else known & self.languages

    def transcribe(self, samples: npt.NDArray[np.float32], language: str, terms: Sequence[str] = ()) -> Transcript:
        able = [engine for engine in self.members if can(language, engine.languages)]
        return self._first_answer(able, lambda engine: told(engine, terms)(samples, language))

    def translate(self, samples: npt.NDArray[np.float32], language: str) -> Transcript:
        able: list[Any] = [engine for engine in self.members if can(language, to_english(engine))]
        heard: Transcript = self._first_answer(able, lambda engine: engine.translate(samples, language))  # type: ignore[attr-defined]
        return heard

    def detect(self, samples: npt.NDArray[np.float32]) -> Detection:
        """As the first that can tell, heard by the first that knows the language."""
        found: Detection = self._first_answer(self._linguists(), lambda engine: engine.detect(samples))  # type: ignore[attr-defined]

        def hear(language: str, in_english: bool) -> Transcript:
            return self.translate(samples, language) if in_english else self.transcribe(samples, language)

        return Detection(found.probabilities, hear)

    def _linguists(self) -> list[Any]:
        return [linguist for engine in self.members if (linguist := detecting(engine))]


class TranslatorChain(_Chain[Translator]):
    stage = "mt"

    def __init__(self, name: str, engines: Sequence[Translator]) -> None:
        super().__init__(name, engines)
        self.pairs = frozenset(pair for engine in engines for pair in engine.pairs)
        self.shortens = any(heeds(engine, "shortens") for engine in engines)
        self.knows_context = all(heeds(engine, "knows_context") for engine in engines)
        self.knows_glossary = all(heeds(engine, "knows_glossary") for engine in engines)

    def translate(self, text: str, source: str, target: str, wish: Wish = NO_WISH) -> str:
        able = [engine for engine in self.members if translates(engine, source, target)]
        return self._first_answer(able, lambda engine: engine.translate(text, source, target, wish))


class TtsChain(_Chain[Tts]):
    """The payload of what it prepares is (engine, what that engine prepared, text, language, voice)."""

    stage = "tts"

    def __init__(self, name: str, engines: Sequence[Tts]) -> None:
        super().__init__(name, engines)
        self.languages = frozenset(language for engine in engines for language in engine.languages)
        self.min_tempo = max(engine.min_tempo for engine in engines)
        self.max_tempo = min(engine.max_tempo for engine in engines)

    def voices(self, language: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(voice for engine in self._able(language) for voice in engine.voices(language)))

    def prepare(self, text: str, language: str, voice: str) -> Prepared:
        able = sorted(self._able(language), key=lambda engine: voice not in engine.voices(language))
        return self._first_answer(able, lambda engine: _prepared(engine, text, language, voice), proves=False)

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

        return self._first_answer([chosen, *others], say)

    def _able(self, language: str) -> list[Tts]:
        return [engine for engine in self.members if can(language, engine.languages)]


def _prepared(engine: Tts, text: str, language: str, voice: str) -> Prepared:
    voices = engine.voices(language)
    own = engine.prepare(text, language, voice if voice in voices else voices[0])
    return replace(own, payload=(engine, own, text, language, voice))


def _licences(engines: Iterable[Any]) -> str:
    return "; ".join(dict.fromkeys(getattr(engine, "licence", "") for engine in engines))
