"""What is heard when: the original, or the background with the dub over it, joined by crossfades. Pure.

At every sample one mode is in force. The weights of original and background are the mean over the modes of the last
crossfade's length, so a change of mode is a straight ramp, two equal modes in a row have no dip, and what is computed
does not depend on the size of the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from dubrelay import audio, config
from dubrelay.audio import Samples

CEILING = audio.gain(-1.0)
_KNEE = audio.gain(-4.0)
_MAX_GAIN, _MIN_GAIN = 6.0, 0.25
_WINDOW = audio.samples_in(0.02)
_AUDIBLE = audio.gain(-56)
_ONSET_WINDOW = audio.samples_in(0.01)
_EDGE = audio.samples_in(0.005)

Modes = npt.NDArray[np.int8]
Mono = npt.NDArray[np.float32]


class Mode(IntEnum):
    ORIGINAL = 0
    DUBBED = 1
    DUBBED_DUCKED = 2
    """Dubbed where no background is to be had: over the original, quieter."""
    BACKGROUND = 3
    DUCKED = 4
    SILENCE = 5


FALLBACK_MODE: dict[config.Fallback, Mode] = {
    "original": Mode.ORIGINAL,
    "background": Mode.BACKGROUND,
    "ducked": Mode.DUCKED,
    "silence": Mode.SILENCE,
}
WITHOUT_BACKGROUND = {Mode.DUBBED: Mode.DUBBED_DUCKED, Mode.BACKGROUND: Mode.DUCKED}


@dataclass(frozen=True)
class Weights:
    """Per sample (n,): how much of each is heard; `dubbed` is 1 where a dub may speak."""

    original: Mono
    background: Mono
    dubbed: Mono


class Blend:
    """Modes to weights, and weights to sound."""

    def __init__(self, mix: config.Mix) -> None:
        self.fade = max(1, audio.samples_in(mix.crossfade_ms / 1000))
        """Length of a crossfade in samples."""
        duck, speech = audio.gain(mix.duck_gain_db), audio.gain(mix.original_gain_db)
        self._original = np.array([1, speech, duck, 0, duck, 0], np.float64)
        self._background = np.array([0, 1 - speech, 0, 1, 0, 0], np.float64)
        self._dubbed = np.array([0, 1, 1, 0, 0, 0], np.float64)

    def weights(self, modes: Modes) -> Weights | None:
        """For all but the first `fade` - 1 of `modes`, which went out before. None: the original and nothing else."""
        present = np.unique(modes)
        if len(present) == 1 and present[0] == Mode.ORIGINAL:
            return None
        # Counts are whole numbers: no rounding that would depend on where a block begins.
        shares = {int(mode): self._counts(modes == mode) / self.fade for mode in present}
        return Weights(*(self._sum(shares, table) for table in (self._original, self._background, self._dubbed)))

    def _counts(self, here: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        total = np.concatenate([[0], np.cumsum(here, dtype=np.int64)])
        counts: npt.NDArray[np.int64] = total[self.fade :] - total[: -self.fade]
        return counts

    @staticmethod
    def _sum(shares: dict[int, npt.NDArray[np.float64]], table: npt.NDArray[np.float64]) -> Mono:
        weight = sum(share * table[mode] for mode, share in shares.items())
        return np.asarray(weight, np.float32)


def mixed(weights: Weights, original: Samples, background: Samples, dub: Mono) -> Samples:
    """(n, 2): the parts by their weights, and peaks rounded off as far as a dub is heard."""
    sound = original * weights.original[:, None] + background * weights.background[:, None] + dub[:, None]
    if not weights.dubbed.any():
        return sound
    return sound + (limited(sound) - sound) * weights.dubbed[:, None]


def limited(sound: Samples) -> Samples:
    """Unchanged below -4 dBFS, bent smoothly above so that nothing passes -1 dBFS; each sample for itself."""
    size = np.abs(sound)
    if size.max(initial=0.0) <= _KNEE:
        return sound
    room = CEILING - _KNEE
    bent = np.copysign(_KNEE + room * np.tanh((size - _KNEE) / room), sound)
    return np.where(size > _KNEE, bent, sound).astype(np.float32)


def voiced_rms(sound: Mono) -> float:
    """Level of the windows of 20 ms that are within 20 dB of the loud ones: pauses do not count."""
    whole = len(sound) // _WINDOW * _WINDOW
    if not whole:
        return audio.rms(sound)
    power = np.mean(np.square(sound[:whole].reshape(-1, _WINDOW), dtype=np.float64), axis=1)
    return float(np.sqrt(power[power >= 0.01 * np.quantile(power, 0.9)].mean()))


def audible(voice: Mono) -> float:
    """Seconds in which a voice is louder than -56 dBFS."""
    whole = len(voice) // _WINDOW * _WINDOW
    power = np.mean(np.square(voice[:whole].reshape(-1, _WINDOW), dtype=np.float64), axis=1)
    return float(np.count_nonzero(power > _AUDIBLE**2)) * _WINDOW / audio.RATE_HZ


def onset(voice: Mono, found: int) -> int:
    """Where the word begins that a detector `found` at this index of a voice without background.

    Its first sound may be soft: back from `found`, as long as windows of 10 ms are within 18 dB of the voice's level.
    """
    audible = np.float32(0.125 * voiced_rms(voice[found:]))
    first = found
    while first >= _ONSET_WINDOW and audio.rms(voice[first - _ONSET_WINDOW : first]) > audible > 0:
        first -= _ONSET_WINDOW
    return first


def levelled(dub: Mono, like: Mono) -> Mono:
    """The dub as loud as the speech it takes the place of, within bounds, and with soft edges."""
    own, wanted = voiced_rms(dub), voiced_rms(like)
    gain = min(_MAX_GAIN, max(_MIN_GAIN, wanted / own)) if own > 0 else 1.0
    dub = dub * np.float32(gain)
    edge = min(_EDGE, len(dub) // 2)
    ramp = np.linspace(0, 1, edge, endpoint=False, dtype=np.float32)
    dub[:edge] *= ramp
    dub[len(dub) - edge :] *= ramp[::-1]
    return dub
