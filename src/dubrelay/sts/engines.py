"""Which engines there are, loading those that are configured, and describing all of them.

An engine has a kind, which is its class, and options (config.Engine). The ones that are built in have a name of their
own; `sts.engines.NAME` makes others, or one that is built in with other options. The table names each kind's class by
"module:Class", so that nothing is imported that is not configured.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from dubrelay import logs
from dubrelay.config import (
    ApertiumEngine,
    ChainEngine,
    Engine,
    EspeakEngine,
    HibariEngine,
    KokoroEngine,
    MockEngine,
    OpenAiEngine,
    Paths,
    Settings,
    Sts,
    ToEnglishEngine,
    WhisperEngine,
)
from dubrelay.errors import ConfigError, DubrelayError, Stage, StartupError, StsError
from dubrelay.sts.asr.base import RATE_HZ as ASR_RATE_HZ
from dubrelay.sts.route import EVERY, Engines, closed

Key = Literal["asr", "asr_fast", "mt", "mt_fast", "tts", "tts_fast"]

STAGE_OF: dict[Key, Stage] = {
    "asr": "asr", "asr_fast": "asr", "mt": "mt", "mt_fast": "mt", "tts": "tts", "tts_fast": "tts",
}  # fmt: skip
KINDS: dict[tuple[Stage, str], str] = {
    ("asr", "whisper"): "dubrelay.sts.asr.whisper:Whisper",
    ("asr", "openai-transcription"): "dubrelay.sts.asr.transcription:Transcription",
    ("asr", "mock"): "dubrelay.sts.asr.mock:MockAsr",
    ("asr", "chain"): "dubrelay.sts.chain:AsrChain",
    ("mt", "apertium"): "dubrelay.sts.mt.apertium:Apertium",
    ("mt", "ctranslate2"): "dubrelay.sts.mt.ct2:CTranslate2",
    ("mt", "openai-chat"): "dubrelay.sts.mt.chat:Chat",
    ("mt", "whisper-to-english"): "dubrelay.sts.mt.to_english:ToEnglish",
    ("mt", "mock"): "dubrelay.sts.mt.mock:MockTranslator",
    ("mt", "chain"): "dubrelay.sts.chain:TranslatorChain",
    ("tts", "kokoro"): "dubrelay.sts.tts.kokoro:Kokoro",
    ("tts", "piper"): "dubrelay.sts.tts.piper:Piper",
    ("tts", "openai-speech"): "dubrelay.sts.tts.openai_speech:OpenAiSpeech",
    ("tts", "hibari"): "dubrelay.sts.tts.hibari:Hibari",
    ("tts", "espeak-ng"): "dubrelay.sts.tts.espeak:Espeak",
    ("tts", "mock"): "dubrelay.sts.tts.mock:MockTts",
    ("tts", "chain"): "dubrelay.sts.chain:TtsChain",
}
BUILT_IN: dict[Stage, dict[str, Engine]] = {
    "asr": {
        "whisper-tiny.en": WhisperEngine(model="whisper-tiny.en"),
        "whisper-base": WhisperEngine(model="whisper-base"),
        "mock": MockEngine(),
    },
    "mt": {"apertium": ApertiumEngine(), "whisper-to-english": ToEnglishEngine(), "mock": MockEngine()},
    "tts": {"kokoro": KokoroEngine(), "hibari": HibariEngine(), "espeak-ng": EspeakEngine(), "mock": MockEngine()},
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
    """ConfigError for the first name in a list of engines that no engine of that stage has, and for a chain of what
    cannot be chained, also for one that is in no list."""
    for key, stage in STAGE_OF.items():
        for name in getattr(settings, key):
            _options(stage, name, settings, f"sts.{key}")
    for name, options in settings.engines.items():
        if isinstance(options, ChainEngine) and not any(name in _known(stage, settings) for stage in BUILT_IN):
            begun = [stage for stage in BUILT_IN if options.engines[0] in _links(stage, settings)]
            raise _wrong_chain(begun[0] if begun else "asr", name, options, settings)


def load(settings: Sts, paths: Paths) -> Engines:
    """Every configured engine, loaded once and warmed up.

    StartupError names what is missing. ConfigError, too, when the engines are all there and fit no pair of languages.
    """
    check_names(settings)
    loading = _Loading(settings, paths)
    try:
        engines = _in_lists(settings, loading.engine)
        engines.require_a_pair()
        return engines
    except BaseException:
        loading.close()
        raise


def load_one(settings: Settings, stage: Stage, name: str) -> Any:
    """One engine, made anew and warmed up; a chain with all that it consists of. Raises what `load` does."""
    loading = _Loading(settings.sts, settings.paths, later=False)
    try:
        return loading.engine(stage, name)
    except BaseException:
        loading.close()
        raise


def possible_pairs(settings: Sts, paths: Paths) -> frozenset[tuple[str, str]]:
    """What the configured engines will be able to dub, as far as that is known without loading them."""
    check_names(settings)
    return _in_lists(settings, lambda stage, name: _unloaded(stage, name, settings, paths)).pairs()


def in_use(settings: Sts) -> set[tuple[Stage, str]]:
    """The engines in the lists, fast ones too, and those in their chains."""
    check_names(settings)
    listed = {(stage, name) for key, stage in STAGE_OF.items() for name in getattr(settings, key)}
    chains = [
        (stage, options) for stage, name in listed if isinstance(options := _known(stage, settings)[name], ChainEngine)
    ]
    return listed | {(stage, member) for stage, chain in chains for member in chain.engines}


def describe(settings: Sts, paths: Paths, engines: Engines | None = None) -> list[EngineInfo]:
    """Every engine there is; `engines` are the ones that are loaded in this process, if any."""
    loaded = {(stage, engine.name): engine for stage, engine in engines.loaded()} if engines else {}
    return [
        _described(stage, name, options, settings, paths, loaded.get((stage, name)))
        for stage in BUILT_IN
        for name, options in _known(stage, settings).items()
    ]


def _in_lists(settings: Sts, engine: Callable[[Stage, str], Any]) -> Engines:
    """The engines as the settings list them; those that are None are left out."""
    lists: dict[Key, tuple[Any, ...]] = {}
    for key, stage in STAGE_OF.items():
        made = [engine(stage, name) for name in getattr(settings, key)]
        lists[key] = tuple(one for one in made if one is not None)
    return Engines(**lists)


class _Loading:
    """Engines made so far: one that stands in two lists is made once."""

    def __init__(self, settings: Sts, paths: Paths, *, later: bool = True) -> None:
        """`later`: a service elsewhere need not be there yet."""
        self._settings, self._paths, self._later = settings, paths, later
        self._made: dict[tuple[Stage, str], Any] = {}

    def engine(self, stage: Stage, name: str) -> Any:
        if (stage, name) not in self._made:
            self._made[stage, name] = self._loaded(stage, name)
        return self._made[stage, name]

    def close(self) -> None:
        for engine in self._made.values():
            closed(engine)

    def _loaded(self, stage: Stage, name: str) -> Any:
        options = _options(stage, name, self._settings, f"sts.{stage}")
        if lacks := _missing(stage, options, self._paths):
            raise StartupError(f"sts.{stage}: {name} cannot be used: {lacks}")
        engine: Any = None
        try:
            if isinstance(options, ChainEngine):
                members = [self.engine(stage, member) for member in options.engines]
                engine = _class_of(stage, options.kind)(name, members)
            else:
                engine = _class_of(stage, options.kind)(name, options, self._settings, self._paths)
            _limit(stage, engine, options)
            if options.workers is not None:
                engine.concurrency = options.workers
            _warm_up(stage, engine)
        except StsError as e:
            # A service elsewhere may be there later; one that says no will say it again.
            if not (e.retryable and self._later and self._elsewhere(stage, options)):
                closed(engine)
                raise StartupError(f"sts.{stage}: {name} cannot be used: {e.message}") from e
            logs.get().warning("engine is not there yet", stage=stage, engine=name, message=e.message)
        except DubrelayError:
            raise
        except Exception as e:
            raise StartupError(f"sts.{stage}: {name} cannot be loaded: {one_line(e)}") from e
        return engine

    def _elsewhere(self, stage: Stage, options: Engine) -> bool:
        """Whether it computes on another machine, all of it or a part of a chain."""
        if isinstance(options, ChainEngine):
            members = (_options(stage, name, self._settings, f"sts.{stage}") for name in options.engines)
            return any(self._elsewhere(stage, member) for member in members)
        return isinstance(options, OpenAiEngine)


def _known(stage: Stage, settings: Sts) -> dict[str, Engine]:
    """By name; the operator's own take the place of those that are built in. A chain is of the stage that all of its
    engines are of."""
    links = _links(stage, settings)

    def here(options: Engine) -> bool:
        if isinstance(options, ChainEngine):
            return all(member in links for member in options.engines)
        return (stage, options.kind) in KINDS

    return BUILT_IN[stage] | {name: options for name, options in settings.engines.items() if here(options)}


def _links(stage: Stage, settings: Sts) -> dict[str, Engine]:
    """What can be part of a chain, by name."""
    own = {name: options for name, options in settings.engines.items() if (stage, options.kind) in KINDS}
    known = BUILT_IN[stage] | own
    return {name: options for name, options in known.items() if not isinstance(options, (ChainEngine, ToEnglishEngine))}


def _options(stage: Stage, name: str, settings: Sts, where: str) -> Engine:
    known = _known(stage, settings)
    if name in known:
        return known[name]
    chain = settings.engines.get(name)
    if isinstance(chain, ChainEngine):
        raise _wrong_chain(stage, name, chain, settings)
    raise _no_such(where, name, known)


def _wrong_chain(stage: Stage, name: str, chain: ChainEngine, settings: Sts) -> ConfigError:
    """Of a chain that is not of that stage: names the engine that keeps it from it."""
    links, where = _links(stage, settings), f"sts.engines.{name}.engines"
    member = next(member for member in chain.engines if member not in links)
    if isinstance(settings.engines.get(member), ChainEngine):
        return ConfigError(f"{where} = {member!r}: a chain cannot be part of a chain")
    if isinstance((BUILT_IN[stage] | settings.engines).get(member), ToEnglishEngine):
        return ConfigError(f"{where} = {member!r}: what the recogniser does cannot be part of a chain")
    return _no_such(where, member, links)


def _no_such(where: str, name: str, known: Iterable[str]) -> ConfigError:
    allowed = ", ".join(known)
    return ConfigError(f"{where} = {name!r}: there is no such engine; allowed: {allowed}, or one of sts.engines")


def _limit(stage: Stage, engine: Any, options: Engine) -> None:
    """To `languages`: what it does not know of them is left out, `*` becomes them."""
    if options.languages is None:
        return
    wanted = options.languages
    if stage == "mt":
        engine.pairs = frozenset((s, w) for s, t in engine.pairs for w in wanted if t in (w, EVERY))
    else:
        engine.languages = frozenset(w for w in wanted if w in engine.languages or EVERY in engine.languages)
    if not (engine.pairs if stage == "mt" else engine.languages):
        raise ConfigError(f"sts.engines.{engine.name}.languages = {wanted}: it knows none of them")


def _class_of(stage: Stage, kind: str) -> Any:
    module, _, class_name = KINDS[stage, kind].partition(":")
    return getattr(importlib.import_module(module), class_name)


def _missing(stage: Stage, options: Engine, paths: Paths) -> str:
    if isinstance(options, ChainEngine):
        return ""
    try:
        found: str = _class_of(stage, options.kind).missing(options, paths)
    except ImportError as e:
        return f"{one_line(e)}; run scripts/setup"
    return found


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


def _unloaded(stage: Stage, name: str, settings: Sts, paths: Paths) -> Any:
    """What is known of an engine before it is loaded, in its place; None where its library is missing."""
    options = _options(stage, name, settings, f"sts.{stage}")
    try:
        known = _class_of(stage, options.kind)
    except ImportError:
        return None
    if isinstance(options, ChainEngine):
        members = [_unloaded(stage, member, settings, paths) for member in options.engines]
        engine = known(name, [member for member in members if member is not None])
    else:
        engine = object.__new__(known)
        engine.name, engine._options = name, options
    key, offers = "pairs" if stage == "mt" else "languages", getattr(known, "offers", None)
    with suppress(AttributeError):  # a property: known of the loaded engine only
        setattr(engine, key, offers(options, paths) if offers else frozenset(_of(engine, key)))
        with suppress(ConfigError):
            _limit(stage, engine, options)
        return engine
    return None


def _described(stage: Stage, name: str, options: Engine, settings: Sts, paths: Paths, engine: Any) -> EngineInfo:
    missing = "" if engine else _missing(stage, options, paths)
    source: Any = engine or _unloaded(stage, name, settings, paths)
    if source is None:
        try:
            source = _class_of(stage, options.kind)
        except ImportError:
            return EngineInfo(name=name, stage=stage, missing=missing)
    if stage == "mt":
        languages = sorted("-".join(pair) for pair in _of(source, "pairs"))
    else:
        languages = sorted(_of(source, "languages"))
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


def _of(source: Any, name: str) -> Iterable[Any]:
    """What depends on the model is known of the loaded engine only; its class has none, or a descriptor."""
    value = getattr(source, name, ())
    return value if isinstance(value, (frozenset, set, tuple)) else ()


def one_line(error: BaseException, limit: int = 200) -> str:
    """An error's class and the first line of its text."""
    text = str(error).strip().partition("\n")[0][:limit]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _concrete(language: str) -> str:
    return "en" if language == EVERY else language
