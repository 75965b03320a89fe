"""Where a recording of `out` lies on the timeline of the file that was published, told by its pictures; and where the
mock's voice, a tone, is heard in it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dubrelay.demo.access_units import access_units, match

RATE_HZ = 48_000
WINDOW_S = 0.02
TONE_HZ = 440


def shift_s(recording: Path, published: Path) -> float:
    """What to add to a time of the recording to get the time in the published file; exact to its time base."""
    found = match(access_units(published), access_units(recording))
    assert found is not None, f"{recording} does not begin with a picture of {published}"
    return -found.offset_s


def sound_on_published_time(recording: Path, published: Path) -> tuple[float, npt.NDArray[np.float32]]:
    """(time of the first sample on the published file's timeline, (n, 2) samples at 48 kHz)."""
    first, samples = sound(recording)
    return first + shift_s(recording, published), samples


def sound(recording: Path) -> tuple[float, npt.NDArray[np.float32]]:
    """(time of the first sample in the recording, (n, 2) samples at 48 kHz)."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(recording), "-map", "0:a:0", "-f", "f32le"]
    raw = subprocess.run([*command, "-ar", str(RATE_HZ), "-ac", "2", "-"], check=True, capture_output=True).stdout
    return _first_sound_s(recording), np.frombuffer(raw, np.float32).reshape(-1, 2)


def _first_sound_s(file: Path) -> float:
    command = ["ffprobe", "-v", "error", "-select_streams", "a:0", "-show_entries", "packet=pts_time", "-of", "json"]
    shown = subprocess.run([*command, "-read_intervals", "%+1", str(file)], check=True, capture_output=True).stdout
    return float(json.loads(shown)["packets"][0]["pts_time"])


def tones(sound: npt.NDArray[np.float32], start_s: float) -> list[tuple[float, float]]:
    """(begin, end) of each stretch of the mock's tone, in seconds; shorter gaps than 0.1 s do not count."""
    window = int(WINDOW_S * RATE_HZ)
    mono = sound.mean(axis=1)
    mono = mono[: len(mono) // window * window].reshape(-1, window)
    turn = np.exp(-2j * np.pi * TONE_HZ * np.arange(window) / RATE_HZ)
    level = 2 * np.abs(mono @ turn) / window
    found: list[tuple[float, float]] = []
    for n in np.flatnonzero(level > 0.04):
        begin, end = start_s + n * WINDOW_S, start_s + (n + 1) * WINDOW_S
        if found and begin - found[-1][1] < 0.1:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return [tone for tone in found if tone[1] - tone[0] > 0.2]
