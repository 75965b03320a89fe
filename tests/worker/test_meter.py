from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from dubrelay.audio import RATE_HZ
from dubrelay.worker.meter import Meter

pytestmark = pytest.mark.unit

Stereo = npt.NDArray[np.float32]


def sine(peak_db: float, seconds: float) -> Stereo:
    mono = 10 ** (peak_db / 20) * np.sin(2 * np.pi * 997 * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)
    return np.stack([mono, mono], axis=1).astype(np.float32)


def after(*sounds: Stereo, size: int = 9600) -> Meter:
    meter = Meter()
    sound = np.concatenate(sounds)
    for at in range(0, len(sound), size):
        meter.note(sound[at : at + size])
    return meter


@pytest.mark.parametrize("size", [9600, 4800, 19_200, 7777])
def test_momentary_is_of_the_latest_moment_and_integrated_of_all(size: int) -> None:
    """EBU Tech 3341, case 3: what is 10 LU below the rest does not count."""
    meter = after(sine(-36, 10), sine(-23, 60), sine(-36, 10), size=size)
    assert meter.momentary_lufs == pytest.approx(-36, abs=0.1)
    assert meter.integrated_lufs == pytest.approx(-23, abs=0.15)


def test_silence_counts_until_something_is_heard() -> None:
    quiet = np.zeros((2 * RATE_HZ, 2), np.float32)
    meter = after(sine(-23, 1), quiet)
    assert 1.5 < meter.silent_s <= 2
    assert meter.momentary_lufs == -70
    assert meter.integrated_lufs == pytest.approx(-23, abs=0.5)  # one window lies half in the silence
    meter.note(sine(-23, 0.2))
    assert meter.silent_s == 0


def test_nothing_is_silent() -> None:
    meter = Meter()
    assert (meter.momentary_lufs, meter.integrated_lufs, meter.silent_s, meter.clipped_s) == (-70, -70, 0, 0)
    meter.note(np.zeros((0, 2), np.float32))
    assert meter.momentary_lufs == -70


def test_what_is_clipped_is_told_from_what_just_fits() -> None:
    assert after(sine(-0.001, 2)).clipped_s == 0
    assert after(np.clip(sine(6, 2), -1, 1)).clipped_s > 0.5
    one_channel = np.clip(sine(6, 2), -1, 1) * np.array([1, 0], np.float32)
    assert after(one_channel).clipped_s == pytest.approx(after(np.clip(sine(6, 2), -1, 1)).clipped_s)


def test_what_is_too_loud_for_its_scale_is_the_loudest() -> None:
    assert after(np.full((RATE_HZ, 2), 1, np.float32) * sine(40, 1)).integrated_lufs == pytest.approx(10, abs=0.2)
