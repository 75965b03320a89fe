"""Speech apart from all else: DeepFilterNet3 on the stream's 48 kHz stereo, many frames of 10 ms in one call.

The network estimates the speech of the middle channel. How far that leans to one side is told by how much of it is
found in the difference of the channels; what is left of both without it is the background.

The network itself is one graph (models/split.py); what stands around it, from the sound to its features and from its
gains and filters to sound again, is that of libDF 0.5.6 and gives what that gives to 130 dB.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from dubrelay.audio import CHANNELS, Samples
from dubrelay.models.network import loaded

FRAME = 480
DELAY = 3 * FRAME
"""Samples that the estimate needs to have heard beyond the one it is for."""
_MOST = 25
"""Frames in one call of the network. Longer calls are hardly cheaper, and they need more memory."""
_MEMORY = 0.98
"""How much of what a frame said about where the speaker is still counts with the next: half of it after 0.35 s."""
_LEAN_FROM = 0.05
_LEVEL_MEMORY = 0.99
_LEAST_LEVEL = np.float32(1e-12)
"""Digital silence that lasts for minutes has a level of nothing at all."""
_BANDS = np.array([2] * 13 + [5, 5, 7, 7, 8, 10, 12, 13, 15, 18, 20, 24, 28, 31, 37, 42, 50, 56, 67])
"""How many of the 481 bins of a spectrum are in each of the ERB bands that the gains are for."""
_FILTERED, _TAPS = 96, 5
"""The lowest bins are not scaled by a gain but filtered along time, with complex taps."""
_LOOK_AHEAD = 2
"""Frames that the network has heard beyond the one that its gains and filters are for."""

Mono = npt.NDArray[np.float32]
_Spectra = npt.NDArray[np.complex64]


def _window() -> Mono:
    """Vorbis' power-complementary window."""
    slope = np.sin(np.pi / 2 * (np.arange(2 * FRAME) + 0.5) / FRAME)
    return np.asarray(np.sin(np.pi / 2 * slope**2), np.float32)


_WINDOW = _window()
_RAMP = np.linspace(0, 1, FRAME, dtype=np.float32)
_SCALE = np.float32(1 / (2 * np.square(_WINDOW).sum()))
_FIRST_LEVELS = np.concatenate(
    [np.linspace(-60, -90, len(_BANDS), dtype=np.float32), np.linspace(1e-3, 1e-4, _FILTERED, dtype=np.float32)]
)


