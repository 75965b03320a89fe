from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dubrelay.config import KokoroEngine, Paths, Sts
from dubrelay.errors import StartupError, StsError
from dubrelay.sts.tts.kokoro import RATE_HZ, Kokoro, _frames, _pieces

pytestmark = pytest.mark.service

TEXT = "Cinco niños juegan en el jardín."


@pytest.fixture(scope="module")
def kokoro() -> Kokoro:
    return Kokoro("kokoro", KokoroEngine(), Sts(), Paths())


@pytest.mark.parametrize("tempo", [0.85, 1.0, 1.3])
def test_the_length_is_known_before_the_speech_is_made(kokoro: Kokoro, tempo: float) -> None:
    prepared = kokoro.prepare(TEXT, "es", "jm_kumo")
    speech = kokoro.speak(prepared, tempo)
    assert len(speech.samples) / RATE_HZ == pytest.approx(prepared.natural_s / tempo, abs=0.15)
    assert speech.tempo == tempo
    assert speech.rate_hz == RATE_HZ


def test_there_is_no_silence_around_the_speech_and_nothing_clips(kokoro: Kokoro) -> None:
    samples = kokoro.speak(kokoro.prepare(TEXT, "es", "jm_kumo"), 1.0).samples
    edge = round(0.05 * RATE_HZ)
    assert np.abs(samples[:edge]).max() > 0.005
    assert np.abs(samples[-edge:]).max() > 0.005
    assert 0.1 < np.abs(samples).max() <= 0.97


def test_the_sound_computed_lasts_what_was_said_it_would_cost(kokoro: Kokoro) -> None:
    prepared = kokoro.prepare(TEXT, "es", "jm_kumo")
    raw = kokoro._sound(prepared.payload[0], 1.0)
    assert len(raw) / RATE_HZ == pytest.approx(prepared.work_s)


def test_pace_is_the_speed_of_tempo_one(kokoro: Kokoro) -> None:
    slow = Kokoro("slow", KokoroEngine(pace=1.0), Sts(), Paths())
    usual, slower = (one.prepare(TEXT, "es", "jm_kumo") for one in (kokoro, slow))
    assert slower.natural_s == pytest.approx(1.2 * usual.natural_s, rel=0.02)
    assert len(slow.speak(slower, 1.2).samples) == len(kokoro.speak(usual, 1.0).samples)
    assert kokoro.max_tempo * 1.2 == pytest.approx(slow.max_tempo)


def test_the_default_voice_is_the_first(kokoro: Kokoro) -> None:
    assert kokoro.voices("es") == ("jm_kumo", "jf_gongitsune")
    assert kokoro.prepare("Hola.", "es", "default").voice == "jm_kumo"
    assert kokoro.prepare("Hola.", "es", "jf_gongitsune").voice == "jf_gongitsune"


def test_another_language_is_refused(kokoro: Kokoro) -> None:
    assert kokoro.voices("en") == ()
    with pytest.raises(StsError) as caught:
        kokoro.prepare("Hello.", "en", "jm_kumo")
    assert (caught.value.code, caught.value.stage) == ("UNSUPPORTED_LANGUAGE", "tts")


@pytest.mark.parametrize("text", ["", "...", "¿?"])
def test_a_text_without_words_gives_no_sound(kokoro: Kokoro, text: str) -> None:
    prepared = kokoro.prepare(text, "es", "jm_kumo")
    assert prepared.natural_s == 0
    assert kokoro.speak(prepared, 1.0).samples.size == 0


def test_several_threads_may_prepare_and_speak(kokoro: Kokoro) -> None:
    texts = ["Hola.", "Buenas noches.", "Hasta mañana."]

    def length(text: str) -> int:
        return len(kokoro.speak(kokoro.prepare(text, "es", "jm_kumo"), 1.3).samples)

    alone = [length(text) for text in texts]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(length, texts)) == alone


def test_a_missing_model_and_a_missing_program_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths(state_dir=tmp_path)
    assert "model kokoro" in Kokoro.missing(KokoroEngine(), paths)
    with pytest.raises(StartupError, match=r"model kokoro: .*run scripts/setup"):
        Kokoro("kokoro", KokoroEngine(), Sts(), paths)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Debian package espeak-ng" in Kokoro.missing(KokoroEngine(), Paths())
    with pytest.raises(StartupError, match="the program espeak-ng is missing"):
        Kokoro("kokoro", KokoroEngine(), Sts(), Paths())


def test_frames_add_up_to_the_tempo_and_keep_the_first_pad() -> None:
    durations = np.random.default_rng(3).uniform(0.3, 6, 60).astype(np.float32)
    natural = _frames(durations, 1.0)
    faster = _frames(durations, 1.25)
    assert natural[0] == faster[0] == 16
    assert faster.min() >= 1
    assert len(faster) == len(durations)
    assert faster[1:-2].sum() == pytest.approx(natural[1:-2].sum() / 1.25, rel=0.03)


def test_long_texts_are_cut_where_a_clause_or_a_word_ends() -> None:
    assert _pieces("uno, dos tres", 20) == ["uno, dos tres"]
    assert _pieces("uno dos, tres cuatro", 12) == ["uno dos,", "tres cuatro"]
    assert _pieces("unodos trescuatro", 10) == ["unodos", "trescuatro"]
    assert _pieces("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
    assert _pieces("", 10) == []
