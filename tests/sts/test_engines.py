from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dubrelay import config
from dubrelay.config import Paths
from dubrelay.errors import ConfigError, StartupError, StsError
from dubrelay.sts import engines as tables
from dubrelay.sts.engines import BUILT_IN, KINDS, check_names, describe, in_use, load
from dubrelay.sts.route import Engines
from sts_parts import TinyAsr, TinyTranslator, TinyTts, mock_settings, tiny_sts

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("key", ["asr", "mt", "tts", "tts_fast"])
def test_an_unknown_engine_is_named_with_its_key_and_what_is_allowed(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tiny_sts(**{key: ["kokodo"]}), Paths())
    assert caught.value.exit_code == 2
    allowed = ", ".join(BUILT_IN["tts" if key == "tts_fast" else key])  # type: ignore[index]
    assert caught.value.message == (
        f"sts.{key} = 'kokodo': there is no such engine; allowed: {allowed}, or one of sts.engines"
    )


def test_the_configured_engines_load_and_are_warm() -> None:
    engines = load(tiny_sts(tts_fast=["mock"]), Paths())
    assert [engine.name for stage, engine in engines.loaded()] == ["mock", "mock", "mock"]
    assert engines.tts[0] is engines.tts_fast[0], "an engine in two lists is loaded once"
    engines.close()


def test_an_engine_whose_parts_are_missing_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, ("asr", "mock"), "dubrelay.sts.asr.gone:Gone")
    with pytest.raises(StartupError) as caught:
        load(tiny_sts(), Paths())
    assert caught.value.exit_code == 3
    assert caught.value.message.startswith("sts.asr: mock cannot be used: ModuleNotFoundError")


class BreaksOnLoad(TinyAsr):
    @classmethod
    def missing(cls, *_: object) -> str:
        return ""

    def __init__(self, *_: object) -> None:
        raise RuntimeError("bad weights\nlong tail")


def test_an_engine_that_cannot_be_loaded_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_class_of", lambda *_: BreaksOnLoad)
    with pytest.raises(StartupError) as caught:
        load(tiny_sts(), Paths())
    assert caught.value.message == "sts.asr: mock cannot be loaded: RuntimeError: bad weights"


def test_what_was_loaded_is_closed_when_a_later_engine_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    translator = TinyTranslator()

    def loaded(_: object, stage: str, name: str) -> object:
        if stage == "tts":
            raise StartupError("no voice")
        return translator if stage == "mt" else TinyAsr()

    monkeypatch.setattr(tables._Loading, "_loaded", loaded)
    with pytest.raises(StartupError, match="no voice"):
        load(tiny_sts(), Paths())
    assert translator.closed


ASR_EN, ASR_ANY = TinyAsr(languages=("en",)), TinyAsr(languages=("en", "es"))
MT = TinyTranslator(pairs=(("en", "es"), ("es", "en"), ("en", "ca")))
ES, EN = TinyTts("spanish", languages=("es",)), TinyTts("english", languages=("en",), voices=("heart",))
BOTH = Engines((ASR_EN, ASR_ANY), (MT,), (ES, EN), (TinyTts("robot", languages=("en", "es"), voices=("r2",)),))


def test_pairs_are_those_that_can_be_dubbed_end_to_end() -> None:
    assert BOTH.pairs() == {("en", "es"), ("es", "en")}


def test_mock_engines_do_every_pair() -> None:
    engines = load(mock_settings().sts, Paths())
    assert engines.pairs() == {("*", "*")}
    assert engines.route("xx", "yy", "default").tts.name == "mock"


def test_a_star_takes_the_languages_of_its_neighbours() -> None:
    engines = Engines((TinyAsr(languages=("*",)),), (MT,), (TinyTts(languages=("*",)),))
    assert engines.pairs() == MT.pairs


def test_the_first_engine_that_can_do_the_language_does_it() -> None:
    route = BOTH.route("en", "es", "default")
    assert (route.asr, route.tts.name, route.voice, route.fast_voice) == (ASR_EN, "spanish", "ana", "r2")
    route = BOTH.route("es", "en", "default")
    assert (route.asr, route.tts.name, route.voice) == (ASR_ANY, "english", "heart")


def test_a_voice_is_taken_from_the_engine_that_has_it() -> None:
    second = TinyTts("second", voices=("eva",))
    engines = Engines((ASR_EN,), (MT,), (ES, second))
    assert engines.route("en", "es", "luis").voice == "luis"
    assert engines.route("en", "es", "eva").tts is second


def test_an_unknown_voice_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(StsError) as caught:
        BOTH.route("en", "es", "eva")
    assert (caught.value.code, caught.value.stage) == ("UNSUPPORTED_LANGUAGE", "tts")
    assert caught.value.message == "config.voice_profile = 'eva': es has default, ana, luis"


@pytest.mark.parametrize(
    ("source", "target", "stage", "needs"),
    [
        ("de", "es", "asr", "sts.asr that understands de (now: tiny-asr, tiny-asr)"),
        ("es", "de", "mt", "sts.mt that translates es to de (now: tiny-mt)"),
        ("en", "ca", "tts", "sts.tts that speaks ca (now: spanish, english)"),
        ("en", "en", "mt", "sts.mt that translates en to en"),
    ],
)
def test_an_impossible_pair_says_what_would_make_it_possible(source: str, target: str, stage: str, needs: str) -> None:
    with pytest.raises(StsError) as caught:
        BOTH.route(source, target, "default")
    error = caught.value
    assert (error.code, error.stage, error.retryable) == ("UNSUPPORTED_LANGUAGE", stage, False)
    assert needs in error.message
    assert error.message.endswith("possible here: en to es, es to en")


