"""How likely it is that somebody speaks: the silero network, version 6, one probability per 32 ms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from dubrelay.models.network import loaded

RATE_HZ = 16_000
FRAME = 512
_CONTEXT = 64

Mono = npt.NDArray[np.float32]


class Vad:
    """One stream's detector. It remembers what it heard; `reset` makes it forget."""

    def __init__(self, model: Path) -> None:
        self._session = loaded(model, "the speech detector", arena=False)
        self.reset()

    def reset(self) -> None:
        self._h = np.zeros((1, 1, 128), np.float32)
        self._c = np.zeros((1, 1, 128), np.float32)
        self._before: Mono = np.zeros(_CONTEXT, np.float32)
        self._rest: Mono = np.zeros(0, np.float32)

    def push(self, samples: Mono) -> list[float]:
        """(n,) samples at 16 kHz in blocks of any size -> a probability for each whole frame of 512 so far."""
        waiting = np.concatenate([self._rest, samples])
        whole = len(waiting) // FRAME * FRAME
        self._rest = waiting[whole:]
        return [self._probability(waiting[i : i + FRAME]) for i in range(0, whole, FRAME)]

    def _probability(self, frame: Mono) -> float:
        heard = np.concatenate([self._before, frame])
        self._before = frame[-_CONTEXT:]
        probability, self._h, self._c = self._session.run(None, {"input": heard[None], "h": self._h, "c": self._c})
        return float(probability.reshape(-1)[0])
