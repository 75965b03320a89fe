"""Speech fitted to its room after it was made: time-stretch, the trimming of silence, loudness. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dubrelay.loudness import SILENT_LUFS, loudness

Mono = npt.NDArray[np.float32]

_WINDOW_S = 0.040
_SEARCH_S = 0.0125
_SEARCH_RATE_HZ = 8000
"""Where a window fits best is looked for in every n-th sample only; pitch periods are long against that."""
_SILENCE = 0.008
_KEPT_SILENCE_S = 0.02
_PEAK = 10 ** (-1 / 20)


def trim(samples: Mono, rate_hz: int) -> Mono:
    """`samples` without the silence around them, but for 20 ms; nothing at all when all is silence."""
    loud = np.flatnonzero(np.abs(samples) > _SILENCE)
    if not len(loud):
        return samples[:0]
    keep = round(_KEPT_SILENCE_S * rate_hz)
    return samples[max(0, loud[0] - keep) : loud[-1] + 1 + keep]


def stretch(samples: Mono, rate_hz: int, tempo: float) -> Mono:
    """Speech made `tempo` times as fast at the same pitch: exactly round(len(samples) / tempo) samples.

    WSOLA (Verhelst and Roelands, 1993): windows are taken from near the place they belong to, at the offset where they
    continue best what came before, and overlapped. Made for one voice at tempos of 0.7 to 1.5.
    """
    if tempo <= 0:
        raise ValueError(f"tempo = {tempo}: must be above 0")
    length = round(len(samples) / tempo)
    if length == len(samples) or not len(samples):
        return samples[:length]
    half = round(_WINDOW_S * rate_hz / 2)
    search = round(_SEARCH_S * rate_hz)
    window = np.hanning(2 * half + 1)[:-1].astype(np.float32)
    before = half + search
    padded = np.pad(samples.astype(np.float32), (before, before + 3 * half))
    out = np.zeros(length + 3 * half, np.float32)
    taken = None
    for at in range(-half, length, half):
        place = min(max(round(at * tempo), -half), len(samples)) + before
        if taken is not None:
            place += _best_offset(padded, place, taken + half, 2 * half, search, max(1, rate_hz // _SEARCH_RATE_HZ))
        out[at + half : at + 3 * half] += padded[place : place + 2 * half] * window
        taken = place
    return out[half : half + length]


def _best_offset(padded: Mono, place: int, continuation: int, size: int, search: int, step: int) -> int:
    """Where within +-search of `place` the sound is most like what would follow the window before."""
    follows = padded[continuation : continuation + size : step]
    around = padded[max(0, place - search) : place + search + size : step]
    if len(follows) < size // step or len(around) <= len(follows):
        return 0
    likeness = np.correlate(around, follows, "valid")
    energy = np.convolve(around * around, np.ones(len(follows), np.float32), "valid")
    best = int(np.argmax(likeness / np.sqrt(np.maximum(energy, 1e-9))))
    return best * step - min(search, place)


def levelled(samples: Mono, rate_hz: int, lufs: float) -> Mono:
    """As loud as `lufs`, measured as one channel, or less loud where a peak would pass -1 dBFS; silence as it is."""
    own = loudness(samples[:, None], rate_hz)
    if own <= SILENT_LUFS:
        return samples
    peak = max(float(np.abs(samples).max()), 1e-9)
    return samples * np.float32(min(10 ** ((lufs - own) / 20), _PEAK / peak))
