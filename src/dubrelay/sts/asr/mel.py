"""Whisper's input: the log-mel spectrogram of a phrase with silence after it. Pure."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from dubrelay.sts.asr.base import RATE_HZ

Floats = npt.NDArray[np.float32]

HOP = 160
FRAMES_PER_S = RATE_HZ // HOP
_FFT = 400


def log_mel(samples: Floats, window_s: float, bands: int) -> Floats:
    """(bands, window_s * 100) of `samples` at 16 kHz, padded with silence to `window_s`."""
    frames = round(window_s * FRAMES_PER_S)
    padded = np.zeros(frames * HOP + _FFT, np.float32)
    padded[_FFT // 2 : _FFT // 2 + len(samples)] = samples[: frames * HOP]
    padded[: _FFT // 2] = padded[_FFT : _FFT // 2 : -1]
    view = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::HOP][:frames]
    power = np.square(np.abs(np.fft.rfft(view * _hann(), axis=1))).astype(np.float32)
    level = np.log10(np.maximum(_filters(bands) @ power.T, 1e-10))
    scaled: Floats = ((np.maximum(level, level.max() - 8) + 4) / 4).astype(np.float32)
    return scaled


@functools.cache
def _hann() -> Floats:
    return np.hanning(_FFT + 1)[:-1].astype(np.float32)


@functools.cache
def _filters(bands: int) -> Floats:
    """(bands, 201) triangles on Slaney's mel scale, each of unit area: linear to 1 kHz, logarithmic above."""
    centres_hz = _mel_to_hz(np.linspace(0, _hz_to_mel(RATE_HZ / 2), bands + 2))
    widths = np.diff(centres_hz)
    distance = centres_hz[:, None] - np.fft.rfftfreq(_FFT, 1 / RATE_HZ)
    rising = -distance[:-2] / widths[:-1, None]
    falling = distance[2:] / widths[1:, None]
    area = 2 / (centres_hz[2:] - centres_hz[:-2])
    filters: Floats = (np.maximum(0, np.minimum(rising, falling)) * area[:, None]).astype(np.float32)
    return filters


_HZ_PER_MEL = 200 / 3
_MELS_AT_1KHZ = 1000 / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    return float(_MELS_AT_1KHZ + np.log(hz / 1000) / _LOG_STEP)


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    above: npt.NDArray[np.float64] = 1000 * np.exp(_LOG_STEP * (mel - _MELS_AT_1KHZ))
    return np.where(mel < _MELS_AT_1KHZ, mel * _HZ_PER_MEL, above)
