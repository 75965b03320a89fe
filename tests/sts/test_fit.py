from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.loudness import loudness
from dubrelay.sts.fit import levelled, stretch, trim

pytestmark = pytest.mark.unit

RATE_HZ = 24_000
Mono = npt.NDArray[np.float32]


def _voice(seconds: float, pitch_hz: float = 120.0) -> Mono:
    """A buzz with the harmonics and the slow swell of a voice."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    buzz = sum(np.sin(2 * np.pi * pitch_hz * k * t) / k for k in range(1, 12))
    swell: Mono = (0.2 * buzz * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))).astype(np.float32)
    return swell


def _pitch_hz(samples: Mono) -> float:
    middle = samples[len(samples) // 2 :][:4096] * np.hanning(4096)
    likeness = np.correlate(middle, middle, "full")[4096:]
    lowest, highest = RATE_HZ // 400, RATE_HZ // 60
    return RATE_HZ / (lowest + 1 + int(np.argmax(likeness[lowest:highest])))


@given(
    samples=st.integers(0, 6000).map(lambda n: np.random.default_rng(n).normal(0, 0.1, n).astype(np.float32)),
    rate_hz=st.sampled_from([16_000, 22_050, 24_000, 48_000]),
    tempo=st.floats(0.5, 2.0),
)
def test_stretching_gives_exactly_the_length_asked_for(samples: Mono, rate_hz: int, tempo: float) -> None:
    out = stretch(samples, rate_hz, tempo)
    assert len(out) == round(len(samples) / tempo)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()


@given(tempo=st.floats(0.6, 1.8), pitch_hz=st.floats(90, 250))
def test_stretching_keeps_pitch_and_level_and_makes_no_clicks(tempo: float, pitch_hz: float) -> None:
    voice = _voice(1.0, pitch_hz)
    out = stretch(voice, RATE_HZ, tempo)
    assert _pitch_hz(out) == pytest.approx(pitch_hz, rel=0.04)
    inner = out[2000:-2000]
    assert np.abs(np.diff(inner)).max() < 1.3 * np.abs(np.diff(voice)).max()
    assert np.sqrt(np.mean(inner**2)) == pytest.approx(np.sqrt(np.mean(voice**2)), rel=0.2)


def test_tempo_one_changes_nothing() -> None:
    voice = _voice(0.3)
    assert np.array_equal(stretch(voice, RATE_HZ, 1.0), voice)


def test_silence_stays_silence() -> None:
    assert not stretch(np.zeros(RATE_HZ, np.float32), RATE_HZ, 1.3).any()


@pytest.mark.parametrize("tempo", [0.0, -1.0])
def test_a_tempo_that_is_none_is_refused(tempo: float) -> None:
    with pytest.raises(ValueError, match="tempo"):
        stretch(_voice(0.1), RATE_HZ, tempo)


@given(lead=st.integers(0, 5000), tail=st.integers(0, 5000))
def test_trimming_takes_the_silence_but_for_20_ms(lead: int, tail: int) -> None:
    sound = np.full(1000, 0.5, np.float32)
    padded = np.concatenate([np.zeros(lead, np.float32), sound, np.zeros(tail, np.float32)])
    keep = round(0.02 * RATE_HZ)
    assert len(trim(padded, RATE_HZ)) == 1000 + min(lead, keep) + min(tail, keep)


def test_trimming_silence_leaves_nothing() -> None:
    assert len(trim(np.full(1000, 0.001, np.float32), RATE_HZ)) == 0
    assert len(trim(np.zeros(0, np.float32), RATE_HZ)) == 0


@given(level=st.floats(0.02, 1.0), lufs=st.floats(-30, -18), rate_hz=st.sampled_from([16_000, 22_050, 24_000]))
def test_speech_is_as_loud_as_it_shall_be(level: float, lufs: float, rate_hz: int) -> None:
    out = levelled(level * _voice(1.0), rate_hz, lufs)
    assert loudness(out[:, None], rate_hz) == pytest.approx(lufs, abs=0.05)
    assert np.abs(out).max() <= 0.8913


def test_a_peak_stays_below_minus_1_dbfs_whatever_the_loudness() -> None:
    click = 0.02 * _voice(1.0)
    click[5000] = 0.5
    out = levelled(click, RATE_HZ, -10)
    assert np.abs(out).max() == pytest.approx(10 ** (-1 / 20), rel=1e-4)


def test_silence_is_not_made_loud() -> None:
    for quiet in (np.zeros(RATE_HZ, np.float32), np.zeros(0, np.float32), np.full(RATE_HZ, 1e-6, np.float32)):
        assert levelled(quiet, RATE_HZ, -23) is quiet
