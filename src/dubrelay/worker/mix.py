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
from dubrelay.loudness import SILENT_LUFS, loudness

CEILING = audio.gain(-1.5)
"""Between samples a wave may be half a dB higher."""
_KNEE = audio.gain(-4.5)
_MOST_DB, _LEAST_DB = 15.0, -12.0
_LEAN_FROM = 0.1
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
PROGRAMME_MODE: dict[config.Programme, Mode] = {
    "bypass": Mode.ORIGINAL,
    "silence": Mode.SILENCE,
    "break": Mode.ORIGINAL,
}
"""What is heard instead of all that the phrases say."""
WITHOUT_BACKGROUND = {Mode.DUBBED: Mode.DUBBED_DUCKED, Mode.BACKGROUND: Mode.DUCKED}


@dataclass(frozen=True)
class Weights:
    """Per sample (n,): how much of each is heard; `dubbed` is 1 where a dub may speak."""

    original: Mono
    background: Mono
    dubbed: Mono


def _gains(mix: config.Mix) -> npt.NDArray[np.float64]:
    """(3, modes): how much of original, background and dub each mode lets through."""
    duck, speech, floor = (audio.gain(db) for db in (mix.duck_gain_db, mix.original_gain_db, mix.floor_gain_db))
    original = [1, speech, duck, 0, duck, 0]
    background = [0, floor - speech, 0, floor, 0, 0]  # what is the original without its speech is in both
    dubbed = [0, 1, 1, 0, 0, 0]
    return np.array([original, background, dubbed], np.float64)


class Blend:
    """Modes to weights. Its gains may be changed while it runs: they move to the new ones along a crossfade."""

    def __init__(self, mix: config.Mix) -> None:
        self.fade = max(1, audio.samples_in(mix.crossfade_ms / 1000))
        """Length of a crossfade in samples."""
        self._gains = self._gains_before = _gains(mix)
        self._changed_at = -self.fade

    def change(self, mix: config.Mix, at: int) -> None:
        """The gains of `mix` from sample `at` on; the length of a crossfade stays."""
        moved = self._moved(at, 1)[0]
        self._gains_before = self._gains_before + moved * (self._gains - self._gains_before)
        self._gains, self._changed_at = _gains(mix), at

    def weights(self, modes: Modes, at: int) -> Weights | None:
        """From sample `at` on: the first `fade` - 1 of `modes` went out before. None: the original and nothing else."""
        present = np.unique(modes)
        if len(present) == 1 and present[0] == Mode.ORIGINAL:
            return None
        shares = {int(mode): self.share(modes == mode) for mode in present}
        moved = self._moved(at, len(modes) - self.fade + 1)
        return Weights(*(self._sum(shares, track, moved) for track in range(3)))

    def share(self, here: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """(n - fade + 1,) in 0..1: how many of the last `fade` samples are `here`."""
        # Counts are whole numbers: no rounding that would depend on where a block begins.
        total = np.concatenate([[0], np.cumsum(here, dtype=np.int64)])
        return np.asarray((total[self.fade :] - total[: -self.fade]) / self.fade, np.float64)

    def _moved(self, at: int, count: int) -> npt.NDArray[np.float64]:
        """(count,) in 0..1: how far the gains have moved to the new ones."""
        return np.asarray(np.clip((np.arange(at, at + count) - self._changed_at) / self.fade, 0, 1), np.float64)

    def _sum(self, shares: dict[int, npt.NDArray[np.float64]], track: int, moved: npt.NDArray[np.float64]) -> Mono:
        now, before = self._gains[track], self._gains_before[track]
        weight = sum(share * (before[mode] + moved * (now[mode] - before[mode])) for mode, share in shares.items())
        return np.asarray(weight, np.float32)


def mixed(weights: Weights, original: Samples, background: Samples, dub: Samples) -> Samples:
    """(n, 2): the parts by their weights, and peaks rounded off as far as a dub is heard."""
    sound = original * weights.original[:, None] + background * weights.background[:, None] + dub
    if not weights.dubbed.any():
        return sound
    return sound + (limited(sound) - sound) * weights.dubbed[:, None]


def limited(sound: Samples) -> Samples:
    """Unchanged below -4.5 dBFS, bent smoothly above so that nothing passes CEILING; each sample for itself."""
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


def placed(dub: Mono, like: Samples) -> Samples:
    """(n, 2): the dub as loud as the voice it takes the place of, within bounds, from where that voice came."""
    sound = dub[:, None] * _sides(like)
    own, wanted = loudness(sound), loudness(like)
    gain = audio.gain(min(_MOST_DB, max(_LEAST_DB, wanted - own))) if min(own, wanted) > SILENT_LUFS else 1.0
    sound *= np.float32(gain)
    edge = min(_EDGE, len(sound) // 2)
    ramp = np.linspace(0, 1, edge, endpoint=False, dtype=np.float32)[:, None]
    sound[:edge] *= ramp
    sound[len(sound) - edge :] *= ramp[::-1]
    return sound


def _sides(voice: Samples) -> Mono:
    """(2,): how much of a voice's middle each channel has; 1 and 1 for a speaker in the middle."""
    middle, aside = voice.mean(axis=1), (voice[:, 0] - voice[:, 1]) / 2
    power = float(np.dot(middle, middle))
    lean = max(-1.0, min(1.0, float(np.dot(middle, aside)) / power)) if power > 0 else 0.0
    lean = lean if abs(lean) > _LEAN_FROM else 0.0
    return np.array([1 + lean, 1 - lean], np.float32)
