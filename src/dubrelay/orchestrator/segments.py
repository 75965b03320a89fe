"""Recordings on disk: what MediaMTX writes of `out`, a file for each segment, with its captions beside it.

DIRECTORY/live/STREAM/out/2026-11-26T16-50-21-123456Z.mp4        when its first picture came, to the microsecond
                          2026-11-26T16-50-21-123456Z.es.vtt     captions of the same time, one file for each language

Whatever else lies there is somebody else's: it is not seen, not counted and not deleted. No link is followed.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dubrelay.config import STREAM_ID_PATTERN

NAME_PATTERN = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}-[0-9]{6}(?:Z|[+-][0-9]{4})"
"""Of a segment, without its suffix."""
_TIME = "%Y-%m-%dT%H-%M-%S-%f%z"
"""As MediaMTX and as `datetime` understand it."""
_FILE = re.compile(rf"({NAME_PATTERN})\.(?:mp4|([a-z0-9-]{{2,16}})\.vtt)")
_STREAM = re.compile(STREAM_ID_PATTERN)
STALE_S = 30.0
"""A file that did not grow for so long is not written any more, whatever became of its writer."""
_HEADER_BYTES = 512


@dataclass(frozen=True)
class Segment:
    stream_id: str
    name: str
    start: float
    """Seconds since the epoch."""
    size: int
    """Bytes, its captions included."""
    changed: float
    """When it last grew; seconds since the epoch."""
    open: bool
    """It may still grow."""
    captions: tuple[str, ...] = ()
    """Languages."""


def record_path(directory: Path) -> str:
    """MediaMTX's `recordPath`, without the suffix that it adds."""
    return f"{directory}/%path/{_TIME}"


def folder(directory: Path, stream_id: str) -> Path:
    return directory / "live" / stream_id / "out"


def file_of(directory: Path, stream_id: str, file_name: str) -> Path | None:
    """The file of that name, where there is one and it is a recording or captions of one."""
    if _STREAM.fullmatch(stream_id) is None or _FILE.fullmatch(file_name) is None:
        return None
    file = folder(directory, stream_id) / file_name
    above = (file, *file.parents[:3])
    return file if file.is_file() and not any(part.is_symlink() for part in above) else None


def captions_file(directory: Path, segment: Segment, language: str) -> Path:
    return folder(directory, segment.stream_id) / f"{segment.name}.{language}.vtt"


def all_segments(directory: Path, now: float) -> list[Segment]:
    """Of every stream, oldest first. OSError where the directory is there and cannot be read."""
    found = [s for stream_id in _streams(directory) for s in segments(directory, stream_id, now)]
    return sorted(found, key=lambda segment: segment.start)


def segments(directory: Path, stream_id: str, now: float) -> list[Segment]:
    """Of one stream, oldest first. `now` in seconds since the epoch."""
    media: dict[str, os.stat_result] = {}
    captions: dict[str, dict[str, int]] = {}
    for entry in _entries(folder(directory, stream_id)):
        match = _FILE.fullmatch(entry.name)
        if match is None or not entry.is_file(follow_symlinks=False):
            continue
        with suppress(FileNotFoundError):
            stat = entry.stat(follow_symlinks=False)
            if match[2] is None:
                media[match[1]] = stat
            else:
                captions.setdefault(match[1], {})[match[2]] = stat.st_size
    starts = {name: start for name in media if (start := _start(name)) is not None}
    latest = max(starts, key=lambda name: starts[name], default="")
    return [
        Segment(
            stream_id=stream_id,
            name=name,
            start=start,
            size=media[name].st_size + sum(captions.get(name, {}).values()),
            changed=media[name].st_mtime,
            open=name == latest and _may_grow(folder(directory, stream_id) / f"{name}.mp4", media[name], now),
            captions=tuple(sorted(captions.get(name, {}))),
        )
        for name, start in sorted(starts.items(), key=lambda item: item[1])
    ]


def length_s(directory: Path, segment: Segment) -> float:
    """As MediaMTX wrote it at the end; of one that it did not end, from when it began to when it last grew."""
    written = _written_length_s(folder(directory, segment.stream_id) / f"{segment.name}.mp4")
    return written or max(0.0, segment.changed - segment.start)


def delete(directory: Path, segment: Segment) -> None:
    """It and its captions; nothing where it is gone already. OSError where that cannot be."""
    for language in segment.captions:
        captions_file(directory, segment, language).unlink(missing_ok=True)
    (folder(directory, segment.stream_id) / f"{segment.name}.mp4").unlink(missing_ok=True)


def _streams(directory: Path) -> Iterator[str]:
    for entry in _entries(directory / "live"):
        if entry.is_dir(follow_symlinks=False) and _STREAM.fullmatch(entry.name):
            yield entry.name


def _entries(place: Path) -> list[os.DirEntry[str]]:
    """Empty where there is no such folder, or it is a link."""
    try:
        if place.is_symlink():
            return []
        with os.scandir(place) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _start(name: str) -> float | None:
    try:
        return datetime.strptime(name, _TIME).timestamp()
    except ValueError:
        return None  # digits, but no time


def _may_grow(file: Path, stat: os.stat_result, now: float) -> bool:
    return now - stat.st_mtime < STALE_S and not _written_length_s(file)


def _written_length_s(file: Path) -> float:
    """0 while it is written, and where its writer was killed: MediaMTX writes it into `mvhd` at the end."""
    try:
        with file.open("rb") as opened:
            head = opened.read(_HEADER_BYTES)
    except OSError:
        return 0.0
    at = head.find(b"mvhd")
    if at < 0 or len(head) < at + 24 or head[at + 4] != 0:
        return 0.0
    timescale, duration = struct.unpack_from(">II", head, at + 16)
    return duration / timescale if timescale else 0.0
