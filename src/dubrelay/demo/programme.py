"""The sample programme: spoken English news over a music bed, a moving test picture with a clock.

It is generated once, the same for the same length, and what is said when is known: that is what the listening check
compares the dubbed recording with.
"""

from __future__ import annotations

import itertools
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr
from pydantic import BaseModel, ConfigDict

from dubrelay.audio import RATE_HZ, Samples, samples_in, to_pcm
from dubrelay.demo.picture import PICTURE, finish, picture_filter
from dubrelay.demo.sentences import ITEMS
from dubrelay.ffmpeg import QUIET

FORMAT = 1
"""Raised when the generator changes, so that an older file is made anew."""
LEAD_IN_S = 1.2
PAUSE_S = (0.5, 1.5)
ITEM_PAUSE_S = (2.4, 3.4)
SPEECH_RMS = 0.09
BED_DB = -15.0
_TAIL_S = 0.6
_BLOCK_S = 1.0

Mono = npt.NDArray[np.float32]
Progress = Callable[[float, float], None]
"""Seconds done, seconds in all."""


class Sentence(BaseModel):
    model_config = ConfigDict(frozen=True)

    text: str
    start_s: float
    end_s: float


class Programme(BaseModel):
    """A file to publish; `sentences` is empty where the text is not known."""

    model_config = ConfigDict(frozen=True)

    path: Path
    seconds: float
    sentences: tuple[Sentence, ...] = ()
    format: int = FORMAT


@dataclass(frozen=True)
class _Spoken:
    text: str
    at: int
    samples: Mono


def make(path: Path, seconds: float, progress: Progress = lambda done, total: None) -> Programme:
    """The programme of that length at `path` (an .mp4), generated unless it is already there."""
    sidecar = path.with_suffix(".json")
    if path.exists() and sidecar.exists():
        known = Programme.model_validate_json(sidecar.read_text(encoding="utf-8"))
        if known.format == FORMAT and known.seconds == seconds:
            return known.model_copy(update={"path": path})
    path.parent.mkdir(parents=True, exist_ok=True)
    sidecar.unlink(missing_ok=True)
    said = _encode(path, seconds, progress)
    programme = Programme(path=path, seconds=seconds, sentences=said)
    sidecar.write_text(programme.model_dump_json(indent=1), encoding="utf-8")
    return programme


