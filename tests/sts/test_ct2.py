from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dubrelay.config import CTranslate2Engine, Paths, Sts, validated
from dubrelay.errors import ConfigError, StartupError, StsError
from dubrelay.sts.engines import describe, load, possible_pairs
from dubrelay.sts.mt.ct2 import CTranslate2
from dubrelay.sts.mt.pieces import Family, Tokens, family_of
from sts_parts import tiny_sts
from tiny_translator import marian, multilingual

pytestmark = pytest.mark.service

TEXT = "The dog barks? hello world, one war is enough. El perro ladra!"
NLLB = ("eng_Latn", "spa_Latn", "por_Latn", "zho_Hans")
M2M100 = ("__en__", "__es__", "__de__")


def engine(folder: Path, **options: Any) -> CTranslate2:
    return CTranslate2("own", CTranslate2Engine(model=str(folder), **options), Sts(), Paths())


EN_ES: list[tuple[str, str]] = [("en", "es")]


@pytest.mark.parametrize("compute_type", ["float32", "int8"])
@pytest.mark.parametrize("add_source_eos", [False, True])
def test_what_goes_into_a_marian_model_comes_back_as_text(
    tmp_path: Path, compute_type: str, add_source_eos: bool
) -> None:
    own = engine(marian(tmp_path / "m", add_source_eos=add_source_eos), pairs=EN_ES, compute_type=compute_type)
    assert own.pairs == {("en", "es")}
    assert own.translate(TEXT, "en", "es") == TEXT
    assert own.translate("  ", "en", "es") == ""


@pytest.mark.parametrize(("tokens", "languages"), [(NLLB, "en es pt zh"), (M2M100, "en es de")])
def test_a_multilingual_model_knows_every_pair_of_its_tokens(
    tmp_path: Path, tokens: tuple[str, ...], languages: str
) -> None:
    own = engine(multilingual(tmp_path / "m", tokens))
    assert own.pairs == {(s, t) for s in languages.split() for t in languages.split() if s != t}
    assert own.translate(TEXT, "es", "en") == TEXT


def test_the_model_is_told_the_language_of_the_source(tmp_path: Path) -> None:
    own = engine(multilingual(tmp_path / "m", NLLB, first_token_says={"eng_Latn": "!"}))
    assert own.translate("hello world", "en", "es") == "! hello world"
    assert own.translate("hello world", "pt", "es") == "hello world"


def test_the_model_is_told_the_language_of_the_target(tmp_path: Path) -> None:
    own = engine(multilingual(tmp_path / "m", NLLB, after_token_says={"spa_Latn": "!"}))
    assert own.translate("The dog", "en", "es") == "!The dog"
    assert own.translate("The dog", "en", "pt") == "The dog"


def test_a_marian_model_with_several_targets_is_told_which(tmp_path: Path) -> None:
    own = engine(marian(tmp_path / "m", [">>spa<<", ">>por<<"]), pairs=[("en", "es"), ("en", "pt")])
    assert own.translate(TEXT, "en", "pt") == TEXT


def test_marian_says_its_pair_where_its_tokenizer_config_does(tmp_path: Path) -> None:
    folder = marian(tmp_path / "m")
    (folder / "tokenizer_config.json").write_text(json.dumps({"source_lang": "en", "target_lang": "de"}))
    assert engine(folder).pairs == {("en", "de")}


def test_a_regional_variety_is_its_language_to_the_model(tmp_path: Path) -> None:
    own = engine(multilingual(tmp_path / "m", NLLB), pairs=[("en", "pt-br")])
    assert own.pairs == {("en", "pt-br")}
    assert own.translate(TEXT, "en", "pt-br") == TEXT


def test_another_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StsError) as caught:
        engine(multilingual(tmp_path / "m", NLLB)).translate(TEXT, "en", "fr")
    assert (caught.value.code, caught.value.stage) == ("UNSUPPORTED_LANGUAGE", "mt")
    assert caught.value.message == "own does not translate 'en' to 'fr'"


def test_threads_get_each_their_own_translation(tmp_path: Path) -> None:
    own = engine(marian(tmp_path / "m"), pairs=EN_ES)
    texts = [f"hello world {n}" for n in range(20)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda text: own.translate(text, "en", "es"), texts)) == texts


def test_a_model_of_random_weights_says_pieces_of_its_vocabulary(tmp_path: Path) -> None:
    own = engine(marian(tmp_path / "m", kind="noise"), pairs=EN_ES)
    said = own.translate("hello world", "en", "es")
    assert said and said == own.translate("hello world", "en", "es")
    assert "</s>" not in said


def test_what_a_model_that_is_stuck_says_is_no_translation(tmp_path: Path) -> None:
    own = engine(marian(tmp_path / "m", kind="stuck"), pairs=EN_ES)
    with pytest.raises(StsError, match="own: no translation: it ") as caught:
        own.translate("dog", "en", "es")
    assert (caught.value.code, caught.value.stage, caught.value.retryable) == ("MODEL_ERROR", "mt", False)


