"""What is behind the voices: around speech what separation leaves, everywhere else the original, sample by sample.

Separation runs only where somebody may speak. It hears a second before that, since its network takes as long to settle;
when less than that has passed since it ran last, it goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dubrelay.audio import CHANNELS, Samples, samples_in
from dubrelay.worker.separate import DELAY, FRAME

MARGIN = samples_in(0.25)
"""How far from where speech was heard there may still be some."""
_WARM_UP = samples_in(1.0)
_FADE = samples_in(0.01)
"""From the original to what separation leaves, and back."""
_STEP = samples_in(0.48)
"""Sound that is separated in one go, unless less is needed at once."""
_BEYOND = _FADE + DELAY + FRAME
"""What separation must have heard beyond the last speech to leave its background, and the way back to the original."""

Mono = npt.NDArray[np.float32]


class Separation(Protocol):
    """separate.Separator, or what does the same."""

    def push(self, samples: Samples) -> tuple[Samples, Mono]: ...

    def restart(self) -> None: ...


@dataclass
class _Run:
    """Samples [start, end) in which somebody may speak."""

    start: int
    end: int


class _Tape:
    """Samples that follow one another; silence where there are none."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._samples: Samples = np.zeros((0, CHANNELS), np.float32)

    @property
    def end(self) -> int:
        return self._at + len(self._samples)

    def write(self, at: int, samples: Samples) -> None:
        """What lies before the end is there already, or was forgotten."""
        gap = np.zeros((max(0, at - self.end), CHANNELS), np.float32)
        self._samples = np.concatenate([self._samples, gap, samples[max(0, self.end - at) :]])

    def read(self, start: int, end: int) -> Samples:
        """(end - start, 2)."""
        out = np.zeros((end - start, CHANNELS), np.float32)
        lo, hi = max(start, self._at), min(end, self.end)
        if lo < hi:
            out[lo - start : hi - start] = self._samples[lo - self._at : hi - self._at]
        return out

    def forget(self, before: int) -> None:
        if before > self._at:
            self._samples = self._samples[before - self._at :]
            self._at = before


class Background:
    """Of sound that comes without a gap: `end` before there is one, then `begin`.

    What comes out depends on the frames alone, not on when it is asked for. It lags behind them by MARGIN where nobody
    speaks; where somebody does, by half a second and a bit, and by DELAY and a bit when it is `wanted` or as soon as
    nobody has spoken for MARGIN.
    """

    def __init__(self, separation: Separation) -> None:
        self._separation = separation
        self.begin(0)

    def begin(self, at: int) -> None:
        self._separation.restart()
        self._began = self._given = self._heard = at
        self._went_in = self._came_out = at  # the next sample that separation hears, the next that it gives
        self._sound, self._separated = _Tape(at), _Tape(at)
        self._runs: list[_Run] = []  # in order, apart from one another; those that have a say in what is not given yet

    def add(self, samples: Samples) -> None:
        self._sound.write(self._sound.end, samples)

    def frame(self, start: int, end: int, spoken: bool, wanted: bool) -> None:
        """Whether somebody may speak in a frame of what was added; frames follow one another."""
        self._heard = end
        if spoken:
            self._speech(start - MARGIN, end + MARGIN)
        if self._runs:
            until = min(end, self._runs[-1].end + _BEYOND)
            left = until - self._went_in
            if left >= _STEP or (left > 0 and (wanted or until < end)):
                self._separate(until)

    def take(self) -> tuple[int, Samples]:
        """What became known, (n, 2) from the sample after the last that was given."""
        return self._give(self._known())

    def end(self) -> tuple[int, Samples]:
        """The rest, up to the end of the last frame."""
        if self._runs and self._came_out < min(self._heard, self._runs[-1].end + _FADE):
            self._separate(self._heard + DELAY + FRAME)
        return self._give(self._heard)

    def _speech(self, start: int, end: int) -> None:
        if self._runs and start <= self._runs[-1].end:
            self._runs[-1].end = end
            return
        self._runs.append(_Run(start, end))
        warm_up = max(self._began, start - _WARM_UP)
        if self._went_in < warm_up:
            self._separation.restart()
            self._went_in = self._came_out = warm_up

    def _separate(self, until: int) -> None:
        background, _ = self._separation.push(self._sound.read(self._went_in, until))
        self._separated.write(self._came_out, background)
        self._went_in, self._came_out = until, self._came_out + len(background)

    def _known(self) -> int:
        """One past the last sample of which all is known."""
        known = self._heard - MARGIN
        for run in self._runs:
            known = max(known, run.end)
            if self._came_out < min(known, run.end + _FADE):
                return max(self._given, run.start, self._came_out)
        return max(self._given, min(known, self._heard))

    def _give(self, until: int) -> tuple[int, Samples]:
        at, self._given = self._given, until
        out = self._sound.read(at, until)
        if self._runs and until > at:
            out += self._share(at, until) * (self._separated.read(at, until) - out)
        self._runs = [run for run in self._runs if run.end + _FADE > until]
        self._sound.forget(min(until, self._heard - MARGIN - _WARM_UP))
        self._separated.forget(until)
        return at, out

    def _share(self, start: int, end: int) -> Mono:
        """(n, 1) in 0..1: how much of each sample is what separation left."""
        here = np.zeros(end - start + _FADE, np.int64)
        for run in self._runs:
            here[max(0, run.start - start + _FADE) : max(0, run.end - start + _FADE)] = 1
        total = np.cumsum(here)
        return ((total[_FADE:] - total[:-_FADE]) / np.float32(_FADE)).astype(np.float32)[:, None]
