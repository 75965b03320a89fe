"""Truth about A/V offset: a clip that flashes and beeps at every full second, and the measure of it in a recording.

Picture and sound both carry the number of their second (as bars, as pitch), so that a shift of whole seconds shows.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

RATE_HZ = 48_000
FPS = 25
WIDTH, HEIGHT = 320, 180
BITS = 5
BEEP_S = 0.1
_BAR_X, _BAR_STEP, _BAR_Y, _BAR_SIDE = 20, 56, 140, 30


def flash_and_beep(
    path: Path,
    seconds: int,
    b_frames: int,
    *,
    fps: int = FPS,
    gop_s: float = 2,
    then: str = "",
    video: Sequence[str] = (),
    audio: Sequence[str] = ("-c:a", "aac", "-b:a", "128k"),
) -> Path:
    """H.264 and AAC 48 kHz stereo; a flash of two frames and a beep of 100 ms start together each second.

    `then` is a filter behind the picture; `video` and `audio` are ffmpeg's options for the encoders.
    """
    gop = str(round(gop_s * fps))
    command = [
        *("ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", _picture(fps) + then),
        *("-f", "lavfi", "-i", _sound(), "-t", str(seconds), "-c:v", "libx264", "-preset", "superfast"),
        *("-pix_fmt", "yuv420p", "-b:v", "500k", "-bf", str(b_frames), "-g", gop, "-keyint_min", gop),
        *("-sc_threshold", "0", *video, *audio, str(path)),
    ]
    subprocess.run(command, check=True, timeout=60 + seconds)
    return path


def _picture(fps: int) -> str:
    box = f"drawbox=x=0:y=0:w={WIDTH}:h=120:t=fill"
    bars = "".join(
        f",drawbox=x={_BAR_X + bit * _BAR_STEP}:y={_BAR_Y}:w={_BAR_SIDE}:h={_BAR_SIDE}:color=white:t=fill"
        f":enable='gt(bitand(floor(n/{fps}),{1 << bit}),0)'"
        for bit in range(BITS)
    )
    return (
        f"testsrc2=size={WIDTH}x{HEIGHT}:rate={fps},drawbox=x=0:y=120:w={WIDTH}:h=60:color=black:t=fill"
        f",{box}:color=black:enable='gte(mod(n,{fps}),{fps - 2})',{box}:color=white:enable='lt(mod(n,{fps}),2)'{bars}"
    )


def _sound() -> str:
    beep = f"if(lt(mod(t,1),{BEEP_S}),0.7*sin(2*PI*(500+50*mod(floor(t),{1 << BITS}))*t),0)"
    bed = "0.02*sin(2*PI*{}*t)+0.01*(random({})-0.5)"
    return f"aevalsrc='{beep}+{bed.format(220, 0)}|{beep}+{bed.format(330, 1)}':s={RATE_HZ}"


@dataclass(frozen=True)
class AvOffset:
    """Sound minus picture in ms: positive is sound that comes late."""

    median_ms: float
    min_ms: float
    max_ms: float
    pairs: int
    mismatches: int
    """Flash and beep at the same time, but of different seconds."""


def av_offset(path: Path, track: int = 0) -> AvOffset:
    """Of every flash that has a beep of that sound track within half a second. AssertionError when there is none."""
    beeps = _beeps(path, f"a:{track}")
    pairs = []
    for at, second in _flashes(path):
        near = min(beeps, key=lambda beep: abs(beep[0] - at), default=None)
        if near is not None and abs(near[0] - at) < 0.5:
            pairs.append(((near[0] - at) * 1000, near[1] != second))
    assert pairs, f"{path}: no flash with a beep"
    offsets = [offset for offset, _ in pairs]
    return AvOffset(
        median_ms=float(np.median(offsets)),
        min_ms=float(min(offsets)),
        max_ms=float(max(offsets)),
        pairs=len(pairs),
        mismatches=sum(wrong for _, wrong in pairs),
    )


def _flashes(path: Path) -> list[tuple[float, int]]:
    """(time, number of the second) of the first frame of each flash."""
    size = ("-vf", f"scale={WIDTH}:{HEIGHT}")  # it may be another one from the start on, or become it
    frames = _decoded(path, "-map", "0:v:0", "-vsync", "0", *size, "-pix_fmt", "gray", "-f", "rawvideo")
    pictures = np.frombuffer(frames, np.uint8).reshape(-1, HEIGHT, WIDTH)
    times = [float(f["best_effort_timestamp_time"]) for f in _frames(path, "v:0")][: len(pictures)]
    bright = pictures[:, 10:110].mean(axis=(1, 2)) > 200
    first = np.flatnonzero(bright[1:] & ~bright[:-1]) + 1
    return [(times[n], _bars(pictures[n])) for n in first if n < len(times)]


def _bars(picture: npt.NDArray[np.uint8]) -> int:
    middle = _BAR_SIDE // 2
    row = picture[_BAR_Y + middle]
    return sum(int(row[_BAR_X + bit * _BAR_STEP + middle] > 128) << bit for bit in range(BITS))


def _beeps(path: Path, track: str) -> list[tuple[float, int]]:
    """(time, number of the second) of the start of each beep."""
    pcm = _decoded(path, "-map", f"0:{track}", "-ac", "1", "-ar", str(RATE_HZ), "-f", "f32le")
    sound = np.frombuffer(pcm, np.float32)
    frames = _frames(path, track)
    own_rate_hz = _sample_rate(path, track)
    starts = np.cumsum([0, *(int(f["nb_samples"]) * RATE_HZ / own_rate_hz for f in frames)])
    times = [float(f["best_effort_timestamp_time"]) for f in frames]
    found = []
    for onset in _onsets(sound):
        at, hz = _beep_near(sound, onset)
        frame = int(np.searchsorted(starts, at, "right")) - 1
        found.append((times[frame] + (at - starts[frame]) / RATE_HZ, round((hz - 500) / 50) % (1 << BITS)))
    return found


def _onsets(sound: npt.NDArray[np.float32]) -> list[int]:
    """Where it becomes loud after 0.3 s or more of quiet, and the beep is whole."""
    block = RATE_HZ // 500
    loud = np.abs(sound[: len(sound) // block * block]).reshape(-1, block).max(axis=1) > 0.25
    found, quiet_for = [], 0
    for n, hot in enumerate(loud):
        if hot and quiet_for >= 150 and (n * block + 2 * BEEP_S * RATE_HZ) < len(sound):
            found.append(n * block)
        quiet_for = 0 if hot else quiet_for + 1
    return found


def _beep_near(sound: npt.NDArray[np.float32], onset: int) -> tuple[int, float]:
    """(first sample, pitch): where a window as long as the beep holds most of its pitch."""
    inner = sound[onset + int(0.015 * RATE_HZ) : onset + int(0.085 * RATE_HZ)]
    spectrum = np.abs(np.fft.rfft(inner * np.hanning(len(inner)), 1 << 16))
    hz = float(np.argmax(spectrum)) * RATE_HZ / (1 << 16)
    length, reach = int(BEEP_S * RATE_HZ), int(0.04 * RATE_HZ)
    first = max(0, onset - reach)
    part = sound[first : onset + reach + length].astype(np.float64)
    at_zero = part * np.exp(-2j * np.pi * hz * np.arange(len(part)) / RATE_HZ)
    energy = np.abs(np.convolve(at_zero, np.ones(length), "valid"))
    return first + int(np.argmax(energy)), hz


def _decoded(path: Path, *arguments: str) -> bytes:
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), *arguments, "pipe:1"]
    return subprocess.run(command, check=True, capture_output=True, timeout=300).stdout


def _sample_rate(path: Path, track: str) -> int:
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        track,
        "-show_entries",
        "stream=sample_rate",
        "-of",
        "csv=p=0",
    ]
    return int(subprocess.run([*command, str(path)], check=True, capture_output=True, timeout=300).stdout.split()[0])


def _frames(path: Path, stream: str) -> list[dict[str, Any]]:
    entries = "frame=best_effort_timestamp_time,nb_samples"
    command = ["ffprobe", "-v", "error", "-select_streams", stream, "-show_entries", entries, "-of", "json", str(path)]
    found = subprocess.run(command, check=True, capture_output=True, timeout=300).stdout
    frames: list[dict[str, Any]] = json.loads(found)["frames"]
    return frames