def _encode(path: Path, seconds: float, progress: Progress) -> tuple[Sentence, ...]:
    said: list[Sentence] = []
    partial = path.with_name(path.name + ".partial")
    with subprocess.Popen(_command(partial, seconds), stdin=subprocess.PIPE, stderr=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        done = 0
        try:
            for block in sound(seconds, said):
                encoder.stdin.write(to_pcm(block))
                done += len(block)
                progress(done / RATE_HZ, seconds)
            encoder.stdin.close()
        except BrokenPipeError:
            pass  # what ended the encoder is on its stderr
        finish(encoder, partial, path)
    return tuple(said)


def _command(out: Path, seconds: float) -> list[str]:
    return [
        *(*QUIET, "-y"),
        *("-f", "s16le", "-ar", str(RATE_HZ), "-ac", "2", "-i", "pipe:0"),
        *("-f", "lavfi", "-i", picture_filter()),
        *("-map", "1:v", "-map", "0:a", "-t", f"{seconds:g}", *PICTURE),
        *("-c:a", "aac", "-b:a", "128k", "-f", "mp4", str(out)),
    ]


def sound(seconds: float, said: list[Sentence]) -> Iterator[Samples]:
    """The stereo sound in blocks, exactly `seconds` long; each sentence is added to `said` as it is spoken."""
    total, block = samples_in(seconds), samples_in(_BLOCK_S)
    bed = music()
    speech = _speech(total)
    spoken: list[_Spoken] = []
    for at in range(0, total, block):
        count = min(block, total - at)
        while not spoken or spoken[-1].at < at + count:
            spoken.append(next(speech))
        out = np.take(bed, range(at, at + count), axis=0, mode="wrap")
        for one in spoken:
            _add(out, at, one)
        said += [_as_sentence(one) for one in spoken if at <= one.at < at + count]
        spoken = [one for one in spoken if one.at + len(one.samples) > at + count]
        yield out


def _add(out: Samples, at: int, spoken: _Spoken) -> None:
    lo, hi = max(at, spoken.at), min(at + len(out), spoken.at + len(spoken.samples))
    if lo < hi:
        out[lo - at : hi - at] += spoken.samples[lo - spoken.at : hi - spoken.at, None]


def _as_sentence(spoken: _Spoken) -> Sentence:
    return Sentence(
        text=spoken.text,
        start_s=round(spoken.at / RATE_HZ, 4),
        end_s=round((spoken.at + len(spoken.samples)) / RATE_HZ, 4),
    )


def _speech(total: int) -> Iterator[_Spoken]:
    """Sentence after sentence without end; what would not be finished by sample `total` is left to silence."""
    voice = _Voice()
    at = samples_in(LEAD_IN_S)
    for text, pause_s in _texts():
        samples = voice.say(text)
        if at + len(samples) + samples_in(_TAIL_S) > total:
            break
        yield _Spoken(text, at, samples)
        at += len(samples) + samples_in(pause_s)
    while True:
        yield _Spoken("", total, np.zeros(0, np.float32))


def _texts() -> Iterator[tuple[str, float]]:
    """Texts with the pause after each: first in their order, then item by item in an order that is always the same."""
    dice = random.Random(7)
    for order in itertools.chain([list(ITEMS)], (dice.sample(ITEMS, len(ITEMS)) for _ in itertools.count())):
        for item in order:
            for nth, text in enumerate(item):
                yield text, dice.uniform(*(ITEM_PAUSE_S if nth == len(item) - 1 else PAUSE_S))


class _Voice:
    """English speech at 48 kHz, without silence around it, every sentence equally loud."""

    def __init__(self) -> None:
        from hibari import Hibari  # noqa: PLC0415 - half a second, only when a programme is made

        hibari: Any = Hibari
        self._speak = hibari(voice="heart")  # any other name would be downloaded

    def say(self, text: str) -> Mono:
        raw = np.asarray(self._speak(text, speed=1.0, seed=0), np.float32).reshape(-1)
        loud = np.flatnonzero(np.abs(raw) > 0.006)
        speech = soxr.resample(raw[loud[0] : loud[-1] + 1], 24_000, RATE_HZ, quality="HQ")
        return np.asarray(speech * (SPEECH_RMS / np.sqrt(np.mean(speech**2))), np.float32)


_CHORDS_HZ = (
    (110.00, 164.81, 220.00, 261.63),
    (87.31, 174.61, 220.00, 261.63),
    (130.81, 164.81, 196.00, 261.63),
    (98.00, 146.83, 196.00, 246.94),
)


def music(chord_s: float = 4.0) -> Samples:
    """A calm loop of chords and single notes, stereo, that can be repeated without a seam."""
    count, fade = samples_in(chord_s), samples_in(0.4)
    loop = np.zeros((count * len(_CHORDS_HZ), 2), np.float32)
    for nth, chord in enumerate(_CHORDS_HZ):
        where = np.arange(nth * count, (nth + 1) * count + fade) % len(loop)  # into the next chord: no dip between them
        loop[where] += _chord(chord, count + fade, fade)
    level = SPEECH_RMS * 10 ** (BED_DB / 20)
    return np.asarray(loop * (level / np.sqrt(np.mean(loop**2))), np.float32)


def _chord(chord_hz: tuple[float, ...], count: int, fade: int) -> npt.NDArray[np.float64]:
    t = np.arange(count) / RATE_HZ
    out = np.zeros((count, 2))
    for voice, hz in enumerate(chord_hz):
        pan = voice / (len(chord_hz) - 1)
        tone = np.sin(2 * np.pi * hz * t) + 0.3 * np.sin(2 * np.pi * 2 * hz * t + voice)
        out += tone[:, None] * np.sqrt([1 - 0.8 * pan, 0.2 + 0.8 * pan])
        since = np.maximum(0, t - 0.5 * (1 + voice))
        pluck = 0.8 * np.sin(8 * np.pi * hz * since) * np.exp(-4 * since)
        out += pluck[:, None] * np.sqrt([0.2 + 0.8 * pan, 1 - 0.8 * pan])
    ramp = np.ones(count)
    ramp[:fade] = np.linspace(0, 1, fade)
    ramp[-fade:] = np.linspace(1, 0, fade)
    return out * ramp[:, None]
