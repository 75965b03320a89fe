"""What a stream's sound holds: the phrases in it and the background behind them, from 48 kHz blocks as they come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import soxr

from dubrelay import audio, config
from dubrelay.audio import Samples
from dubrelay.worker import vad
from dubrelay.worker.background import Background, Separation
from dubrelay.worker.cut import SPEECH_OFF, Cutter, Span

_PER_SAMPLE = audio.RATE_HZ // vad.RATE_HZ
_FRAME = vad.FRAME * _PER_SAMPLE

Mono = npt.NDArray[np.float32]


class Detector(Protocol):
    """vad.Vad, or what does the same."""

    def push(self, samples: Mono) -> list[float]: ...

    def reset(self) -> None: ...


@dataclass(frozen=True)
class Heard:
    """What became known by one block."""

    background_at: int
    background: Samples | None
    """(n, 2) from sample `background_at`; None without separation or when there is nothing new. It is known to the end
    of each phrase in `spans`, but for the last 50 ms of one that was cut in the middle of speech."""
    spans: list[Span]
    """They follow one another without gap or overlap as long as the input does."""


class Listener:
    """Not thread-safe. Half of the CPU of a worker in dub mode is used here."""

    def __init__(self, cut: config.Cut, detector: Detector, separator: Separation | None) -> None:
        self._cutter = Cutter(cut)
        self._detector = detector
        self._background = Background(separator) if separator else None
        self._down = soxr.ResampleStream(audio.RATE_HZ, vad.RATE_HZ, 1, dtype="float32")
        self._expected: int | None = None
        self._begin(0)

    def _begin(self, at: int) -> None:
        self._down.clear()
        self._detector.reset()
        self._cutter.restart(at)
        self._frame_at = at
        self._rest: Mono = np.zeros(0, np.float32)  # 16 kHz, less than a frame
        if self._background:
            self._background.begin(at)

    @property
    def heard_until(self) -> int:
        """One past the last sample that went in."""
        return self._expected or 0

    def push(self, at: int, samples: Samples) -> Heard:
        """(n, 2) samples that came in at sample number `at`.

        When `at` is not where the last block ended, what was begun is ended there, and listening starts over at `at`.
        Samples that were heard before are not heard again.
        """
        if self._expected is not None and at < self._expected:
            samples, at = samples[self._expected - at :], self._expected
        ended = None
        if at != self._expected:
            ended = self.flush()
            self._begin(at)
        self._expected = at + len(samples)
        if self._background:
            self._background.add(samples)
        spans = self._cut(samples)
        if ended is None:
            return self._heard(self._background.take() if self._background else None, spans)
        # One Heard holds one run of background: that of the new one comes with the next call.
        return Heard(ended.background_at, ended.background, ended.spans + spans)

    def flush(self) -> Heard:
        """Ends what was begun: after it, all that went in has come out. What comes next starts a new run."""
        if self._expected is None:
            return Heard(0, None, [])
        spans = self._last_frame(self._expected) + self._cutter.flush()
        heard = self._heard(self._background.end() if self._background else None, spans)
        self._begin(self._expected)
        return heard

    @staticmethod
    def _heard(known: tuple[int, Samples] | None, spans: list[Span]) -> Heard:
        at, background = known or (0, None)
        return Heard(at, background if background is not None and len(background) else None, spans)

    def _cut(self, samples: Samples) -> list[Span]:
        middle = samples.mean(axis=1, dtype=np.float32)
        waiting = np.concatenate([self._rest, self._down.resample_chunk(middle)])
        spans: list[Span] = []
        while len(waiting) >= vad.FRAME:
            frame, waiting = waiting[: vad.FRAME], waiting[vad.FRAME :]
            spans += self._frame(frame, self._frame_at + _FRAME)
        self._rest = waiting
        return spans

    def _last_frame(self, end: int) -> list[Span]:
        """The frames that the resampler still held; the last is shorter and filled up with silence for the network."""
        last = self._down.resample_chunk(np.zeros(0, np.float32), last=True)
        waiting = np.concatenate([self._rest, last])
        spans: list[Span] = []
        while self._frame_at < end:
            frame = np.zeros(vad.FRAME, np.float32)
            frame[: len(waiting[: vad.FRAME])] = waiting[: vad.FRAME]
            waiting = waiting[vad.FRAME :]
            spans += self._frame(frame, min(end, self._frame_at + _FRAME))
        return spans

    def _frame(self, frame: Mono, end: int) -> list[Span]:
        (probability,) = self._detector.push(frame)
        start, self._frame_at = self._frame_at, end
        spans = self._cutter.push(start, end, probability, audio.rms(frame))
        if self._background:
            self._background.frame(start, end, probability > SPEECH_OFF, wanted=any(span.speech for span in spans))
        return spans
