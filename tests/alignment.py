"""Where a recording of `out` lies on the timeline of the file that was published, told by its pictures."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dubrelay.demo.access_units import access_units, match

RATE_HZ = 48_000


def shift_s(recording: Path, published: Path) -> float:
    """What to add to a time of the recording to get the time in the published file; exact to its time base."""
    found = match(access_units(published), access_units(recording))
    assert found is not None, f"{recording} does not begin with a picture of {published}"
    return -found.offset_s


def sound_on_published_time(recording: Path, published: Path) -> tuple[float, npt.NDArray[np.float32]]:
    """(time of the first sample on the published file's timeline, (n, 2) samples at 48 kHz)."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(recording), "-map", "0:a:0", "-f", "f32le"]
    raw = subprocess.run([*command, "-ar", str(RATE_HZ), "-ac", "2", "-"], check=True, capture_output=True).stdout
    first = _first_sound_s(recording)
    return first + shift_s(recording, published), np.frombuffer(raw, np.float32).reshape(-1, 2)


def _first_sound_s(file: Path) -> float:
    command = ["ffprobe", "-v", "error", "-select_streams", "a:0", "-show_entries", "packet=pts_time", "-of", "json"]
    shown = subprocess.run([*command, "-read_intervals", "%+1", str(file)], check=True, capture_output=True).stdout
    return float(json.loads(shown)["packets"][0]["pts_time"])
