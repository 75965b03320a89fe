from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dubrelay.config import HibariEngine, Paths, Sts
from dubrelay.errors import StartupError, StsError
from dubrelay.sts.tts.hibari import Hibari

pytestmark = pytest.mark.service

TEXT = "The rain will fall tomorrow, and it costs $9.99."


@pytest.fixture(scope="module")
def hibari() -> Hibari:
    return Hibari("hibari", HibariEngine(), Sts(), Paths())


@pytest.mark.parametrize("tempo", [0.8, 1.0, 1.3])
def test_the_tempo_asked_for_is_met(hibari: Hibari, tempo: float) -> None:
    prepared = hibari.prepare(TEXT, "en", "heart")
    speech = hibari.speak(prepared, tempo)
    assert len(speech.samples) / speech.rate_hz == pytest.approx(prepared.natural_s / tempo, abs=0.001)
    assert np.abs(speech.samples).max() > 0.05


def test_the_same_text_sounds_the_same_each_time(hibari: Hibari) -> None:
    first, second = (hibari.speak(hibari.prepare(TEXT, "en", "heart"), 1.2).samples for _ in range(2))
    assert np.array_equal(first, second)


def test_a_voice_that_is_not_in_the_package_is_never_loaded(hibari: Hibari) -> None:
    assert hibari.voices("en") == ("heart",)
    assert hibari.prepare("Hello.", "en", "emma").voice == "heart"


def test_another_language_is_refused(hibari: Hibari) -> None:
    with pytest.raises(StsError) as caught:
        hibari.prepare("Hola.", "es", "heart")
    assert caught.value.code == "UNSUPPORTED_LANGUAGE"


def test_an_altered_model_of_the_operator_is_a_startup_error(tmp_path: Path) -> None:
    own = tmp_path / "hibari"
    own.mkdir()
    paths = Paths(models_dir=tmp_path)
    with pytest.raises(StartupError, match=r"hibari: .* has no hibari\.onnx"):
        Hibari("hibari", HibariEngine(), Sts(), paths)
    (own / "hibari.onnx").write_bytes(b"no model")
    with pytest.raises(StartupError, match=r"hibari\.onnx cannot be loaded"):
        Hibari("hibari", HibariEngine(), Sts(), paths)
