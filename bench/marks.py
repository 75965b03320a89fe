"""Marks in a programme's sound whose time can be told to a sample: short sweeps.

A sweep is no speech: in dub mode it comes through the separation and the mix, be it spoken over, dubbed or in a pause.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import table  # noqa: F401 -- puts the tests' modules on the path

from dubrelay.audio import to_pcm
from dubrelay.ffmpeg import QUIET
from flv_publisher import FILE_HEADER, Tag

RATE_HZ = 48_000
LENGTH_S, FROM_HZ, TO_HZ, LEVEL = 0.1, 1_500.0, 3_800.0, 0.2
"""From 4 kHz on an AAC encoder may put noise in the place of sound."""
GAP_S = (3.0, 6.0)
"""Never the same, so that a shift by a whole gap is seen."""
LIKE = 0.6
"""How much of what is in the sweep's band at its time must be the sweep."""

Mono = npt.NDArray[np.float32]


@cache
def sweep() -> npt.NDArray[np.complex64]:
    """Analytic: its real part is what is heard, and the phase that it comes with does not matter."""
    t = np.arange(round(LENGTH_S * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * (FROM_HZ * t + (TO_HZ - FROM_HZ) / (2 * LENGTH_S) * t**2)
    return np.asarray(np.hanning(len(t)) * np.exp(1j * phase), np.complex64)


def times(seconds: float) -> Iterator[float]:
    dice, at = random.Random(3), 2.0
    while at < seconds - 1:
        yield at
        at += dice.uniform(*GAP_S)


def marked(file: Path, seconds: float, out: Path) -> Path:
    """The file with marks in its sound and its picture as it was."""
    sound = np.zeros((round(seconds * RATE_HZ), 2), np.float32)
    heard = LEVEL * sweep().real
    for at in times(seconds):
        first = round(at * RATE_HZ)
        sound[first : first + len(heard)] = heard[:, None]
    pcm = ["-f", "s16le", "-ar", str(RATE_HZ), "-ac", "2", "-i", "pipe:0"]
    mixed = ["-filter_complex", "[0:a][1:a]amix=inputs=2:normalize=0:duration=first[a]", "-map", "0:v", "-map", "[a]"]
    command = [*(part for part in QUIET if part != "-nostdin"), "-y", "-i", str(file), *pcm, *mixed]
    coded = ["-c:v", "copy", "-c:a", "aac", "-b:a", "128k", str(out)]
    subprocess.run([*command, *coded], input=to_pcm(sound), check=True)
    return out


def found(sound: Mono) -> list[int]:
    """Where in 48 kHz sound each mark begins that is in it from its beginning to its end."""
    length, size = len(sweep()), 1 << (len(sound) + len(sweep())).bit_length()
    spectrum = np.fft.fft(sound, size)
    hz = np.fft.fftfreq(size, 1 / RATE_HZ)
    spectrum[(hz < FROM_HZ) | (hz > TO_HZ)] = 0
    whole = max(0, len(sound) - length)
    fit = np.abs(np.fft.ifft(spectrum * np.conj(np.fft.fft(sweep(), size))))[:whole]
    power = np.cumsum(np.abs(np.fft.ifft(spectrum)[: len(sound)]) ** 2, dtype=np.float64)
    there = np.maximum(power[length:] - power[:whole], 1e-9)
    like = fit / np.sqrt(there * np.sum(np.abs(sweep()) ** 2))
    places = []
    while like.size and like[at := int(np.argmax(like))] > LIKE:
        places.append(at)
        like[max(0, at - RATE_HZ) : at + RATE_HZ] = 0
    return sorted(places)


def decoded(header: Tag, frames: Sequence[Tag]) -> Mono:
    """48 kHz, one channel: as many samples for each frame of an AAC track as it has."""
    flv = FILE_HEADER + b"".join(tag.to_bytes() for tag in (header, *frames))
    command = [*(part for part in QUIET if part != "-nostdin"), "-f", "flv", "-i", "pipe:0", "-map", "0:a"]
    raw = subprocess.run(
        [*command, "-ac", "1", "-ar", str(RATE_HZ), "-f", "f32le", "pipe:1"],
        input=flv,
        check=False,
        capture_output=True,
    )
    return np.frombuffer(raw.stdout, np.float32)
