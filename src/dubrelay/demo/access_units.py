"""Whether the picture of a recording is the picture that was published, bit by bit, and when which part of it was."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from dubrelay.errors import ConfigError
from dubrelay.ffmpeg import QUIET, last_line


@dataclass(frozen=True)
class AccessUnit:
    pts_s: float
    digest: str
    """Of its slices and SEI: parameter sets and delimiters are the container's business."""


@dataclass(frozen=True)
class PictureMatch:
    """What was published runs again from its beginning when it is shorter than the recording."""

    recorded: int
    equal: int
    """Access units of the recording that are the published ones, in a row, from its first one on."""
    first: int
    """Which published one the recording begins with."""
    offset_s: float
    """Time in the recording minus time in what was published."""


def access_units(path: Path) -> list[AccessUnit]:
    """In the order of their decoding."""
    command = [
        *(*QUIET, "-i", str(path), "-map", "0:v:0", "-c", "copy"),
        *("-bsf:v", "h264_mp4toannexb,filter_units=remove_types=7-9", "-f", "framehash", "-hash", "md5", "-"),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ConfigError(f"{path}: its picture cannot be read: {last_line(result.stderr)}")
    time_base = Fraction(0)
    units: list[AccessUnit] = []
    for line in result.stdout.splitlines():
        if line.startswith("#tb 0:"):
            time_base = Fraction(line.split(":")[1].strip())
        elif not line.startswith("#"):
            parts = [part.strip() for part in line.split(",")]  # stream, dts, pts, duration, size, hash, side data
            units.append(AccessUnit(float(int(parts[2]) * time_base), parts[5]))
    return units


def match(published: list[AccessUnit], recorded: list[AccessUnit]) -> PictureMatch | None:
    """None when the recording's first access unit was never published."""
    if not recorded:
        return None
    starts = [n for n, unit in enumerate(published) if unit.digest == recorded[0].digest]
    if not starts:
        return None
    first = max(starts, key=lambda n: _equal_from(published, recorded, n))
    return PictureMatch(
        recorded=len(recorded),
        equal=_equal_from(published, recorded, first),
        first=first,
        offset_s=recorded[0].pts_s - published[first].pts_s,
    )


def _equal_from(published: list[AccessUnit], recorded: list[AccessUnit], first: int) -> int:
    for n, unit in enumerate(recorded):
        if unit.digest != published[(first + n) % len(published)].digest:
            return n
    return len(recorded)
