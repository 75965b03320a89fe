"""Whisper models of one's own, as they lie in a folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest

from dubrelay.config import Paths, Sts, WhisperEngine
from dubrelay.errors import StartupError, StsError
from dubrelay.sts.asr.whisper import Whisper
from dubrelay.sts.engines import describe, load, possible_pairs
from sts_parts import buzz, tiny_sts
from tiny_whisper import LANGUAGES, whisper

pytestmark = pytest.mark.service


def loaded(folder: Path, **options: Any) -> Whisper:
    return Whisper("own", WhisperEngine.model_validate({"model": str(folder), **options}), Sts(), Paths())


def start_error(folder: Path, **options: Any) -> str:
    with pytest.raises(StartupError) as caught:
        loaded(folder, **options)
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("compute_type", ["auto", "int8", "float32"])
@pytest.mark.parametrize("bands", [80, 128])
def test_a_folder_is_loaded_and_hears(tmp_path: Path, compute_type: str, bands: int) -> None:
    asr = loaded(whisper(tmp_path, ("Good", "evening"), bands=bands), compute_type=compute_type, threads=1)
    heard = asr.transcribe(buzz(2.0), "es")
    assert (heard.text, heard.refused) == ("Good evening", "")
    assert [word.text for word in heard.words] == ["Good", "evening"]
    assert asr.translate(buzz(2.0), "es").text == "Good evening"


def test_what_a_folder_knows_is_told_before_it_is_loaded(tmp_path: Path) -> None:
    for name, detects, languages in (("many", "de", set(LANGUAGES)), ("english", None, {"en"})):
        folder = whisper(tmp_path / name, detects=detects)
        options = WhisperEngine(model=str(folder))
        assert Whisper.offers(options, Paths()) == languages
        assert loaded(folder).languages == languages
        assert loaded(folder).to_english == languages - {"en"}
        assert loaded(folder).detects is (detects is not None)


def test_engines_lists_its_languages_and_the_pairs_without_loading_it(tmp_path: Path) -> None:
    own = {"own": {"kind": "whisper", "model": str(whisper(tmp_path)), "languages": ["es", "de", "fr"]}}
    settings = tiny_sts(asr=["own"], mt=["whisper-to-english"], engines=own)
    info = next(info for info in describe(settings, Paths()) if info.name == "own")
    assert (info.languages, info.missing, info.loaded) == (["de", "es"], "", False)
    assert possible_pairs(settings, Paths()) == {("es", "en"), ("de", "en")}
    assert load(settings, Paths()).pairs() == {("es", "en"), ("de", "en")}


def test_the_language_is_detected_among_those_it_is_limited_to(tmp_path: Path) -> None:
    asr = loaded(whisper(tmp_path, detects="es"))
    found = asr.detect(buzz(3.0))
    assert max(found.probabilities, key=found.probabilities.__getitem__) == "es"
    assert sum(found.probabilities.values()) == pytest.approx(1.0)
    assert found.hear("es", False).text == "Hello world"
    asr.languages = frozenset({"en", "de"})
    assert set(asr.detect(buzz(3.0)).probabilities) == {"en", "de"}


def test_what_it_is_unsure_of_is_refused(tmp_path: Path) -> None:
    heard = loaded(whisper(tmp_path, sure=0.02)).transcribe(buzz(2.0), "en")
    assert heard.text == ""


def test_a_model_of_english_only_translates_nothing(tmp_path: Path) -> None:
    with pytest.raises(StsError) as caught:
        loaded(whisper(tmp_path, detects=None)).translate(buzz(1.0), "en")
    assert (caught.value.code, caught.value.stage) == ("UNSUPPORTED_LANGUAGE", "asr")


@pytest.mark.parametrize("absent", ["model.bin", "config.json", "tokenizer.json", "vocabulary.json"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, absent: str) -> None:
    (whisper(tmp_path) / absent).unlink()
    assert Whisper.missing(WhisperEngine(model=str(tmp_path)), Paths()) == f"{tmp_path} has no {absent}"


def _cut(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])


def _garble(file: Path) -> None:
    file.write_bytes(np.random.default_rng(3).bytes(1000))


@pytest.mark.parametrize("damage", [_cut, _garble])
@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json", "preprocessor_config.json", "config.json"])
def test_a_damaged_file_is_one_line_at_the_start(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(whisper(tmp_path) / name)
    assert start_error(tmp_path).startswith("model own: ")


def test_a_tokenizer_of_another_model_is_named(tmp_path: Path) -> None:
    file = whisper(tmp_path) / "tokenizer.json"
    file.write_text(file.read_text("utf-8").replace("<|notimestamps|>", "<|other|>"), "utf-8")
    assert start_error(tmp_path) == f"model own: {file} is not Whisper's: it has no <|notimestamps|>"


@pytest.mark.parametrize(("key", "value"), [("hop_length", 320), ("sampling_rate", 8000), ("n_fft", 512)])
def test_a_model_that_listens_in_another_way_is_refused(tmp_path: Path, key: str, value: int) -> None:
    file = whisper(tmp_path) / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), key: value}), "utf-8")
    assert f"{key} = {value}: Whisper has" in start_error(tmp_path)


def test_bands_that_contradict_the_model_are_refused(tmp_path: Path) -> None:
    file = whisper(tmp_path, bands=80) / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "feature_size": 128}), "utf-8")
    assert "feature_size = 128: model.bin has 80" in start_error(tmp_path)


def test_what_the_processor_cannot_compute_is_named_with_what_it_can(tmp_path: Path) -> None:
    if "float16" in ctranslate2.get_supported_compute_types("cpu"):
        pytest.skip("this processor computes in float16")
    message = start_error(whisper(tmp_path), compute_type="float16")
    assert re.fullmatch(
        r"model own: compute_type = 'float16': this cpu cannot; allowed: (float32 int8|int8 float32)", message
    )


def test_cuda_computes_where_there_is_a_device_and_is_refused_where_there_is_none(tmp_path: Path) -> None:
    folder = whisper(tmp_path, ("Good", "evening"))
    if ctranslate2.get_cuda_device_count():
        assert loaded(folder, device="cuda").transcribe(buzz(2.0), "es").text == "Good evening"
        return
    own = {"own": {"kind": "whisper", "model": str(folder), "device": "cuda"}}
    says = r"^sts\.asr: own cannot be used: device = 'cuda': there is no CUDA device here; allowed: 'cpu'$"
    with pytest.raises(StartupError, match=says):
        load(tiny_sts(asr=["own"], engines=own), Paths())
