# ruff: noqa: RUF001  phonemes are written in IPA
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dubrelay.config import KokoroEngine, Paths, Sts
from dubrelay.errors import StartupError
from dubrelay.sts.engines import load
from dubrelay.sts.tts import alphabet, espeak_ng, voicepack
from dubrelay.sts.tts.kokoro import Kokoro
from sts_parts import tiny_sts

pytestmark = pytest.mark.service

STYLES = np.random.default_rng(1).normal(0, 0.1, (510, 1, 256)).astype(np.float32)


def pack(path: Path, *names: str) -> Path:
    with path.open("wb") as file:  # np.savez adds .npz to a name, not to a file
        np.savez(file, **dict.fromkeys(names, STYLES))
    return path


def test_many_voices_come_in_the_order_of_their_file_whatever_it_is_called(tmp_path: Path) -> None:
    for name in ("voices.npz", "voices-v1.0.bin"):
        styles = voicepack.read(pack(tmp_path / name, "ef_dora", "em_alex", "af_heart"))
        assert list(styles) == ["ef_dora", "em_alex", "af_heart"]
        assert styles["ef_dora"].shape == (510, 256)


def test_one_voice_is_named_like_its_file(tmp_path: Path) -> None:
    np.save(tmp_path / "em_alex.npy", STYLES)
    STYLES.tofile(tmp_path / "ef_dora.bin")
    (tmp_path / "readme.txt").write_text("not a voice")
    styles = voicepack.read(tmp_path)
    assert list(styles) == ["ef_dora", "em_alex"]
    for table in styles.values():
        np.testing.assert_array_equal(table, STYLES[:, 0])


def broken(path: Path, content: Any) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    return path


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("x.npz", b"PK\x03\x04 torn", "is no voice pack"),
        ("x.pt", b"\x80\x02 pickled", "is no voice pack: it must be .npz or .npy or .bin"),
        ("x.npy", np.array([{"a": 1}], object), "is no voice pack: Object arrays cannot be loaded"),
        ("x.npy", np.zeros((3, 100), np.float32), "x is float32 (3, 100): it must be numbers (n, 256)"),
        ("x.npy", np.zeros((3, 256), np.int32), "x is int32"),
        ("x.npy", np.full((3, 256), np.nan, np.float32), "it must be numbers"),
        ("x.bin", b"", "it must be numbers"),
        ("x y.npy", STYLES, "has a voice 'x y'"),
    ],
)
def test_what_is_no_voice_is_one_line(tmp_path: Path, name: str, content: Any, named: str) -> None:
    with pytest.raises(StartupError) as caught:
        voicepack.read(broken(tmp_path / name, content))
    assert named in caught.value.message and "\n" not in caught.value.message


def test_a_folder_without_voices_and_a_file_that_is_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"the folder has no file \.npz or \.npy or \.bin"):
        voicepack.read(tmp_path)
    own = {"own": {"kind": "kokoro", "voices": str(tmp_path / "gone.npz")}}
    with pytest.raises(StartupError, match=r"own cannot be used: voices = '.*gone.npz' does not exist"):
        load(tiny_sts(tts=["own"], engines=own), Paths())


@pytest.fixture(scope="module")
def every() -> Kokoro:
    """The bundled voices in all the languages."""
    return kokoro(None, list(alphabet.ESPEAK_VOICE))


def kokoro(voices: Path | None, languages: list[str] | None = None) -> Kokoro:
    return Kokoro("own", KokoroEngine(voices=voices, languages=languages), Sts(), Paths())


def test_a_packs_own_voices_speak_the_languages_of_their_names(tmp_path: Path) -> None:
    engine = kokoro(pack(tmp_path / "v.npz", "jf_alpha", "af_heart", "ef_dora", "bm_fable", "zf_xiaobei"))
    assert engine.languages == {"en", "es"}
    assert engine.voices("es") == ("ef_dora", "jf_alpha", "af_heart", "bm_fable", "zf_xiaobei")
    assert engine.voices("en")[:2] == ("af_heart", "bm_fable")
    assert engine.voices("fr") == ()


def test_languages_that_are_named_may_be_spoken_by_voices_of_others(tmp_path: Path) -> None:
    engine = kokoro(pack(tmp_path / "v.npz", "af_heart"), ["fr", "it"])
    assert engine.voices("fr") == ("af_heart",)


def test_a_pack_for_none_of_the_languages_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"no voice is named for a language \(en, es, fr, it, pt\): set `languages`"):
        kokoro(pack(tmp_path / "v.npz", "zf_xiaobei"))


SENTENCES = {
    "en": "The judge's water bottle, a mountain button, joy and hours: here there, go slow! Croissant, loch, señor.",
    "es": "El cónyuge de la cigüeña tocaba el saxofón, ¿guerra, llave, yeso y ñandú? Hollywood y el show de jazz.",
    "fr": "Portez ce vieux whisky au juge blond qui fume; un bon vin blanc, où êtes-vous? Huit œufs, une montagne.",
    "it": "Pranzo d'acqua fa volti sghembi: gli gnocchi, la pizza, lo zero, le città, perché? Giorno e cielo!",
    "pt": "Luís argüia à Júlia que brações, fé, chá, óxido, pôr, zângão eram palavras do português. Tchau, mãe.",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_no_letter_of_a_language_is_lacking(every: Kokoro, language: str) -> None:
    for voice in ("af_x", "bf_x") if language == "en" else ("x",):
        espeak = alphabet.espeak_voice(language, voice)
        ipa = alphabet.respelt(espeak_ng.phonemes(SENTENCES[language], espeak), espeak)
        assert set(ipa) - set(every._letters) == set()


def test_english_is_spelt_as_kokoro_learnt_it() -> None:
    def spelt(text: str, voice: str) -> str:
        espeak = alphabet.espeak_voice("en", voice)
        return alphabet.respelt(espeak_ng.phonemes(text, espeak), espeak)

    assert spelt("I say how boys go", "af_heart") == "I sˈA hˌW bˈYz ɡˈO"
    assert spelt("water bird", "af_heart") == "wˈɔTəɹ bˈɜɹd"
    assert spelt("go home, bird", "bf_emma") == "ɡˌQ hˈQm, bˈɜːd"


@pytest.mark.parametrize(("language", "text"), [("en", "Good evening."), ("fr", "Bonsoir."), ("pt", "Boa noite.")])
def test_each_language_is_spoken(every: Kokoro, language: str, text: str) -> None:
    speech = every.speak(every.prepare(text, language, "default"), 1.0)
    assert 0.3 < len(speech.samples) / speech.rate_hz < 3
