"""What a worker keeps of each phrase on disk, for people to look at and listen to afterwards.

STATE_DIR/trace/STREAM/0001764108000123-5f0c.json         the record: its name sorts by time
                       0001764108000123-5f0c.original.wav, .dub.wav, .out.wav    where trace.sounds is set
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from dubrelay import config
from dubrelay.wire.status import PhraseReport, SoundName

_STEM = re.compile(r"[0-9]{16}-[0-9a-f]{4}")


class PhraseTrace(BaseModel):
    """One phrase. Times are ms of the worker's running time, as the report's `t0_ms`, where the phrase begins."""

    model_config = ConfigDict(frozen=True)  # not forbidding more: records of a later version can be read

    stream_id: str
    run_id: str
    instance_id: str
    """The worker process."""
    fragment_id: str
    source_language: str
    target_language: str
    voice_profile: str
    programme: config.Programme
    """What was on when the phrase went out."""
    phrase: PhraseReport
    voice_ms: int
    """Where its voice begins."""
    known_ms: int
    """When it had been heard to its end, and was sent."""
    answered_ms: int | None = None
    decided_ms: int
    dub_ms: int | None = None
    """Where its dub begins."""
    sounds: tuple[SoundName, ...] = ()

    @property
    def stem(self) -> str:
        return stem_of(self.phrase.started_at, self.instance_id)


def stem_of(started_at: float, instance_id: str) -> str:
    """Name of a phrase's record; `started_at` in seconds since the epoch."""
    return f"{round(started_at * 1000):016d}-{instance_id[:4]}"


def is_stem(text: str) -> bool:
    return _STEM.fullmatch(text) is not None


def started_ms(stem: str) -> int:
    """When the phrase of that record began, ms since the epoch."""
    return int(stem.partition("-")[0])


def folder(paths: config.Paths, stream_id: config.StreamId) -> Path:
    return root(paths) / stream_id


def root(paths: config.Paths) -> Path:
    return paths.state_dir / "trace"


def record_file(directory: Path, stem: str) -> Path:
    return directory / f"{stem}.json"


def sound_file(directory: Path, stem: str, sound: SoundName) -> Path:
    return directory / f"{stem}.{sound}.wav"


def stems(directory: Path) -> list[str]:
    """Of the records that are there, oldest first; a file with another name is not the worker's."""
    return sorted(file.stem for file in directory.glob("*.json") if is_stem(file.stem))


def read(directory: Path) -> Iterator[PhraseTrace]:
    """The records of a stream, oldest first. One that goes away meanwhile, or is none, is left out."""
    for stem in stems(directory):
        with suppress(OSError, ValidationError):
            yield PhraseTrace.model_validate_json(record_file(directory, stem).read_bytes())
