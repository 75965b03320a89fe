from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from dubrelay.loudness import loudness

pytestmark = pytest.mark.unit


def sine(peak_db: float, seconds: float = 5, hz: float = 997, rate_hz: int = 48_000) -> npt.NDArray[np.float32]:
    at_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (10 ** (peak_db / 20) * np.sin(2 * np.pi * hz * at_s)).astype(np.float32)


def both(mono: npt.NDArray[np.float32], left: float = 1, right: float = 1) -> npt.NDArray[np.float32]:
    return (mono[:, None] * np.array([left, right])).astype(np.float32)


def test_loudness_is_that_of_the_standard() -> None:
    """EBU Tech 3341, cases 1, 2 and 3; a full sine in one channel has -3.01 LUFS by definition."""
    assert loudness(both(sine(0), 1, 0)) == pytest.approx(-3.01, abs=0.02)
    assert loudness(both(sine(-23))) == pytest.approx(-23, abs=0.1)
    assert loudness(both(sine(-33))) == pytest.approx(-33, abs=0.1)
    parts = np.concatenate([sine(-36, 10), sine(-23, 60), sine(-36, 10)])
    assert loudness(both(parts)) == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000])
@pytest.mark.parametrize("hz", [100, 997, 5000])
def test_loudness_is_the_same_at_every_rate(rate_hz: int, hz: float) -> None:
    there = loudness(both(sine(-20, hz=hz, rate_hz=rate_hz)), rate_hz)
    assert there == pytest.approx(loudness(both(sine(-20, hz=hz))), abs=0.1)


def test_nothing_is_not_loud() -> None:
    assert loudness(np.zeros((0, 2), np.float32)) == loudness(np.zeros((48_000, 2), np.float32)) == -70