def test_every_engine_is_described_whether_it_is_loaded_or_not() -> None:
    settings = tiny_sts()
    infos = describe(settings, Paths(), load(settings, Paths()))
    assert {(info.stage, info.name) for info in infos} == {(s, name) for s, table in BUILT_IN.items() for name in table}
    mock = next(info for info in infos if (info.stage, info.name) == ("tts", "mock"))
    assert mock.loaded and not mock.missing
    assert (mock.languages, mock.voices, mock.licence) == (["*"], {"*": ["tone"]}, "Apache-2.0")
    assert not [info for info in infos if info.loaded and info.name != "mock"]


def test_each_engine_of_the_tables_says_what_it_is_without_being_loaded() -> None:
    for info in describe(tiny_sts(), Paths()):
        assert info.licence, f"{info.stage} {info.name} has no licence; missing: {info.missing}"


def test_an_engine_of_ones_own_is_limited_to_its_languages() -> None:
    own = {"robot": {"kind": "mock", "languages": ["es", "ca"]}}
    engines = load(tiny_sts(mt=["robot"], engines=own), Paths())
    assert engines.pairs() == {("*", "es"), ("*", "ca")}
    with pytest.raises(StsError, match="translates en to de"):
        engines.route("en", "de", "default")


def test_languages_that_an_engine_does_not_know_are_refused_at_the_start() -> None:
    own = {"french": {"kind": "espeak-ng", "languages": ["xx"]}}
    with pytest.raises(ConfigError, match=r"sts.engines.french.languages = \['xx'\]: it knows none of them"):
        load(tiny_sts(tts=["french"], engines=own), Paths())


@pytest.mark.parametrize(
    ("engines", "problem"),
    [
        ({"x": {"kind": "whispr"}}, "kind"),
        ({"x": {"kind": "whisper", "model": "m", "beam": 3}}, "beam: there is no such key"),
        ({"x": {"kind": "whisper"}}, "sts.engines.x.model"),
        ({"X Y": {"kind": "mock"}}, "sts.engines.X Y"),
    ],
)
def test_a_wrong_definition_is_named(engines: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(None, {}, {"sts.engines": engines})
    assert problem in caught.value.message


def test_definitions_reach_a_child_by_its_environment_keys_included() -> None:
    own = {"pair": {"kind": "chain", "engines": ["mock"], "languages": ["es"]}}
    settings = config.load(None, {}, {"sts.engines": own})
    assert config.load(None, config.to_environ(settings)).sts == settings.sts


def test_an_engine_of_another_stage_is_not_offered() -> None:
    with pytest.raises(ConfigError, match=r"sts\.tts = 'ears': there is no such engine"):
        load(tiny_sts(tts=["ears"], engines={"ears": {"kind": "whisper", "model": "whisper-base"}}), Paths())


def chain(*engines: str) -> dict[str, Any]:
    return {"kind": "chain", "engines": engines}


@pytest.mark.parametrize("listed", [["best"], ["mock"]], ids=["in use", "in no list"])
@pytest.mark.parametrize(
    ("engines", "problem"),
    [
        ({"best": chain("best")}, "sts.engines.best.engines = 'best': a chain cannot be part of a chain"),
        ({"best": chain("mock", "b"), "b": chain("mock")}, "sts.engines.best.engines = 'b': a chain cannot be part of"),
        ({"best": chain("b"), "b": chain("best")}, "sts.engines.best.engines = 'b': a chain cannot be part of a chain"),
        ({"best": chain("typo", "apertium")}, "sts.engines.best.engines = 'typo': there is no such engine; allowed: "),
        ({"best": chain("apertium", "typo")}, "sts.engines.best.engines = 'typo': there is no such engine; allowed: "),
        ({"best": chain("apertium", "kokoro")}, "sts.engines.best.engines = 'kokoro': there is no such engine; "),
        ({"best": chain("apertium", "whisper-to-english")}, "'whisper-to-english': what the recogniser does cannot be"),
    ],
)
def test_a_chain_of_what_cannot_be_chained_is_named(engines: dict[str, Any], problem: str, listed: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_names(tiny_sts(mt=listed, engines=engines))
    assert problem in caught.value.message


def test_a_chain_is_of_the_stage_that_all_its_engines_are_of() -> None:
    settings = tiny_sts(mt=["best"], mt_fast=["mock"], engines={"best": chain("mock", "apertium")})
    assert [info.stage for info in describe(settings, Paths()) if info.name == "best"] == ["mt"]
    used = {name for stage, name in in_use(settings) if stage == "mt"}
    assert used == {"best", "mock", "apertium"}


def test_an_engine_is_in_use_in_the_stage_that_lists_it() -> None:
    used = in_use(tiny_sts(asr=["mock"], mt=["apertium"], tts=["kokoro"], tts_fast=["espeak-ng"]))
    assert used == {("asr", "mock"), ("mt", "apertium"), ("tts", "kokoro"), ("tts", "espeak-ng")}


def test_a_model_folder_that_lacks_files_is_named(tmp_path: Path) -> None:
    own = {"large": {"kind": "whisper", "model": str(tmp_path)}}
    with pytest.raises(
        StartupError, match=r"large cannot be used: .* has no model\.bin, config\.json, tokenizer\.json, vocab"
    ):
        load(tiny_sts(asr=["large"], engines=own), Paths())
