"""Which engines there are, loading those that are configured, and describing all of them.

The tables name each engine's class by "module:Class", so that nothing is imported that is not configured.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from dubrelay.config import Paths, Sts
from dubrelay.errors import ConfigError, DubrelayError, Stage, StartupError
from dubrelay.sts.asr.base import RATE_HZ as ASR_RATE_HZ
from dubrelay.sts.route import EVERY, Engines

Key = Literal["asr", "mt", "tts", "tts_fast"]

KEYS: tuple[Key, ...] = ("asr", "mt", "tts", "tts_fast")
STAGE_OF: dict[Key, Stage] = {"asr": "asr", "mt": "mt", "tts": "tts", "tts_fast": "tts"}
ENGINES: dict[Stage, dict[str, str]] = {
    "asr": {
        "whisper-tiny.en": "dubrelay.sts.asr.whisper:Whisper",
        "whisper-base": "dubrelay.sts.asr.whisper:Whisper",
        "mock": "dubrelay.sts.asr.mock:MockAsr",
    },
    "mt": {
        "apertium": "dubrelay.sts.mt.apertium:Apertium",
        "mock": "dubrelay.sts.mt.mock:MockTranslator",
    },
    "tts": {
        "kokoro": "dubrelay.sts.tts.kokoro:Kokoro",
        "hibari": "dubrelay.sts.tts.hibari:Hibari",
        "espeak-ng": "dubrelay.sts.tts.espeak:Espeak",
        "mock": "dubrelay.sts.tts.mock:MockTts",
    },
}
WARM_UP_TEXT = {"en": "The train arrives tomorrow.", "es": "El tren llega mañana."}


class EngineInfo(BaseModel):
    """One engine as `dubrelay engines` and GET /api/v1/engines show it."""

    name: str
    stage: Stage
    licence: str = ""
    languages: list[str] = []
    """For a translator pairs such as en-es; `*` is every language."""
    voices: dict[str, list[str]] = {}
    """By language, the default voice first; known once the engine is loaded."""
    version: str = ""
    device: str = "cpu"
    loaded: bool = False
    missing: str = ""
    """What it would need to run, in words; empty when nothing is missing."""


def check_names(settings: Sts) -> None:
    """ConfigError for the first name in sts.asr, mt, tts or tts_fast that no engine has."""
    for key in KEYS:
        allowed = ENGINES[STAGE_OF[key]]
        for name in getattr(settings, key):
            if name not in allowed:
                raise ConfigError(f"sts.{key} = {name!r}: there is no such engine; allowed: {', '.join(allowed)}")


def load(settings: Sts, paths: Paths) -> Engines:
    """Every configured engine, loaded once and warmed up. ConfigError, or StartupError naming what is missing."""
    check_names(settings)
    loaded: dict[tuple[Stage, str], Any] = {}

    def ranked(key: Key) -> tuple[Any, ...]:
        stage = STAGE_OF[key]
        for name in getattr(settings, key):
            if (stage, name) not in loaded:
                loaded[stage, name] = _loaded(stage, name, settings, paths)
        return tuple(loaded[stage, name] for name in getattr(settings, key))

    try:
        return Engines(ranked("asr"), ranked("mt"), ranked("tts"), ranked("tts_fast"))
    except BaseException:
        Engines(*(tuple(e for (s, _), e in loaded.items() if s == stage) for stage in ENGINES)).close()
        raise


def describe(settings: Sts, paths: Paths, engines: Engines | None = None) -> list[EngineInfo]:
    """Every engine there is; `engines` are the ones that are loaded in this process, if any."""
    loaded = {(stage, engine.name): engine for stage, engine in engines.loaded()} if engines else {}
    return [
        _described(stage, name, settings, paths, loaded.get((stage, name)))
        for stage, table in ENGINES.items()
        for name in table
    ]


def _loaded(stage: Stage, name: str, settings: Sts, paths: Paths) -> Any:
    lacks = _missing(stage, name, paths)
    if lacks:
        raise StartupError(f"sts.{stage}: {name} cannot be used: {lacks}")
    try:
        engine = _made(stage, name, settings, paths)
        _warm_up(stage, engine)
    except DubrelayError:
        raise
    except Exception as e:
        raise StartupError(f"sts.{stage}: {name} cannot be loaded: {one_line(e)}") from e
    return engine


def _class_of(stage: Stage, name: str) -> Any:
    module, _, class_name = ENGINES[stage][name].partition(":")
    return getattr(importlib.import_module(module), class_name)


def _missing(stage: Stage, name: str, paths: Paths) -> str:
    try:
        found: str = _class_of(stage, name).missing(paths, *_which(stage, name))
    except ImportError as e:
        return f"{one_line(e)}; run scripts/setup"
    return found


def _made(stage: Stage, name: str, settings: Sts, paths: Paths) -> Any:
    return _class_of(stage, name)(*_which(stage, name), settings, paths)


def _which(stage: Stage, name: str) -> tuple[str, ...]:
    """A class that several names share is told which one it is to be."""
    table = ENGINES[stage]
    return (name,) if list(table.values()).count(table[name]) > 1 else ()


def _warm_up(stage: Stage, engine: Any) -> None:
    """The first call of a neural engine is several times slower than the ones after it."""
    if stage == "asr":
        engine.transcribe(np.zeros(ASR_RATE_HZ, np.float32), _concrete(min(engine.languages)))
    elif stage == "mt":
        source, target = map(_concrete, min(engine.pairs))
        engine.translate(WARM_UP_TEXT.get(source, "1"), source, target)
    else:
        language = _concrete(min(engine.languages))
        prepared = engine.prepare(WARM_UP_TEXT.get(language, "1"), language, engine.voices(language)[0])
        engine.speak(prepared, 1.0)


def _described(stage: Stage, name: str, settings: Sts, paths: Paths, engine: Any) -> EngineInfo:
    missing = "" if engine else _missing(stage, name, paths)
    source: Any = engine
    if source is None:
        try:
            source = _class_of(stage, name)
        except ImportError:
            return EngineInfo(name=name, stage=stage, missing=missing)
    if stage == "mt":
        languages = sorted("-".join(pair) for pair in _known(source, "pairs"))
    else:
        languages = sorted(_known(source, "languages"))
    voices = {lang: list(engine.voices(lang)) for lang in languages} if engine and stage == "tts" else {}
    return EngineInfo(
        name=name,
        stage=stage,
        licence=getattr(source, "licence", ""),
        languages=languages,
        voices=voices,
        version=getattr(source, "version", ""),
        device=getattr(source, "device", "cpu"),
        loaded=engine is not None,
        missing=missing,
    )


def _known(source: Any, name: str) -> Iterable[Any]:
    """What depends on the model is known of the loaded engine only; its class has none, or a descriptor."""
    value = getattr(source, name, ())
    return value if isinstance(value, (frozenset, set, tuple)) else ()


def one_line(error: BaseException, limit: int = 200) -> str:
    """An error's class and the first line of its text."""
    text = str(error).strip().partition("\n")[0][:limit]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _concrete(language: str) -> str:
    return "en" if language == EVERY else language
