"""What viewers got, on the clock of arrivals: which picture, and whether dub, original or silence was heard."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from viewer import View

from dubrelay.demo.access_units import access_units
from flv_publisher import AUDIO, VIDEO

RATE_HZ = 48_000
WINDOW_S = 0.05


@dataclass
class Seen:
    """All that the viewer got, on the clock of arrivals."""

    pictures: list[tuple[float, int]]
    """(arrival, number in what was published or -1)"""
    sound: list[tuple[float, str]]
    """(arrival, "dub" | "original" | "silence") for each WINDOW_S."""


def seen(views: list[View], file: Path) -> Seen:
    numbers = {unit.digest: n for n, unit in enumerate(access_units(file))}
    pictures, sound = [], []
    for view in views:
        units = access_units(view.file)
        pictures += [(at, numbers.get(unit.digest, -1)) for at, unit in zip(view.arrivals(VIDEO), units, strict=False)]
        sound += heard(view)
    return Seen(sorted(pictures), sorted(sound))


def heard(view: View) -> list[tuple[float, str]]:
    command = ["ffmpeg", "-nostdin", "-v", "quiet", "-i", str(view.file), "-map", "0:a:0", "-f", "f32le"]
    raw = subprocess.run([*command, "-ar", str(RATE_HZ), "-ac", "1", "-"], check=False, capture_output=True).stdout
    samples, size = np.frombuffer(raw, np.float32), round(WINDOW_S * RATE_HZ)
    arrivals = view.arrivals(AUDIO)
    windows = samples[: len(samples) // size * size].reshape(-1, size)
    found = []
    for n, window in enumerate(windows):
        frame = min(len(arrivals) - 1, (n + 1) * size // 1024)
        found.append((arrivals[frame], kind_of(window)))
    return found


def kind_of(window: np.ndarray[Any, np.dtype[np.float32]]) -> str:
    power = float(np.mean(window**2))
    if power < 10 ** (-75 / 10):
        return "silence"
    t = np.arange(len(window)) / RATE_HZ
    tone = 2 * abs(np.mean(window * np.exp(-2j * np.pi * 440 * t))) ** 2
    return "dub" if tone > 0.3 * power else "original"


def longest(times: list[float], began: float, ended: float) -> float:
    """The longest pause between two of them that falls into the time."""
    inside = [began, *(t for t in times if began <= t <= ended), ended]
    return max(later - earlier for earlier, later in pairwise(inside))
