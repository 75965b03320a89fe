"""Files in and out by ffmpeg and ffprobe: what they hold, their sound as samples, samples beside a copied picture."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from dubrelay.audio import CHANNELS, RATE_HZ, Samples
from dubrelay.errors import ConfigError, MediaError

QUIET = ("ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin")
"""How every ffmpeg of ours begins."""
BLOCK = RATE_HZ // 2
"""Samples read at a time."""
_AAC = ("-c:a", "aac", "-b:a", "160k")
_MP3 = ("-c:a", "libmp3lame", "-b:a", "160k")
_MP2 = ("-c:a", "mp2", "-b:a", "192k")
_OPUS = ("-c:a", "libopus", "-b:a", "128k")
_SOUND_ONLY: dict[str, tuple[str, tuple[str, ...]]] = {
    ".wav": ("wav", ("-c:a", "pcm_s16le")),
    ".mp3": ("mp3", _MP3),
    ".flac": ("flac", ("-c:a", "flac")),
    ".ogg": ("ogg", ("-c:a", "libvorbis", "-q:a", "5")),
    ".opus": ("opus", _OPUS),
    ".m4a": ("ipod", _AAC),
    ".aac": ("adts", _AAC),
    ".aif": ("aiff", ("-c:a", "pcm_s16be")),
    ".aiff": ("aiff", ("-c:a", "pcm_s16be")),
}
CONTAINERS: dict[str, tuple[str, tuple[str, ...]]] = {
    **_SOUND_ONLY,
    ".mp4": ("mp4", _AAC),
    ".m4v": ("mp4", _AAC),
    ".mov": ("mov", _AAC),
    ".mkv": ("matroska", _AAC),
    ".webm": ("webm", _OPUS),
    ".avi": ("avi", _MP3),
    ".flv": ("flv", _AAC),
    ".ts": ("mpegts", _AAC),
    ".mpg": ("vob", _MP2),
    ".mpeg": ("vob", _MP2),
}
"""What a recording's name may end in, as input and as output: the muxer, and how its sound is encoded."""


def probe(path: Path) -> dict[str, Any]:
    """ffprobe's view of a file's streams and format. ConfigError when it is not media."""
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ConfigError(f"{path}: cannot be read: {last_line(result.stderr)}")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def stream_of(found: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """The first stream of a kind (video, audio); a cover picture is no video."""
    for stream in found.get("streams", []):
        if stream.get("codec_type") == kind and not stream.get("disposition", {}).get("attached_pic"):
            return dict(stream)
    return None


def duration_s(path: Path) -> float:
    return float(probe(path)["format"].get("duration", 0))


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"


@contextmanager
def reading(source: Path) -> Iterator[Iterator[Samples]]:
    """The sound of a file in blocks, from the file's time 0 on, whenever its sound begins."""
    command = [
        *(*QUIET, "-i", str(source), "-map", "0:a:0", "-af", f"aresample={RATE_HZ}:async=1:first_pts=0"),
        *("-ac", str(CHANNELS), "-f", "f32le", "pipe:1"),
    ]
    with _process(command, f"{source}: its sound cannot be read", stdout=True) as (_, pipe):
        yield _blocks(pipe)


def _blocks(pipe: IO[bytes]) -> Iterator[Samples]:
    frame_bytes = 4 * CHANNELS
    while data := pipe.read(BLOCK * frame_bytes):
        yield np.frombuffer(data, "<f4").reshape(-1, CHANNELS)


@contextmanager
def writing(source: Path, out: Path) -> Iterator[IO[bytes]]:
    """Takes stereo float32; `out` is replaced when the block ends well."""
    container, codec = CONTAINERS[out.suffix.lower()]
    picture = [] if out.suffix.lower() in _SOUND_ONLY else ["-map", "0:v?", "-c:v", "copy"]
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=".dubbing-") as scratch:
        partial = Path(scratch) / f"partial{out.suffix}"
        command = [
            *(*QUIET, "-i", str(source), "-f", "f32le", "-ar", str(RATE_HZ), "-ac", str(CHANNELS), "-i", "pipe:0"),
            *(*picture, "-map", "1:a", *codec, "-map_metadata", "0", "-f", container, str(partial)),
        ]
        with _process(command, f"{out}: cannot be written", stdout=False) as (process, pipe):
            yield pipe
            pipe.close()
            process.wait()
        partial.replace(out)


@contextmanager
def _process(command: list[str], failure: str, stdout: bool) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """ffmpeg with one pipe to or from it; MediaError with its last words when it did not end well."""
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if stdout else subprocess.PIPE,
            stdout=subprocess.PIPE if stdout else subprocess.DEVNULL,
            stderr=words,
            process_group=0,
        )
        pipe = process.stdout if stdout else process.stdin
        assert pipe is not None
        try:
            yield process, pipe
            ended = process.wait()
        except BrokenPipeError:
            if stdout:
                raise  # another process' pipe
            ended = process.wait() or 1
        finally:
            process.kill()
            process.wait()
            _close(pipe)
        if ended:
            words.seek(0)
            raise MediaError(f"{failure}: {last_line(words.read().decode(errors='replace'))}")


def _close(pipe: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):  # what was not written yet is not wanted any more
        pipe.close()
