# ruff: noqa: RUF001  phonemes are written in IPA
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dubrelay.config import Paths, PiperEngine, Sts
from dubrelay.errors import ConfigError, StartupError, StsError
from dubrelay.sts.engines import load
from dubrelay.sts.tts.piper import Piper
from sts_parts import tiny_sts
from tiny_voice import FRAMES, HOP, ID_MAP, RATE_HZ, make

pytestmark = pytest.mark.service

TEXT = "hola amigo"


def piper(folder: Path, **options: Any) -> Piper:
    return Piper("piper", PiperEngine(voices=folder, **options), Sts(), Paths())


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    make(tmp_path, "es_ES-tiny")
    make(tmp_path, "es_MX-many", {"eva": 1, "ana": 0, "odd name": 2})
    make(tmp_path, "fr_FR-tiny", espeak={"voice": "fr"}, language={"code": "fr_FR", "family": "fr"})
    return tmp_path


def pitch_hz(samples: np.ndarray[Any, Any]) -> float:
    spectrum = np.abs(np.fft.rfft(samples))
    return float(np.argmax(spectrum) * RATE_HZ / len(samples))


def test_every_voice_of_the_folder_is_there_with_its_language_and_speakers(voices: Path) -> None:
    engine = piper(voices)
    assert engine.languages == {"es", "fr"}
    assert engine.voices("es") == ("es_ES-tiny", "es_MX-many", "es_MX-many/ana", "es_MX-many/eva")
    assert engine.voices("fr") == ("fr_FR-tiny",)
    assert engine.voices("de") == ()


def test_phonemes_become_ids_between_bos_and_eos_with_pads(voices: Path) -> None:
    engine = piper(voices)
    voice = engine._by_speaker["es_ES-tiny"]
    a, b = ID_MAP["a"][0], ID_MAP["b"][0]
    assert voice.ids("abˈ") == (1, 0, a, 0, b, 0, 2), "what the voice does not know is left out"


def test_a_voice_that_maps_phonemes_to_several_is_followed(tmp_path: Path) -> None:
    make(tmp_path, "x", phoneme_map={"ß": ["s", "s"]}, phoneme_id_map={"_": [0], "^": [1], "$": [2], "s": [9, 8]})
    assert piper(tmp_path)._by_speaker["x"].ids("ß") == (1, 0, 9, 8, 0, 9, 8, 0, 2)


@pytest.mark.parametrize("tempo", [0.75, 1.0, 1.3])
def test_the_tempo_is_the_voices_own_length_scale(voices: Path, tempo: float) -> None:
    engine = piper(voices)
    prepared = engine.prepare(TEXT, "es", "es_ES-tiny")
    speech = engine.speak(prepared, tempo)
    (ids,) = prepared.payload.sentences
    assert speech.rate_hz == RATE_HZ
    assert len(speech.samples) == pytest.approx(
        len(ids) * HOP * np.ceil(np.float32(FRAMES) / np.float32(tempo)), abs=40
    )


def test_the_length_is_learnt_from_what_was_said(voices: Path) -> None:
    engine = piper(voices)
    engine.speak(engine.prepare("una frase cualquiera de esta voz", "es", "es_ES-tiny"), 1.0)
    prepared = engine.prepare(TEXT, "es", "es_ES-tiny")
    spoken_s = len(engine.speak(prepared, 1.0).samples) / RATE_HZ
    assert prepared.natural_s == pytest.approx(spoken_s, rel=0.02)
    assert engine.prepare(TEXT, "es", "es_MX-many").natural_s != prepared.natural_s, "each voice has its own pace"


def test_a_speaker_is_chosen_by_name_and_the_first_speaks_by_default(voices: Path) -> None:
    engine = piper(voices)
    low, high, default = (
        pitch_hz(engine.speak(engine.prepare("a", "es", f"es_MX-many{speaker}"), 1.0).samples)
        for speaker in ("/ana", "/eva", "")
    )
    assert high == pytest.approx(2 * low, rel=0.05)
    assert default == low


def test_speakers_without_names_are_numbers(tmp_path: Path) -> None:
    make(tmp_path, "x", {"a": 0, "b": 1}, speaker_id_map={})
    engine = piper(tmp_path)
    assert engine.voices("es") == ("x", "x/0", "x/1")
    assert engine.prepare("a", "es", "x/1").payload.speaker == 1


