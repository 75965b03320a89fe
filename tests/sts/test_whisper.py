from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from dubrelay.config import HibariEngine, KokoroEngine, Paths, Sts, WhisperEngine
from dubrelay.errors import StartupError, StsError
from dubrelay.sts.asr.base import RATE_HZ
from dubrelay.sts.asr.whisper import Whisper
from dubrelay.sts.tts.base import Tts
from dubrelay.sts.tts.hibari import Hibari
from dubrelay.sts.tts.kokoro import Kokoro

pytestmark = pytest.mark.service

Mono = npt.NDArray[np.float32]
ENGLISH = "Two people were injured in the accident near the station this morning."
SPANISH = "El presidente dijo que las nuevas medidas empiezan el lunes."


@pytest.fixture(scope="module")
def tiny() -> Whisper:
    return Whisper("whisper-tiny.en", WhisperEngine(model="whisper-tiny.en"), Sts(), Paths())


@pytest.fixture(scope="module")
def base() -> Whisper:
    return Whisper("whisper-base", WhisperEngine(model="whisper-base"), Sts(), Paths())


@pytest.fixture(scope="module")
def hibari() -> Hibari:
    return Hibari("hibari", HibariEngine(), Sts(), Paths())


@pytest.fixture(scope="module")
def kokoro() -> Kokoro:
    return Kokoro("kokoro", KokoroEngine(), Sts(), Paths())


def _spoken(voice: Tts, text: str, language: str, tempo: float = 1.0) -> Mono:
    speech = voice.speak(voice.prepare(text, language, voice.voices(language)[0]), tempo)
    resampled: Mono = soxr.resample(speech.samples, speech.rate_hz, RATE_HZ)
    return resampled


def _letters(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum() or c == " ")


def _word_errors(heard: str, said: str) -> int:
    """Levenshtein distance in words."""
    a, b = _letters(heard).split(), _letters(said).split()
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def test_what_is_said_once_is_heard_once(tiny: Whisper, hibari: Hibari) -> None:
    """This one is written down twice by the model itself, when there is silence around it."""
    sound = np.pad(_spoken(hibari, "Flight 512 departs from gate 36.", "en"), (4000, 1600))
    heard = tiny.transcribe(np.asarray(0.09 * sound / np.sqrt(np.mean(sound**2)), np.float32), "en")
    assert _letters(heard.text) == "flight 512 departs from gate 36"
    assert [word.text for word in heard.words] == heard.text.split()


def test_english_is_understood_with_the_time_of_each_word(tiny: Whisper, hibari: Hibari) -> None:
    sound = _spoken(hibari, ENGLISH, "en")
    heard = tiny.transcribe(sound, "en")
    assert _word_errors(heard.text, ENGLISH) <= 1
    assert [word.text for word in heard.words] == heard.text.split()
    times = [time for word in heard.words for time in (word.start_ms, word.end_ms)]
    assert times == sorted(times)
    assert times[-1] <= 1000 * len(sound) / RATE_HZ
    assert heard.words[-1].start_ms > 2000


def test_a_short_phrase_is_not_said_twice(tiny: Whisper, hibari: Hibari) -> None:
    assert _letters(tiny.transcribe(_spoken(hibari, "Good evening.", "en"), "en").text) == "good evening"


def test_a_phrase_longer_than_the_usual_window_is_understood_to_its_end(tiny: Whisper, hibari: Hibari) -> None:
    text = (
        "The government announced on Monday that it will build forty thousand new homes. Heavy rain has closed several "
        "roads in the north. The central bank kept interest rates unchanged. And in sport, the national team won "
        "its third match in a row after a late goal."
    )
    sound = _spoken(hibari, text, "en")
    assert len(sound) / RATE_HZ > 12
    heard = tiny.transcribe(sound, "en").text
    assert heard.endswith("late goal.")
    assert _word_errors(heard, text.replace("forty thousand", "40,000")) <= 5


@pytest.mark.parametrize("voice", ["jm_kumo", "jf_gongitsune"])
def test_kokoros_spanish_is_understood_by_the_multilingual_model(base: Whisper, kokoro: Kokoro, voice: str) -> None:
    speech = kokoro.speak(kokoro.prepare(SPANISH, "es", voice), 1.15)
    heard = base.transcribe(soxr.resample(speech.samples, speech.rate_hz, RATE_HZ), "es")
    assert _word_errors(heard.text, SPANISH) <= 1


