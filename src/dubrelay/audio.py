"""Sound as the worker holds it: 48 kHz stereo on one line of sample numbers.

Sample number n of a stream is running time n / 48000 s of its worker. Every sample keeps the number it came in with;
what is dubbed for n is played at n. Samples are (n, 2) float32 in -1..1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RATE_HZ = 48_000
CHANNELS = 2
NS_PER_S = 1_000_000_000

Samples = npt.NDArray[np.float32]


def sample_at(time_ns: int) -> int:
    """The sample number that is nearest to a running time."""
    return (time_ns * RATE_HZ + NS_PER_S // 2) // NS_PER_S


def time_of(sample: int) -> int:
    """Running time in ns of a sample number."""
    return sample * NS_PER_S // RATE_HZ


def seconds(samples: int) -> float:
    return samples / RATE_HZ


def samples_in(duration_s: float) -> int:
    return round(duration_s * RATE_HZ)


def gain(db: float) -> float:
    """Linear gain; -100 dB and below is nothing at all."""
    return 0.0 if db <= -100 else float(10 ** (db / 20))


def from_pcm(pcm: bytes) -> Samples:
    """Interleaved S16LE stereo -> (n, 2)."""
    return np.frombuffer(pcm, "<i2").reshape(-1, CHANNELS).astype(np.float32) / np.float32(32768)


def to_pcm(samples: Samples) -> bytes:
    """(n, 2) -> interleaved S16LE stereo; what lies outside -1..1 is clipped."""
    return (np.clip(samples * 32768, -32768, 32767)).round().astype("<i2").tobytes()


def rms(samples: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0


class Ring:
    """The latest `capacity` samples of a track, addressed by sample number; what was never written is silence."""

    def __init__(self, capacity: int) -> None:
        self._data: Samples = np.zeros((capacity, CHANNELS), np.float32)
        self._capacity = capacity
        self.start = 0
        """First sample number that is still held."""
        self.end = 0
        """One past the last one written."""

    def write(self, at: int, samples: Samples) -> None:
        """Puts samples at `at`. Numbers before `start` are lost; a gap after `end` becomes silence."""
        stop = at + len(samples)
        if stop <= self.start:
            return
        if stop - self.start > self._capacity:
            self.forget(stop - self._capacity)
        if at > self.end:
            self._clear(max(self.end, self.start), at)
        if at < self.start:
            samples = samples[self.start - at :]
            at = self.start
        self._copy_in(at, samples)
        self.end = max(self.end, stop)

    def read(self, at: int, count: int) -> Samples:
        """(count, 2) from `at`; silence where nothing is held."""
        out = np.zeros((count, CHANNELS), np.float32)
        lo, hi = max(at, self.start), min(at + count, self.end)
        if hi > lo:
            first = lo % self._capacity
            head = min(hi - lo, self._capacity - first)
            out[lo - at : lo - at + head] = self._data[first : first + head]
            out[lo - at + head : hi - at] = self._data[: hi - lo - head]
        return out

    def forget(self, before: int) -> None:
        """Drops what lies before a sample number."""
        self.start = max(self.start, before)
        self.end = max(self.end, self.start)

    def _clear(self, lo: int, hi: int) -> None:
        self._copy_in(lo, np.zeros((hi - lo, CHANNELS), np.float32))

    def _copy_in(self, at: int, samples: Samples) -> None:
        first = at % self._capacity
        head = min(len(samples), self._capacity - first)
        self._data[first : first + head] = samples[:head]
        self._data[: len(samples) - head] = samples[head:]
