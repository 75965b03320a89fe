"""Which of the loaded engines does what for a pair of languages.

In a ranked list the first engine that can do a language does it; `*` in an engine's languages is every language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dubrelay.errors import Stage, StsError
from dubrelay.sts.asr.base import Asr
from dubrelay.sts.mt.base import Translator
from dubrelay.sts.tts.base import Tts

Pair = tuple[str, str]
E = TypeVar("E")

EVERY = "*"


@dataclass(frozen=True)
class Route:
    """Who does what for one phrase."""

    asr: Asr
    mt: Translator
    tts: Tts
    voice: str
    fast: Tts | None
    """The synthesiser that is asked when `tts` would be late."""
    fast_voice: str


@dataclass(frozen=True)
class Engines:
    """The loaded engines, each list in the order of preference."""

    asr: tuple[Asr, ...]
    mt: tuple[Translator, ...]
    tts: tuple[Tts, ...]
    tts_fast: tuple[Tts, ...] = ()

    def pairs(self) -> frozenset[Pair]:
        """The pairs (source, target) that can be dubbed end to end."""
        heard = {language for asr in self.asr for language in asr.languages}
        spoken = {language for tts in self.tts for language in tts.languages}
        translated = {pair for mt in self.mt for pair in mt.pairs}
        return frozenset(
            (source, target)
            for pair in translated
            for source in _both(pair[0], heard)
            for target in _both(pair[1], spoken)
        )

    def route(self, source: str, target: str, voice: str) -> Route:
        """`voice` "default" is the first voice of the first engine. StsError UNSUPPORTED_LANGUAGE says what lacks."""
        asr = _first(self.asr, lambda engine: can(source, engine.languages))
        mt = _first(self.mt, lambda engine: translates(engine, source, target))
        speakers = [engine for engine in self.tts if can(target, engine.languages)]
        if asr is None or mt is None or not speakers:
            raise self._unsupported(source, target, asr is None, mt is None, not speakers)
        tts = _first(speakers, lambda engine: voice == "default" or voice in engine.voices(target))
        if tts is None:
            offered = ", ".join(name for engine in speakers for name in engine.voices(target))
            raise StsError(
                "UNSUPPORTED_LANGUAGE",
                f"config.voice_profile = {voice!r}: {target} has default, {offered}",
                stage="tts",
            )
        fast = _first(self.tts_fast, lambda engine: can(target, engine.languages))
        fast_voice = _voice(fast, target, voice) if fast else ""
        return Route(asr, mt, tts, _voice(tts, target, voice), fast, fast_voice)

    def _unsupported(self, source: str, target: str, no_asr: bool, no_mt: bool, no_tts: bool) -> StsError:
        lacks = []
        if no_asr:
            lacks.append(f"an engine in sts.asr that understands {source} (now: {_names(self.asr)})")
        if no_mt:
            lacks.append(f"an engine in sts.mt that translates {source} to {target} (now: {_names(self.mt)})")
        if no_tts:
            lacks.append(f"an engine in sts.tts that speaks {target} (now: {_names(self.tts)})")
        possible = ", ".join(f"{a} to {b}" for a, b in sorted(self.pairs())) or "nothing"
        stage: Stage = "asr" if no_asr else "mt" if no_mt else "tts"
        message = f"{source} to {target} needs {' and '.join(lacks)}; possible here: {possible}"
        return StsError("UNSUPPORTED_LANGUAGE", message, stage=stage)

    def loaded(self) -> Iterable[tuple[Stage, Asr | Translator | Tts]]:
        """Each engine once."""
        yield from (("asr", engine) for engine in self.asr)
        yield from (("mt", engine) for engine in self.mt)
        yield from (("tts", engine) for engine in dict.fromkeys((*self.tts, *self.tts_fast)))

    def close(self) -> None:
        """Ends what the engines started."""
        for _, engine in self.loaded():
            closed(engine)


def closed(engine: Any) -> None:
    """Ends what the engine started, if it started anything."""
    close = getattr(engine, "close", None)
    if close is not None:
        close()


def _both(language: str, known: set[str]) -> set[str]:
    """The languages that one stage offers as `language` and the next one knows, `*` being every language."""
    if language == EVERY:
        return known
    return {language} if can(language, known) else set()


def translates(engine: Translator, source: str, target: str) -> bool:
    return any(s in (source, EVERY) and t in (target, EVERY) for s, t in engine.pairs)


def can(language: str, languages: Iterable[str]) -> bool:
    return language in languages or EVERY in languages


def _voice(engine: Tts, language: str, voice: str) -> str:
    voices = engine.voices(language)
    return voice if voice in voices else voices[0]


def _first(engines: Sequence[E], able: Callable[[E], bool]) -> E | None:
    return next((engine for engine in engines if able(engine)), None)


def _names(engines: Sequence[Any]) -> str:
    return ", ".join(engine.name for engine in engines)
