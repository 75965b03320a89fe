"""Where a recording of `out` lies on the timeline of the file that was published, told by its pictures."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt

from media import access_units

RATE_HZ = 48_000


def shift_s(recording: Path, published: Path) -> float:
    """What to add to a time of the recording to get the time in the published file; exact to its time base."""
    recorded, original = access_units(recording), access_units(published)
    times, original_times = _picture_times(recording), _picture_times(published)
    for unit, time in zip(recorded, times, strict=True):
        if original.count(unit) == 1:
            return original_times[original.index(unit)] - time
    raise AssertionError(f"no picture of {recording} is one of {published}")


def sound_on_published_time(recording: Path, published: Path) -> tuple[float, npt.NDArray[np.float32]]:
    """(time of the first sample on the published file's timeline, (n, 2) samples at 48 kHz)."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(recording), "-map", "0:a:0", "-f", "f32le"]
    raw = subprocess.run([*command, "-ar", str(RATE_HZ), "-ac", "2", "-"], check=True, capture_output=True).stdout
    first = _times(recording, "a:0")[0]
    return first + shift_s(recording, published), np.frombuffer(raw, np.float32).reshape(-1, 2)


def _picture_times(file: Path) -> list[float]:
    return _times(file, "v:0")


def _times(file: Path, stream: str) -> list[float]:
    command = ["ffprobe", "-v", "error", "-select_streams", stream, "-show_entries", "packet=pts_time", "-of", "json"]
    shown = subprocess.run([*command, str(file)], check=True, capture_output=True).stdout
    return [float(packet["pts_time"]) for packet in json.loads(shown)["packets"]]
