"""Which of the loaded engines does what for a pair of languages.

In a ranked list the first engine that can do a language does it; `*` in an engine's languages is every language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from dubrelay.errors import ConfigError, Stage, StsError
from dubrelay.sts.asr.base import Asr, Linguist, detecting, to_english
from dubrelay.sts.mt.base import Translator
from dubrelay.sts.tts.base import Tts

Pair = tuple[str, str]
E = TypeVar("E")

EVERY = "*"
_SHOWN_PAIRS = 20
_SHOWN_CURES = 3


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
    fast_asr: Asr | None = None
    fast_mt: Translator | None = None
    """Likewise; None: there is no other engine that is faster."""


@dataclass(frozen=True)
class Engines:
    """The loaded engines, each list in the order of preference."""

    asr: tuple[Asr, ...]
    mt: tuple[Translator, ...]
    tts: tuple[Tts, ...]
    tts_fast: tuple[Tts, ...] = ()
    asr_fast: tuple[Asr, ...] = ()
    mt_fast: tuple[Translator, ...] = ()

    def pairs(self) -> frozenset[Pair]:
        """The pairs (source, target) that can be dubbed end to end."""
        return self._pairs

    @cached_property
    def _pairs(self) -> frozenset[Pair]:
        spoken = {language for tts in self.tts for language in tts.languages}
        return frozenset(
            (source, target)
            for mt in self.mt
            for pair in mt.pairs
            for source in _both(pair[0], self._heard_for(mt))
            for target in _both(pair[1], spoken)
        )

    def require_a_pair(self) -> None:
        """ConfigError when there is nothing that can be dubbed; it says what would make something possible."""
        if self._pairs:
            return
        heard = {language for asr in self.asr for language in asr.languages}
        spoken = {language for tts in self.tts for language in tts.languages}
        translated = {pair for mt in self.mt for pair in mt.pairs}
        near = sorted(
            (not can(s, heard), not can(t, spoken), s, t)
            for source, target in translated
            for s in (heard if source == EVERY else {source})
            for t in (spoken if target == EVERY else {target})
            if s != t
        )
        cures = [f"{s} to {t} needs {' and '.join(self._lacking(s, t).values())}" for *_, s, t in near[:_SHOWN_CURES]]
        pairs = _listed("-".join(pair) for pair in translated)
        has = f"heard: {_listed(heard)}; translated: {pairs}; spoken: {_listed(spoken)}"
        raise ConfigError(
            "; ".join([f"sts.asr, sts.mt and sts.tts can dub no pair of languages together: {has}", *cures])
        )

    def can_dub(self, source: str, target: str) -> bool:
        return self._ears(source, target) != (None, None) and any(can(target, tts.languages) for tts in self.tts)

    def _heard_for(self, mt: Translator) -> set[str]:
        """The languages that are heard in a way that a translator can go on from."""
        return {language for asr in self.asr for language in _ways_to_hear(asr, mt)}

    def linguist(self) -> Linguist | None:
        """The first recogniser that can tell languages apart."""
        return next((linguist for asr in self.asr if (linguist := detecting(asr))), None)

    def route_before_hearing(self, target: str, voice: str, before: str | None) -> tuple[Route, str]:
        """A route and its source language for a phrase whose language will be detected: `before` where that can be.

        StsError UNSUPPORTED_LANGUAGE when nothing can tell languages apart, or nothing can be dubbed to `target`.
        """
        if self.linguist() is None:
            raise StsError(
                "UNSUPPORTED_LANGUAGE",
                "config.source_language = 'auto' needs an engine in sts.asr that tells languages apart: a "
                f"multilingual whisper, or openai-transcription with verbose_json (now: {_names(self.asr)})",
                stage="asr",
            )
        if before is not None and self.can_dub(before, target):
            return self.route(before, target, voice), before
        likely = ["en", "es", *sorted(s for s, t in self._pairs if s != EVERY and t in (target, EVERY))]
        source = next((source for source in likely if self.can_dub(source, target)), None)
        if source is None:
            possible = _listed(f"{a} to {b}" for a, b in self._pairs)
            message = f"nothing can be dubbed to {target}; possible here: {possible}"
            raise StsError("UNSUPPORTED_LANGUAGE", message, stage="mt")
        return self.route(source, target, voice), source

    def route(self, source: str, target: str, voice: str) -> Route:
        """`voice` "default" is the first voice of the first engine. StsError UNSUPPORTED_LANGUAGE says what lacks."""
        asr, mt = self._ears(source, target)
        speakers = [engine for engine in self.tts if can(target, engine.languages)]
        if asr is None or mt is None or not speakers:
            raise self._unsupported(source, target)
        tts = _first(speakers, lambda engine: voice == "default" or voice in engine.voices(target))
        if tts is None:
            offered = ", ".join(name for engine in speakers for name in engine.voices(target))
            raise StsError(
                "UNSUPPORTED_LANGUAGE",
                f"config.voice_profile = {voice!r}: {target} has default, {offered}",
                stage="tts",
            )
        fast = _first(self.tts_fast, lambda engine: engine is not tts and can(target, engine.languages))
        fast_voice = _voice(fast, target, voice) if fast else ""
        voice = _voice(tts, target, voice)
        if while_hearing(mt):
            return Route(asr, mt, tts, voice, fast, fast_voice)
        fast_asr = _first(self.asr_fast, lambda engine: engine is not asr and can(source, engine.languages))
        after = [engine for engine in self.mt_fast if engine is not mt and not while_hearing(engine)]
        fast_mt = _first(after, lambda engine: translates(engine, source, target))
        return Route(asr, mt, tts, voice, fast, fast_voice, fast_asr, fast_mt)

    def _ears(self, source: str, target: str) -> tuple[Asr | None, Translator | None]:
        """The first translator that some recogniser can hear for, with the first one that can."""
        for mt in self.mt:
            if translates(mt, source, target):
                for asr in self.asr:
                    if can(source, _ways_to_hear(asr, mt)):
                        return asr, mt
        return None, None

    def _lacking(self, source: str, target: str) -> dict[Stage, str]:
        """What it would need to dub a pair that cannot be dubbed."""
        lacks: dict[Stage, str] = {}
        able = [mt for mt in self.mt if translates(mt, source, target)]
        if not any(can(source, asr.languages) for asr in self.asr):
            lacks["asr"] = f"an engine in sts.asr that understands {source} (now: {_names(self.asr)})"
        elif able and self._ears(source, target) == (None, None):
            lacks["asr"] = f"an engine in sts.asr that hears {source} as English (now: {_names(self.asr)})"
        if not able:
            lacks["mt"] = f"an engine in sts.mt that translates {source} to {target} (now: {_names(self.mt)})"
        if not any(can(target, tts.languages) for tts in self.tts):
            lacks["tts"] = f"an engine in sts.tts that speaks {target} (now: {_names(self.tts)})"
        return lacks

    def _unsupported(self, source: str, target: str) -> StsError:
        lacks = self._lacking(source, target)
        possible = _listed(f"{a} to {b}" for a, b in self._pairs)
        message = f"{source} to {target} needs {' and '.join(lacks.values())}; possible here: {possible}"
        return StsError("UNSUPPORTED_LANGUAGE", message, stage=next(iter(lacks), None))

    def loaded(self) -> Iterable[tuple[Stage, Asr | Translator | Tts]]:
        """Each engine once."""
        yield from (("asr", engine) for engine in dict.fromkeys((*self.asr, *self.asr_fast)))
        yield from (("mt", engine) for engine in dict.fromkeys((*self.mt, *self.mt_fast)))
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
    if while_hearing(engine) and source == target:
        return False
    return not engine.pairs.isdisjoint({(source, target), (source, EVERY), (EVERY, target), (EVERY, EVERY)})


def while_hearing(engine: Translator) -> bool:
    """Whether the translator is none: the recogniser hears the language as English."""
    return getattr(engine, "while_hearing", False)


def _ways_to_hear(asr: Asr, mt: Translator) -> frozenset[str]:
    return to_english(asr) if while_hearing(mt) else asr.languages


def can(language: str, languages: Iterable[str]) -> bool:
    return language in languages or EVERY in languages


def _voice(engine: Tts, language: str, voice: str) -> str:
    voices = engine.voices(language)
    return voice if voice in voices else voices[0]


def _first(engines: Sequence[E], able: Callable[[E], bool]) -> E | None:
    return next((engine for engine in engines if able(engine)), None)


def _listed(names: Iterable[str]) -> str:
    """In order, and not all of hundreds."""
    known = sorted(names)
    more = f" and {len(known) - _SHOWN_PAIRS} more" if len(known) > _SHOWN_PAIRS else ""
    return ", ".join(known[:_SHOWN_PAIRS]) + more or "nothing"


def _names(engines: Sequence[Any]) -> str:
    return ", ".join(engine.name for engine in engines)