@pytest.mark.parametrize(("options", "level"), [({}, 0.747), ({"noise_scale": 0.1, "noise_w": 0.2}, 0.12)])
def test_the_scales_of_the_file_give_way_to_those_of_the_options(
    voices: Path, options: dict[str, float], level: float
) -> None:
    engine = piper(voices, **options)
    samples = engine.speak(engine.prepare(TEXT, "es", "es_ES-tiny"), 1.0).samples
    assert np.abs(samples).max() == pytest.approx(level, rel=0.02)


def test_sentences_are_spoken_one_by_one_with_a_pause_between(voices: Path) -> None:
    engine = piper(voices)
    prepared = engine.prepare("hola. amigo", "es", "es_ES-tiny")
    assert len(prepared.payload.sentences) == 2
    samples = engine.speak(prepared, 1.0).samples
    silent = np.flatnonzero(np.convolve(np.abs(samples) < 1e-6, np.ones(3000), "valid") == 3000)
    assert len(silent) and 0.2 * len(samples) < silent[0] < 0.8 * len(samples)


def test_a_voice_of_letters_needs_no_phonemes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "uk", phoneme_type="text", espeak={}, language={"code": "uk_UA"})
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = piper(tmp_path)
    assert engine.prepare("AB", "uk", "uk").payload.sentences == [(1, 0, ID_MAP["a"][0], 0, ID_MAP["b"][0], 0, 2)]


@pytest.mark.parametrize("text", ["", "...", "¿?"])
def test_a_text_without_words_gives_no_sound(voices: Path, text: str) -> None:
    engine = piper(voices)
    prepared = engine.prepare(text, "es", "es_ES-tiny")
    assert prepared.natural_s == 0
    assert engine.speak(prepared, 1.0).samples.size == 0


def test_a_language_without_a_voice_is_refused(voices: Path) -> None:
    with pytest.raises(StsError) as caught:
        piper(voices).prepare("hallo", "de", "default")
    assert (caught.value.code, caught.value.stage) == ("UNSUPPORTED_LANGUAGE", "tts")


def refused(folder: Path) -> str:
    """The one line that the service ends with."""
    own = {"own": {"kind": "piper", "voices": str(folder)}}
    with pytest.raises((StartupError, ConfigError)) as caught:
        load(tiny_sts(tts=["own"], engines=own), Paths())
    assert "\n" not in caught.value.message
    return caught.value.message


def test_it_loads_as_an_engine_of_ones_own(voices: Path) -> None:
    own = {"own": {"kind": "piper", "voices": str(voices), "languages": ["fr"]}}
    engines = load(tiny_sts(tts=["own"], engines=own), Paths())
    assert engines.pairs() == {("*", "fr")}


def test_a_folder_without_voices_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "gone").endswith("is no folder: one with NAME.onnx and NAME.onnx.json of each voice")
    assert refused(tmp_path).endswith("has no voice: no file named NAME.onnx")
    make(tmp_path, "x").with_name("x.onnx.json").unlink()
    assert refused(tmp_path) == f"sts.tts: own cannot be used: {tmp_path} has no x.onnx.json"


@pytest.mark.parametrize(
    ("described", "named"),
    [
        ("{", "x.onnx.json: Invalid JSON"),
        ("[]", "x.onnx.json: Input should be an object"),
        ({"audio": {}}, "x.onnx.json: audio.sample_rate: Field required"),
        ({"phoneme_id_map": {}}, "x.onnx.json: phoneme_id_map: Dictionary should have at least 1 item"),
        ({"phoneme_type": "pinyin"}, "x.onnx.json: phoneme_type = 'pinyin': espeak and text can be spoken here"),
        ({"espeak": {}}, "x.onnx.json: espeak.voice is missing"),
        ({"espeak": {"voice": "-w /etc/x"}}, "x.onnx.json: espeak.voice: String should match pattern"),
        ({"espeak": {"voice": ""}, "language": {}, "phoneme_type": "text"}, "says which language"),
    ],
)
def test_a_broken_description_is_one_line(tmp_path: Path, described: Any, named: str) -> None:
    if isinstance(described, str):
        make(tmp_path, "x").with_name("x.onnx.json").write_text(described)
    else:
        make(tmp_path, "x", **described)
    assert named in refused(tmp_path)


def test_a_broken_model_is_one_line(tmp_path: Path) -> None:
    make(tmp_path, "x").write_bytes(b"no model")
    assert "x.onnx cannot be loaded: " in refused(tmp_path)
