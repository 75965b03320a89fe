# ruff: noqa: RUF001  phonemes are written in IPA
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dubrelay.config import EspeakEngine, Paths, Sts
from dubrelay.errors import StartupError, StsError
from dubrelay.sts.tts import espeak_ng
from dubrelay.sts.tts.espeak import Espeak

pytestmark = pytest.mark.service

TEXT = {
    "es": "Buenas noches, el presidente dijo que las medidas empezarán el lunes.",
    "en": "Good evening and welcome.",
}


@pytest.fixture(scope="module")
def espeak() -> Espeak:
    return Espeak("espeak-ng", EspeakEngine(), Sts(), Paths())


@pytest.mark.parametrize("language", ["es", "en"])
@pytest.mark.parametrize("tempo", [0.8, 1.0, 1.25, 1.5])
def test_the_tempo_asked_for_is_met(espeak: Espeak, language: str, tempo: float) -> None:
    prepared = espeak.prepare(TEXT[language], language, espeak.voices(language)[0])
    speech = espeak.speak(prepared, tempo)
    length_s = len(speech.samples) / speech.rate_hz
    assert length_s == pytest.approx(prepared.natural_s / tempo, rel=0.05)
    assert length_s == pytest.approx(prepared.natural_s / speech.tempo, rel=0.01)
    assert np.abs(speech.samples).max() > 0.1


def test_every_language_it_claims_can_be_spoken(espeak: Espeak) -> None:
    for language in espeak.languages:
        for voice in espeak.voices(language):
            assert espeak.prepare("2", language, voice).natural_s > 0.1, voice


def test_a_language_it_does_not_claim_is_refused(espeak: Espeak) -> None:
    assert espeak.voices("xx") == ()
    with pytest.raises(StsError) as caught:
        espeak.prepare("?", "xx", "xx")
    assert caught.value.code == "UNSUPPORTED_LANGUAGE"


@pytest.mark.parametrize("text", ["", "   ", "..."])
def test_a_text_without_words_gives_no_sound(espeak: Espeak, text: str) -> None:
    prepared = espeak.prepare(text, "es", "es")
    assert espeak.speak(prepared, 1.3).samples.size == 0


@pytest.mark.parametrize(
    "text", ["--version", "-w out.wav hola", "hola; rm -rf x $(id) `id`", "<b>hola</b>", "hola\x00adiós"]
)
def test_text_is_only_ever_text(espeak: Espeak, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert espeak.prepare(text, "es", "es").natural_s > 0.3
    assert list(tmp_path.iterdir()) == []


def test_text_in_brackets_is_not_read_as_phonemes() -> None:
    assert espeak_ng.phonemes("[[hola]]", "es") == espeak_ng.phonemes("hola", "es")


def test_phonemes_keep_the_punctuation_of_each_clause() -> None:
    ipa = espeak_ng.phonemes("Hola, ¿qué tal? ¡Muy bien!", "es")
    assert [c for c in ipa if c in ",.;:?!"] == [",", "?", "!"]
    assert ipa.startswith("ˈola,")


def test_numbers_are_spelled_and_not_taken_for_ends_of_clauses() -> None:
    assert "koma" in espeak_ng.phonemes("Cuesta 2,5 euros.", "es").replace("ˌ", "").replace("ˈ", "")


def test_a_stop_inside_a_clause_loses_no_words() -> None:
    ipa = espeak_ng.phonemes('Dijo "no." y salió a las 7 p.m. con Sr. García, hoy.', "es")
    for word in ("dˈixo", "salj", "ɡaɾθˈia", "ˈoɪ"):
        assert word in ipa


def test_foreign_words_leave_no_language_marks() -> None:
    assert "(" not in espeak_ng.phonemes("El software de Microsoft es bueno.", "es")


def test_an_unknown_voice_is_an_error_with_the_programs_own_words() -> None:
    with pytest.raises(StsError, match=r"espeak-ng failed: .*voice does not exist"):
        espeak_ng.sound("hola", "xx", 175)


def test_a_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Debian package espeak-ng" in Espeak.missing(EspeakEngine(), Paths())
    with pytest.raises(StartupError, match="install the Debian package espeak-ng"):
        Espeak("espeak-ng", EspeakEngine(), Sts(), Paths())