def test_it_loads_by_its_kind_limited_to_its_languages_and_is_described(tmp_path: Path) -> None:
    folder = str(multilingual(tmp_path / "m", NLLB))
    settings = tiny_sts(mt=["nllb"], engines={"nllb": {"kind": "ctranslate2", "model": folder, "languages": ["es"]}})
    engines = load(settings, Paths())
    assert engines.mt[0].pairs == {("en", "es"), ("pt", "es"), ("zh", "es")}
    (info,) = [info for info in describe(settings, Paths(), engines) if info.name == "nllb"]
    assert (info.loaded, info.device, info.missing) == (True, "cpu", "")
    assert info.languages == ["en-es", "pt-es", "zh-es"]


def test_its_pairs_are_known_before_it_is_loaded(tmp_path: Path) -> None:
    nllb = multilingual(tmp_path / "m", NLLB)
    own = {"nllb": {"kind": "ctranslate2", "model": str(nllb), "languages": ["es"]}}
    settings = tiny_sts(mt=["nllb"], engines=own)
    assert possible_pairs(settings, Paths()) == {("en", "es"), ("pt", "es"), ("zh", "es")}
    (nllb / "shared_vocabulary.json").write_text("{")
    assert possible_pairs(settings, Paths()) == frozenset()


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("model.bin", "has no model.bin"),
        ("source.spm", "has no sentencepiece model: source.spm and target.spm"),
        ("shared_vocabulary.json", "has no vocabulary"),
    ],
)
def test_a_folder_that_lacks_a_file_is_named(tmp_path: Path, gone: str, named: str) -> None:
    folder = marian(tmp_path / "m")
    (folder / gone).unlink()
    if gone == "source.spm":
        (folder / "target.spm").unlink()
    own = {"opus": {"kind": "ctranslate2", "model": str(folder), "pairs": EN_ES}}
    with pytest.raises(StartupError) as caught:
        load(tiny_sts(mt=["opus"], engines=own), Paths())
    assert caught.value.message.startswith(f"sts.mt: opus cannot be used: {folder} {named}")


@pytest.mark.parametrize("broken", ["model.bin", "source.spm", "shared_vocabulary.json", "config.json"])
def test_a_broken_file_is_one_line(tmp_path: Path, broken: str) -> None:
    folder = marian(tmp_path / "m")
    (folder / broken).write_bytes(b"\xff\xfe nothing \n of use")
    with pytest.raises(StartupError) as caught:
        engine(folder, pairs=EN_ES)
    assert caught.value.message.startswith(f"model own: {folder} cannot be loaded: ")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("make", "options", "named"),
    [
        (marian, {}, r'sts.engines.own: .* does not say its languages: give pairs, as \[\["en", "es"\]\]'),
        (lambda f: multilingual(f, ["<x>"]), {}, "give family, one of marian, nllb, m2m100"),
        (lambda f: multilingual(f, NLLB), {"pairs": [("en", "fr")]}, "sts.engines.own.pairs: the model has no 'fr'"),
        (marian, {"device": "cuda", "pairs": EN_ES}, "there is no CUDA device: device must be cpu"),
    ],
)
def test_what_cannot_be_known_is_asked_for(tmp_path: Path, make: Any, options: dict[str, Any], named: str) -> None:
    with pytest.raises(StartupError, match=named):
        engine(make(tmp_path / "m"), **options)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "model"),
        ({"model": "m", "family": "t5"}, "family = 't5'"),
        ({"model": "m", "pairs": [["en", "Spanish"]]}, "pairs.0.1 = 'Spanish'"),
        ({"model": "m", "beams": 0}, "beams = 0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validated(Sts, {"engines": {"opus": {"kind": "ctranslate2", **options}}}, "test")
    assert problem in caught.value.message


@pytest.mark.parametrize(
    ("vocabulary", "files", "family"),
    [
        (NLLB, [], "nllb"),
        (M2M100, ["source.spm"], "m2m100"),
        (["a"], ["source.spm", "target.spm"], "marian"),
        (["a"], ["source.spm"], None),
    ],
)
def test_a_family_is_told_by_vocabulary_and_files(vocabulary: list[str], files: list[str], family: str | None) -> None:
    assert family_of(vocabulary, files) == family


@pytest.mark.parametrize(
    ("family", "vocabulary", "source", "prefix"),
    [
        ("nllb", NLLB, ["eng_Latn", "▁a", "</s>"], ["spa_Latn"]),
        ("m2m100", M2M100, ["__en__", "▁a", "</s>"], ["__es__"]),
        ("marian", (), ["▁a", "</s>"], None),
        ("marian", (">>spa<<",), [">>spa<<", "▁a", "</s>"], None),
    ],
)
def test_each_family_has_its_tokens_around_the_pieces(
    family: Family, vocabulary: tuple[str, ...], source: list[str], prefix: list[str] | None
) -> None:
    tokens = Tokens(family, frozenset(vocabulary), adds_end=False)
    assert tokens.source(["▁a"], "en", "es") == source
    assert tokens.prefix("es") == prefix
    assert Tokens(family, frozenset(vocabulary), adds_end=True).source(["▁a"], "en", "es") == source[:-1]
    assert tokens.pieces([*(prefix or []), "▁b", "<unk>", "</s>"]) == ["▁b"]
