"""How loud speech is: LUFS after ITU-R BS.1770-4, pauses not counted. Pure."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

SILENT_LUFS = -70.0
_BLOCK_S = 0.4
_FILTERS_HZ = 48_000
"""The rate that the standard gives its filters for; at others their response is read at the same frequencies."""


def loudness(sound: npt.NDArray[np.float32], rate_hz: int = _FILTERS_HZ) -> float:
    """LUFS of (n, channels); SILENT_LUFS when nothing is heard.

    Blocks of 400 ms (here by halves, not by quarters), gates at -70 LUFS and 10 LU below what is left.
    """
    size = min(round(_BLOCK_S * rate_hz), len(sound))
    if not size:
        return SILENT_LUFS
    starts = range(0, len(sound) - size + 1, max(1, size // 2))
    each = np.array([weighted_power(sound[at : at + size], rate_hz) for at in starts])
    each = each[each > _power(SILENT_LUFS)]
    if not len(each):
        return SILENT_LUFS
    return lufs(each[each > each.mean() / 10].mean())


def weighted_power(sound: npt.NDArray[np.float32], rate_hz: int = _FILTERS_HZ) -> float:
    """Mean square of (n, channels), K-weighted, all channels together."""
    size = len(sound)
    power = np.abs(np.fft.rfft(sound, axis=0)) ** 2 * _k_weighting(size, rate_hz)[:, None]
    return float(2 * power.sum() / size**2)  # by Parseval


def lufs(power: float) -> float:
    """Of a weighted power; SILENT_LUFS at the least."""
    return max(SILENT_LUFS, -0.691 + 10 * math.log10(max(power, 1e-12)))


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


@lru_cache(maxsize=32)
def _k_weighting(size: int, rate_hz: int) -> npt.NDArray[np.float64]:
    """(size // 2 + 1,) gain in power of each bin; the first, which is the mean, has none."""
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size * (rate_hz / _FILTERS_HZ))
    shelf = _biquad(z, (1.53512485958697, -2.69169618940638, 1.19839281085285), (-1.69065929318241, 0.73248077421585))
    high_pass = _biquad(z, (1.0, -2.0, 1.0), (-1.99004745483398, 0.99007225036621))
    return np.abs(shelf * high_pass) ** 2


def _biquad(
    z: npt.NDArray[np.complex128], b: tuple[float, float, float], a: tuple[float, float]
) -> npt.NDArray[np.complex128]:
    """Response at z^-1."""
    return (b[0] + b[1] * z + b[2] * z**2) / (1 + a[0] * z + a[1] * z**2)
