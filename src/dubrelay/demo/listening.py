"""Listens to the recording: is the target language spoken, is the original gone, is the background still there?"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from dubrelay.demo.access_units import PictureMatch, access_units, match
from dubrelay.demo.programme import Programme, Sentence
from dubrelay.demo.summary import Finding
from dubrelay.errors import ConfigError
from dubrelay.ffmpeg import QUIET, last_line, probe, stream_of

RATE_HZ = 16_000
LISTEN_S = 600
"""More of a long recording is not listened to."""
_WINDOW_S = 10.0
_LANGUAGE_WINDOWS = 8
_SENTENCES = 60
_SURE = 0.5
_LEAST_RMS = 0.003
_BED_PAUSE_S = 1.5
_BED_S = 0.2
_BED_QUANTILE = 0.25
_BED_DB = 3.0
_TRACKS_S = 0.5
_START_S = 20.0
"""What is published before the output has begun is not in a recording: about 8 s, more on a busy machine."""

Mono = npt.NDArray[np.float32]
T = TypeVar("T")


class Ear(Protocol):
    """Two recognisers: one that tells languages apart, one for the original's language."""

    def language(self, samples: Mono) -> tuple[str, float]:
        """(language, probability) of at most 30 s at 16 kHz."""
        ...

    def words(self, samples: Mono) -> str:
        """What is heard when it is taken for the original's language."""
        ...


@dataclass(frozen=True)
class Recording:
    """A recording against what was published."""

    programme: Programme
    published: Mono
    recorded: Mono
    picture: PictureMatch | None

    @property
    def sentences(self) -> list[Sentence]:
        """Those that lie in the recording as a whole, at their time in the recording."""
        if self.picture is None:
            return []
        length_s = len(self.recorded) / RATE_HZ
        shifts = np.arange(0, length_s + self.programme.seconds, self.programme.seconds) + self.picture.offset_s
        moved = [
            Sentence(text=s.text, start_s=s.start_s + shift, end_s=s.end_s + shift)
            for shift in shifts
            for s in self.programme.sentences
        ]
        return [s for s in moved if s.start_s > 0 and s.end_s + 0.3 < length_s]


def compare(programme: Programme, recording: Path) -> Recording:
    return Recording(
        programme=programme,
        published=sound(programme.path),
        recorded=sound(recording),
        picture=match(access_units(programme.path), access_units(recording)),
    )


def sound(path: Path) -> Mono:
    """The first LISTEN_S at 16 kHz, mono, from the file's time 0 on."""
    command = [
        *(*QUIET, "-i", str(path), "-map", "0:a:0"),
        *("-t", str(LISTEN_S), "-af", f"aresample={RATE_HZ}:async=1:first_pts=0", "-ac", "1", "-f", "f32le", "pipe:1"),
    ]
    result = subprocess.run(command, capture_output=True, check=False)
    if result.returncode:
        raise ConfigError(f"{path}: its sound cannot be read: {last_line(result.stderr.decode(errors='replace'))}")
    return np.frombuffer(result.stdout, np.float32)


def picture_finding(recording: Recording) -> Finding:
    found = recording.picture
    if found is None:
        return Finding("the picture is the one published", False, "not one access unit of it was recognised")
    how = f"{found.equal} of {found.recorded} access units are equal in a row, from number {found.first} on"
    return Finding("the picture is the one published", found.equal == found.recorded, how)


def length_finding(path: Path, published_s: float) -> Finding:
    """The sound may go on: it does, as silence, when the publisher has left."""
    what = "sound and picture last to the end"
    found = probe(path)
    video, audio = stream_of(found, "video"), stream_of(found, "audio")
    if video is None or audio is None:
        return Finding(what, False, "one of them is missing")
    video_s, audio_s = float(video["duration"]), float(audio["duration"])
    how = f"{audio_s:.2f} s of sound, {video_s:.2f} s of picture, {published_s:.0f} s published"
    return Finding(what, audio_s > video_s - _TRACKS_S and video_s > published_s - _START_S, how)


