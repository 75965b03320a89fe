"""Writes the records of phrases, and their sounds, into a ring on disk; never holds up the stream."""

from __future__ import annotations

import os
import queue
import threading
import wave
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from dubrelay import config, logs
from dubrelay.audio import RATE_HZ, Ring, Samples, samples_in
from dubrelay.wire import trace
from dubrelay.wire.status import SOUNDS, SoundName
from dubrelay.wire.trace import PhraseTrace

_WAITING = 20
_CLOSE_S = 2.0

_OUT_S = 30.0
"""Longer than any phrase with its dub."""

Sound = tuple[npt.NDArray[np.float32], int]
"""(n,) or (n, 2) samples in -1..1, and their rate in Hz."""


@dataclass(frozen=True)
class _OnAir:
    """A phrase that is decided and goes out: samples [start, until)."""

    record: PhraseTrace
    sounds: Mapping[SoundName, Sound]
    start: int
    until: int


@dataclass(frozen=True)
class _Kept:
    stem: str
    size: int
    """Bytes of all its files."""


class Tracer:
    """One stream's ring, with a thread of its own: a disk that is slow or full costs records, not sound."""

    def __init__(self, limits: config.Trace, directory: Path) -> None:
        self._limits, self._directory = limits, directory
        self._log = logs.get()
        self._failing = False
        self._on_air: list[_OnAir] = []
        self._out = Ring(samples_in(_OUT_S)) if limits.sounds else None
        self._waiting: queue.Queue[tuple[PhraseTrace, Mapping[SoundName, Sound]] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="trace", daemon=True)
        self._thread.start()

    def decided(self, record: PhraseTrace, sounds: Mapping[SoundName, Sound], start: int, until: int) -> None:
        """A phrase whose fate is known; it is kept when its last sample, `until`, has gone out."""
        self._on_air.append(_OnAir(record, sounds, start, until))

    def went_out(self, at: int, samples: Samples) -> None:
        if self._out is not None:
            self._out.write(at, samples)
        end = at + len(samples)
        for phrase in [p for p in self._on_air if p.until <= end]:
            self._on_air.remove(phrase)
            self._keep(phrase)

    def _keep(self, phrase: _OnAir) -> None:
        sounds = dict(phrase.sounds)
        if self._out is not None:
            sounds["out"] = self._out.read(phrase.start, phrase.until - phrase.start), RATE_HZ
        record = phrase.record.model_copy(update={"sounds": tuple(sounds)})
        try:
            self._waiting.put_nowait((record, sounds))
        except queue.Full:
            number = record.phrase.sequence_number
            self._log.warning("trace_dropped", sequenceNumber=number, reason="the disk is behind")

    def close(self) -> None:
        """Writes what is waiting, for at most two seconds."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        kept: deque[_Kept] | None = None
        while (item := self._waiting.get()) is not None:
            try:
                if kept is None:
                    kept = self._found()
                kept.append(self._written(*item))
                self._shorten(kept)
                self._failing = False
            except OSError as e:
                if not self._failing:  # once, not for each phrase
                    self._log.warning("trace_failed", reason=f"{e.filename or self._directory}: {e.strerror}")
                self._failing, kept = True, None

    def _found(self) -> deque[_Kept]:
        """What workers before this one left."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return deque(_Kept(stem, self._size(stem)) for stem in trace.stems(self._directory))

    def _files(self, stem: str) -> list[Path]:
        """The record last: where it is, its sounds are whole."""
        sounds = [trace.sound_file(self._directory, stem, sound) for sound in SOUNDS]
        return [*sounds, trace.record_file(self._directory, stem)]

    def _size(self, stem: str) -> int:
        return sum(file.stat().st_size for file in self._files(stem) if file.exists())

    def _written(self, record: PhraseTrace, sounds: Mapping[SoundName, Sound]) -> _Kept:
        for name, (samples, rate_hz) in sounds.items():
            _write_wav(trace.sound_file(self._directory, record.stem, name), samples, rate_hz)
        file = trace.record_file(self._directory, record.stem)
        with _created(file) as out:
            out.write(record.model_dump_json().encode())
        return _Kept(record.stem, self._size(record.stem))

    def _shorten(self, kept: deque[_Kept]) -> None:
        """Drops the oldest; the newest stays, whatever its size."""
        most = self._limits.max_mb * 1_000_000
        while len(kept) > 1 and (len(kept) > self._limits.phrases or sum(k.size for k in kept) > most):
            for file in reversed(self._files(kept.popleft().stem)):
                file.unlink(missing_ok=True)


def _created(file: Path) -> BinaryIO:
    """A new file for its owner only: what was said is nobody else's business."""
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _write_wav(file: Path, samples: npt.NDArray[np.float32], rate_hz: int) -> None:
    with _created(file) as out, wave.open(out, "wb") as wav:
        wav.setnchannels(samples.shape[1] if samples.ndim == 2 else 1)
        wav.setsampwidth(2)
        wav.setframerate(rate_hz)
        wav.writeframes((np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes())