def _sounds_without_speech() -> dict[str, Mono]:
    random = np.random.default_rng(7)
    t = np.arange(4 * RATE_HZ) / RATE_HZ
    chord = sum(np.sin(2 * np.pi * hz * t) * np.exp(-(t % 0.5) * 4) for hz in (220, 277.2, 329.6, 440))
    claps = random.normal(0, 1, t.size) * (random.random(t.size // 400 + 1).repeat(400)[: t.size] > 0.7)
    beeps = np.sin(2 * np.pi * 1000 * t) * (t % 1 < 0.2)
    sounds = {
        "silence": np.zeros(t.size),
        "noise": random.normal(0, 0.1, t.size),
        "music": 0.1 * chord,
        "applause": 0.2 * claps,
        "beeps": 0.3 * beeps,
        "nothing at all": np.zeros(0),
    }
    return {name: samples.astype(np.float32) for name, samples in sounds.items()}


@pytest.mark.parametrize("sound", _sounds_without_speech())
def test_sounds_without_speech_give_no_text(tiny: Whisper, base: Whisper, sound: str) -> None:
    samples = _sounds_without_speech()[sound]
    assert tiny.transcribe(samples, "en").text == ""
    assert base.transcribe(samples, "es").text == ""


TERMS = ("Maria Gomez", "Harbour Cup", "central bank", "Bridgewater")


def test_terms_are_heard_as_they_are_written(tiny: Whisper, hibari: Hibari) -> None:
    sound = _spoken(hibari, "The two of them will play the final of the Harbour Cup.", "en")
    assert "Harbour Cup" not in tiny.transcribe(sound, "en").text
    heard = tiny.transcribe(sound, "en", TERMS)
    assert "Harbour Cup" in heard.text
    assert [word.text for word in heard.words] == heard.text.split()


def test_terms_that_look_like_marks_of_the_model_and_too_many_of_them_do_no_harm(tiny: Whisper, hibari: Hibari) -> None:
    sound = _spoken(hibari, ENGLISH, "en")
    odd = ["<|endoftext|>", "<|startoftranscript|>", "\u200b", *(f"Term {n} of many" for n in range(200))]
    assert _word_errors(tiny.transcribe(sound, "en", odd).text, ENGLISH) <= 2


@pytest.mark.parametrize("sound", _sounds_without_speech())
def test_terms_are_not_heard_where_nothing_is_said(tiny: Whisper, base: Whisper, sound: str) -> None:
    samples = _sounds_without_speech()[sound]
    assert tiny.transcribe(samples, "en", TERMS).text == ""
    assert base.transcribe(samples, "es", TERMS).text == ""


def test_spanish_is_told_apart_and_heard_as_english(base: Whisper, kokoro: Kokoro) -> None:
    speech = kokoro.speak(kokoro.prepare("Buenas noches. El tren llega mañana a las siete.", "es", "jm_kumo"), 1.0)
    sound = soxr.resample(speech.samples, speech.rate_hz, RATE_HZ)
    found = base.detect(sound)
    assert max(found.probabilities, key=found.probabilities.__getitem__) == "es"
    assert "tren" in found.hear("es", False).text.lower()
    assert "train" in base.translate(sound, "es").text.lower()


def test_a_language_the_model_does_not_know_is_refused(tiny: Whisper, base: Whisper) -> None:
    assert tiny.languages == {"en"}
    assert {"en", "es", "de", "fr"} <= base.languages
    with pytest.raises(StsError) as caught:
        tiny.transcribe(np.zeros(RATE_HZ, np.float32), "es")
    assert caught.value.code == "UNSUPPORTED_LANGUAGE"
    assert caught.value.stage == "asr"


def test_several_threads_get_each_their_own_text(tiny: Whisper, hibari: Hibari) -> None:
    texts = ["The rain will fall tomorrow.", "Good evening and welcome.", "The train leaves at seven."]
    sounds = [_spoken(hibari, text, "en") for text in texts]
    alone = [tiny.transcribe(sound, "en").text for sound in sounds]
    with ThreadPoolExecutor(3) as pool:
        assert [heard.text for heard in pool.map(lambda sound: tiny.transcribe(sound, "en"), sounds)] == alone


def test_a_missing_model_is_named(tmp_path: pytest.TempPathFactory) -> None:
    paths = Paths(state_dir=tmp_path)  # type: ignore[arg-type]
    assert "whisper-base" in Whisper.missing(WhisperEngine(model="whisper-base"), paths)
    with pytest.raises(StartupError, match=r"whisper-base: .*model\.bin is missing: run scripts/setup"):
        Whisper("whisper-base", WhisperEngine(model="whisper-base"), Sts(), paths)