def language_finding(recording: Recording, ear: Ear, target: str) -> Finding:
    """Windows where speech was expected, or all over the recording when the text is not known."""
    heard = [ear.language(window) for window in _windows(recording)]
    sure = [language for language, probability in heard if probability >= _SURE]
    count = sure.count(target)
    how = f"in {count} of {len(heard)} places"
    others = sorted({language for language in sure if language != target})
    if others:
        how += f"; elsewhere {', '.join(others)}"
    return Finding(f"{target} is spoken", count > 0 and 2 * count >= len(sure), how)


def _windows(recording: Recording) -> list[Mono]:
    total_s = len(recording.recorded) / RATE_HZ
    starts = [s.start_s for s in recording.sentences] or list(np.arange(0, max(1.0, total_s - 2), _WINDOW_S))
    chosen = _some(starts, _LANGUAGE_WINDOWS)
    windows = [_part(recording.recorded, start, start + _WINDOW_S) for start in chosen]
    return [w for w in windows if len(w) > RATE_HZ and float(np.sqrt(np.mean(w**2))) > _LEAST_RMS]


def _some(all_of_them: list[T], most: int) -> list[T]:
    """At most so many, evenly chosen."""
    return all_of_them[:: max(1, -(-len(all_of_them) // most))]


def original_finding(recording: Recording, ear: Ear, most: int) -> Finding:
    """`most` sentences may be heard: what was left original on purpose. The published file is the control."""
    sentences = _some(recording.sentences, _SENTENCES)
    assert recording.picture is not None
    shift = recording.picture.offset_s
    still, before = [], 0
    for one in sentences:
        at = (one.start_s - shift) % recording.programme.seconds
        original = _part(recording.published, at - 0.2, at + one.end_s - one.start_s + 0.3)
        before += is_heard(one.text, ear.words(original))
        if is_heard(one.text, ear.words(_part(recording.recorded, one.start_s - 0.2, one.end_s + 0.3))):
            still.append(one)
    how = f"{len(still)} of {len(sentences)} original sentences are still heard (published: {before})"
    if still:
        how += f", at {', '.join(f'{one.start_s:.0f} s' for one in still[:5])}"
    return Finding("the original speech is gone", len(still) <= most and 2 * before > len(sentences), how)


def bed_finding(recording: Recording) -> Finding:
    """Levels in the long pauses, a fifth of a second at a time. The dub may reach into a pause: the quietest count."""
    assert recording.picture is not None
    differences: list[float] = []
    pauses = 0
    for before, after in pairwise(recording.sentences):
        if after.start_s - before.end_s >= _BED_PAUSE_S:
            pauses += 1
            for at in np.arange(before.end_s + 0.1, after.start_s - 0.1 - _BED_S, _BED_S):
                original_at = (at - recording.picture.offset_s) % recording.programme.seconds
                original = _part(recording.published, original_at, original_at + _BED_S)
                differences.append(_level_db(_part(recording.recorded, at, at + _BED_S)) - _level_db(original))
    if not differences:
        return Finding("the background is still there", True, "no pause was long enough to listen", needed=False)
    quiet_db = float(np.quantile(differences, _BED_QUANTILE))
    how = f"{quiet_db:+.1f} dB in {pauses} pauses"
    return Finding("the background is still there", abs(quiet_db) <= _BED_DB, how)


def is_heard(sentence: str, heard: str) -> bool:
    """Whether at least half of the sentence's runs of three words occur in what was heard."""
    said, present = runs(sentence), set(runs(heard))
    return bool(said) and 2 * sum(run in present for run in said) >= len(said)


def runs(text: str) -> list[tuple[str, ...]]:
    words: Sequence[str] = re.findall(r"[a-z0-9']+", text.lower())
    return [tuple(words[n : n + 3]) for n in range(max(1, len(words) - 2))] if words else []


def _part(samples: Mono, start_s: float, end_s: float) -> Mono:
    return samples[max(0, round(start_s * RATE_HZ)) : max(0, round(end_s * RATE_HZ))]


def _level_db(samples: Mono) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-10)) if len(samples) else -100.0