class Separator:
    """One stream's separation, about 0.1 s to make and 40 MB to keep; 0.03 s of CPU per second of sound.

    What comes out is for the samples that went in, in the same order and number; it lags behind them by DELAY and less
    than one frame of 10 ms. Background and speech add up to what went in, in the middle.
    """

    def __init__(self, graph: Path) -> None:
        self._session = loaded(graph, "the separation model", arena=False)
        self.restart()

    def restart(self) -> None:
        """Forgets what was heard: the next sample that goes in begins a new run."""
        self._rest: Samples = np.zeros((0, CHANNELS), np.float32)  # less than a frame
        self._waiting: Samples = np.zeros((0, CHANNELS), np.float32)  # went in, their estimate did not come out yet
        self._ahead = DELAY  # estimates to come that belong to nothing that went in
        self._lean: Mono = np.zeros(1, np.float32)
        self._leaning: Mono = np.zeros(2, np.float32)
        self._block: Mono = np.zeros(FRAME, np.float32)
        self._overlap: Mono = np.zeros(FRAME, np.float32)
        self._spectra: _Spectra = np.zeros((_TAPS - 1, FRAME + 1), np.complex64)
        self._levels: Mono = _FIRST_LEVELS
        self._memory = [np.zeros(i.shape, np.float32) for i in self._session.get_inputs()[2:]]

    def push(self, samples: Samples) -> tuple[Samples, Mono]:
        """(n, 2) in blocks of any size -> background (m, 2) and speech (m,) of the next m samples that went in.

        The speech is that of the middle channel.
        """
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // FRAME * FRAME
        self._rest = samples[whole:]
        waiting = np.concatenate([self._waiting, samples[:whole]])
        speech = self._speech(samples[:whole].mean(axis=1, dtype=np.float32))
        ahead = min(self._ahead, len(speech))
        self._ahead -= ahead
        speech = speech[ahead:]
        self._waiting = waiting[len(speech) :]
        return waiting[: len(speech)] - speech[:, None] * self._sides(waiting[: len(speech)], speech), speech

    def _sides(self, sound: Samples, speech: Mono) -> Samples:
        """(m, 2), whole frames: how much of the speech each channel has; 1 and 1 in the middle, 2 and 0 at the left."""
        if not len(speech):
            return sound
        spoken = speech.reshape(-1, FRAME)
        aside = ((sound[:, 0] - sound[:, 1]) / 2).reshape(-1, FRAME)
        leaning = np.stack([(spoken * aside).sum(axis=1), (spoken * spoken).sum(axis=1)], axis=1)
        leaning = _smoothed(leaning, self._leaning, _MEMORY)
        self._leaning = leaning[-1]
        lean: Mono = np.clip(leaning[:, 0] / np.maximum(leaning[:, 1], np.float32(1e-20)), -1, 1)
        lean = np.concatenate([self._lean, lean * (np.abs(lean) > _LEAN_FROM)])
        self._lean = lean[-1:]
        course: Mono = (lean[:-1, None] + np.diff(lean)[:, None] * _RAMP).ravel()
        return np.stack([1 + course, 1 - course], axis=1)

    def _speech(self, middle: Mono) -> Mono:
        """(k,) whole frames -> speech (k,), late by DELAY."""
        most = _MOST * FRAME
        parts = [self._estimate(middle[at : at + most]) for at in range(0, len(middle), most)]
        return np.concatenate([np.zeros(0, np.float32), *parts])

    def _estimate(self, middle: Mono) -> Mono:
        blocks = np.concatenate([self._block, middle]).reshape(-1, FRAME)
        self._block = blocks[-1]
        framed = np.concatenate([blocks[:-1], blocks[1:]], axis=1) * _WINDOW
        spectra = np.asarray(np.fft.rfft(framed, axis=1) * _SCALE, np.complex64)
        waves = np.fft.irfft(self._of_speech(spectra), axis=1) * (_WINDOW * np.float32(2 * FRAME))
        overlaps = np.concatenate([self._overlap[None], waves[:-1, FRAME:]])
        self._overlap = waves[-1, FRAME:]
        return np.asarray(waves[:, :FRAME] + overlaps, np.float32).ravel()

    def _of_speech(self, spectra: _Spectra) -> _Spectra:
        """(k, 481) -> the speech in the k frames that began _LOOK_AHEAD earlier."""
        gains, filters = self._run(*self._features(spectra))
        frames = np.concatenate([self._spectra, spectra])
        self._spectra = frames[-(_TAPS - 1) :]
        count = len(spectra)
        speech = frames[_LOOK_AHEAD : _LOOK_AHEAD + count] * np.repeat(gains, _BANDS, axis=1)
        low = frames[:, :_FILTERED]
        speech[:, :_FILTERED] = sum(low[tap : tap + count] * filters[:, :, tap] for tap in range(_TAPS))
        return speech

    def _features(self, spectra: _Spectra) -> tuple[Mono, Mono]:
        """(k, 32) bands in dB and (2, k, 96) lowest bins, each against its own level of the last second."""
        power = np.square(spectra.real) + np.square(spectra.imag)
        bands = 10 * np.log10(np.add.reduceat(power, np.cumsum(_BANDS) - _BANDS, axis=1) / _BANDS + 1e-10)
        found = np.concatenate([bands, np.sqrt(power[:, :_FILTERED])], axis=1, dtype=np.float32)
        levels = _smoothed(found, self._levels, _LEVEL_MEMORY)
        self._levels = levels[-1]
        low = spectra[:, :_FILTERED] / np.sqrt(np.maximum(levels[:, len(_BANDS) :], _LEAST_LEVEL))
        return (found - levels)[:, : len(_BANDS)] / np.float32(40), np.stack([low.real, low.imag])

    def _run(self, bands: Mono, low: Mono) -> tuple[Mono, _Spectra]:
        """Gains (k, 32) and filters (k, 96, 5)."""
        given = [bands[None, None], low[None], *self._memory]
        names = [i.name for i in self._session.get_inputs()]
        gains, filters, *self._memory = self._session.run(None, dict(zip(names, given, strict=True)))
        return gains[0, 0], filters[0].view(np.complex64)


def _smoothed(values: Mono, before: Mono, keep: float) -> Mono:
    """(n, k): of each value 1 - `keep`, of the smoothed one before it `keep`."""
    ages = np.subtract.outer(np.arange(len(values)), np.arange(len(values)))
    weights = np.where(ages < 0, 0, (1 - keep) * keep ** np.maximum(ages, 0)).astype(np.float32)
    fading = np.asarray(keep ** np.arange(1, len(values) + 1), np.float32)
    return weights @ values + fading[:, None] * before
