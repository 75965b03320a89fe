"""How loud the sound on one side of the worker is, block by block: what a meter on a desk shows. Pure.

LUFS after ITU-R BS.1770-4; the integrated loudness is of all that was noted, so that it needs no more room after hours.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from dubrelay.audio import RATE_HZ, Samples
from dubrelay.loudness import SILENT_LUFS, lufs, weighted_power

_MOMENTARY_S = 0.4
_LOUDEST_LUFS, _STEP_LU = 10.0, 0.1
_FULL_SCALE = 32_766 / 32_768
_CLIPPED_RUN = 3
"""So many samples in a row at full scale; a single one is a peak that just fits."""


class Meter:
    """Takes (n, 2) blocks at 48 kHz, of some 100 ms each."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, float]] = deque()  # samples and power of each block
        self._gated = np.zeros(round((_LOUDEST_LUFS - SILENT_LUFS) / _STEP_LU) + 1)  # seconds by loudness
        self.momentary_lufs = SILENT_LUFS
        """Of the last 400 ms or so."""
        self.silent_s = 0.0
        """How long nothing has been heard by now."""
        self.clipped_s = 0.0
        """Sound at full scale, in all."""

    @property
    def integrated_lufs(self) -> float:
        """Of all so far; what is silent, or 10 LU below the rest, does not count."""
        return self._above(self._above(SILENT_LUFS) - 10)

    def _above(self, gate_lufs: float) -> float:
        levels = SILENT_LUFS + _STEP_LU * np.arange(len(self._gated))
        counted = self._gated * (levels > gate_lufs) * (levels > SILENT_LUFS)
        seconds = counted.sum()
        return lufs(float((counted * 10 ** ((levels + 0.691) / 10)).sum() / seconds)) if seconds else SILENT_LUFS

    def note(self, block: Samples) -> None:
        if not len(block):
            return
        self._recent.append((len(block), weighted_power(block, RATE_HZ)))
        while len(self._recent) > 1 and sum(n for n, _ in self._recent) - self._recent[0][0] >= _MOMENTARY_S * RATE_HZ:
            self._recent.popleft()
        count = sum(n for n, _ in self._recent)
        level = self.momentary_lufs = lufs(sum(n * power for n, power in self._recent) / count)
        lasts_s = len(block) / RATE_HZ
        self.silent_s = 0.0 if level > SILENT_LUFS else self.silent_s + lasts_s
        bin_ = round((min(level, _LOUDEST_LUFS) - SILENT_LUFS) / _STEP_LU)
        self._gated[bin_] += lasts_s
        self.clipped_s += _clipped(block) / RATE_HZ


def _clipped(block: Samples) -> int:
    """Samples in runs at full scale, of the channel that has more of them."""
    full = np.abs(block) >= _FULL_SCALE
    if not full.any():
        return 0
    in_run = full[2:] & full[1:-1] & full[:-2]
    return int(in_run.sum(axis=0).max() + (_CLIPPED_RUN - 1 if in_run.any() else 0))
