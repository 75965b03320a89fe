"""Speech apart from all else: DeepFilterNet3, a C library called through ctypes, on the stream's 48 kHz stereo.

The network estimates the speech of the middle channel. How far that leans to one side is told by how much of it is
found in the difference of the channels; what is left of both without it is the background.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dubrelay.audio import CHANNELS, Samples
from dubrelay.errors import StartupError

DELAY = 1440
"""Samples that the estimate needs to have heard beyond the one it is for."""
_MEMORY = 0.98
"""How much of what a frame said about where the speaker is still counts with the next: half of it after 0.35 s."""
_LEAN_FROM = 0.05
_LIMIT_DB = 100.0
"""No limit to the attenuation: the background sounds best when all of the speech is taken."""

Mono = npt.NDArray[np.float32]


def _load(path: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(path))  # lets go of the GIL during calls
    except OSError as e:
        raise StartupError(f"{path}: the separation library cannot be loaded: {e}") from e
    state, samples = ctypes.c_void_p, ctypes.c_void_p
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_create.restype = state
    library.df_get_frame_length.argtypes = [state]
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_process_frame.argtypes = [state, samples, samples]
    library.df_process_frame.restype = ctypes.c_float
    library.df_free.argtypes = [state]
    library.df_free.restype = None
    return library


class Separator:
    """One stream's separation, about 0.35 s to make and 30 MB to keep.

    What comes out is for the samples that went in, in the same order and number; it lags behind them by DELAY and less
    than one frame of 10 ms. `flush` gives the rest. Background and speech add up to what went in, in the middle.
    """

    def __init__(self, library: Path, weights: Path) -> None:
        self._state: int | None = None
        if not weights.is_file():
            raise StartupError(f"{weights}: the separation model is not there")  # the library would abort the process
        self._library = _load(library)
        self._state = self._library.df_create(str(weights).encode(), _LIMIT_DB, None)
        if not self._state:
            raise StartupError(f"{weights}: the separation model cannot be loaded")
        self._frame = int(self._library.df_get_frame_length(self._state))
        self._start_over()

    def _start_over(self) -> None:
        self._rest: Samples = np.zeros((0, CHANNELS), np.float32)  # less than a frame
        self._waiting: Samples = np.zeros((0, CHANNELS), np.float32)  # went in, their estimate did not come out yet
        self._ahead = DELAY  # estimates to come that belong to nothing that went in
        self._lean = self._power = self._leaning = 0.0

    def push(self, samples: Samples) -> tuple[Samples, Mono]:
        """(n, 2) in blocks of any size -> background (m, 2) and speech (m,) of the next m samples that went in.

        The speech is that of the middle channel.
        """
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // self._frame * self._frame
        self._rest = samples[whole:]
        waiting = np.concatenate([self._waiting, samples[:whole]])
        speech = self._estimate(samples[:whole].mean(axis=1, dtype=np.float32))
        ahead = min(self._ahead, len(speech))
        self._ahead -= ahead
        speech = speech[ahead:]
        self._waiting = waiting[len(speech) :]
        return waiting[: len(speech)] - speech[:, None] * self._sides(waiting[: len(speech)], speech), speech

    def _sides(self, sound: Samples, speech: Mono) -> Samples:
        """(m, 2), whole frames: how much of the speech each channel has; 1 and 1 in the middle, 2 and 0 at the left."""
        spoken = speech.reshape(-1, self._frame)
        aside = ((sound[:, 0] - sound[:, 1]) / 2).reshape(-1, self._frame)
        course = np.empty_like(spoken)
        power, leaning = (spoken * spoken).sum(axis=1), (spoken * aside).sum(axis=1)
        for n in range(len(spoken)):
            self._power = _MEMORY * self._power + float(power[n])
            self._leaning = _MEMORY * self._leaning + float(leaning[n])
            lean = max(-1.0, min(1.0, self._leaning / self._power)) if self._power > 0 else 0.0
            lean = lean if abs(lean) > _LEAN_FROM else 0.0
            course[n] = np.linspace(self._lean, lean, self._frame, dtype=np.float32)
            self._lean = lean
        return np.stack([1 + course.ravel(), 1 - course.ravel()], axis=1)

    def flush(self) -> tuple[Samples, Mono]:
        """What did not come out yet; the next sample that goes in begins a new run."""
        owed = len(self._waiting) + len(self._rest)
        frames = -(-(len(self._rest) + DELAY) // self._frame)
        silence = np.zeros((frames * self._frame - len(self._rest), CHANNELS), np.float32)
        background, speech = self.push(silence)
        self._start_over()
        return background[:owed], speech[:owed]

    def close(self) -> None:
        if self._state:
            self._library.df_free(self._state)
            self._state = None

    def __del__(self) -> None:
        self.close()

    def _estimate(self, middle: Mono) -> Mono:
        """(k,) whole frames -> speech (k,), late by DELAY."""
        if not self._state:
            raise RuntimeError("the separator was closed")
        middle = np.ascontiguousarray(middle)
        speech = np.empty_like(middle)
        for at in range(0, len(middle), self._frame):
            self._library.df_process_frame(self._state, middle[at:].ctypes.data, speech[at:].ctypes.data)
        return speech
