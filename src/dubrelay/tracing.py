"""`dubrelay trace`: what became of a stream's phrases, and how they sounded."""

from __future__ import annotations

import time
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dubrelay import config
from dubrelay.audio import CHANNELS, RATE_HZ, Samples, samples_in, to_pcm
from dubrelay.errors import ConfigError
from dubrelay.wire import trace
from dubrelay.wire.status import SOUNDS, SoundName
from dubrelay.wire.trace import PhraseTrace

_PAUSE = samples_in(0.6)
"""Between sounds that are played one after the other."""


def streams(paths: config.Paths) -> list[str]:
    """Those of which there is a trace."""
    root = trace.root(paths)
    return sorted(d.name for d in root.iterdir() if d.is_dir()) if root.is_dir() else []


def latest(paths: config.Paths, stream_id: str, count: int | None = None) -> list[PhraseTrace]:
    """A stream's latest phrases (None: all there are), oldest first.

    ConfigError when there are none, with the streams that have some.
    """
    known = streams(paths)  # a name that is not among them never becomes a path
    found = list(trace.read(trace.folder(paths, stream_id)))[-(count or 0) :] if stream_id in known else []
    if not found:
        others = ", ".join(known) or "none"
        raise ConfigError(f"there is no trace of a stream {stream_id!r} under {trace.root(paths)}; of others: {others}")
    return found


def numbered(found: Sequence[PhraseTrace], number: int) -> PhraseTrace:
    """The latest one of that number; numbers begin anew with each worker."""
    for record in reversed(found):
        if record.phrase.sequence_number == number:
            return record
    numbers = sorted(record.phrase.sequence_number for record in found)
    raise ConfigError(f"--phrase {number}: the trace has {numbers[0]} to {numbers[-1]}")


def show_streams(paths: config.Paths, console: Console) -> None:
    table = Table("stream", "phrases", "latest")
    for stream_id in streams(paths):
        found = trace.stems(trace.folder(paths, stream_id))
        table.add_row(stream_id, str(len(found)), _clock(trace.started_ms(found[-1]) / 1000) if found else "")
    console.print(table)


def show(found: Sequence[PhraseTrace], console: Console) -> None:
    table = Table("phrase", "became", "heard and said", show_lines=True)
    for record in found:
        phrase = record.phrase
        words = [escape(text) for text in (phrase.transcript, phrase.translated_text) if text]
        table.add_row(
            f"{phrase.sequence_number}\n{_clock(phrase.started_at)[11:]}",
            escape(_fate(record)),
            "\n".join([*words, f"[dim]{escape(_figures(record))}[/dim]"]),
        )
    console.print(table)


def _figures(record: PhraseTrace) -> str:
    phrase = record.phrase
    known = [
        f"{phrase.duration_ms / 1000:.1f} s spoken",
        phrase.voice,
        "" if phrase.tempo is None else f"tempo {phrase.tempo:.2f}",
        "" if phrase.margin_ms is None else f"margin {phrase.margin_ms / 1000:.2f} s",
        f"late by {phrase.lag_ms / 1000:.2f} s" if phrase.lag_ms else "",
    ]
    return " · ".join(filter(None, known))


def _fate(record: PhraseTrace) -> str:
    phrase = record.phrase
    return ": ".join(part for part in (phrase.status, phrase.reason or "", phrase.message) if part)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def play_back(paths: config.Paths, record: PhraseTrace, sound: SoundName | None, out: Path) -> None:
    """Writes one of a phrase's sounds, or all that there are, one after the other, as 48 kHz stereo wav."""
    wanted = [name for name in SOUNDS if name in record.sounds and sound in (None, name)]
    if not wanted:
        has = ", ".join(record.sounds) or "none (trace.sounds was false)"
        raise ConfigError(f"phrase {record.phrase.sequence_number} has no such sound; it has {has}")
    directory = trace.folder(paths, record.stream_id)
    parts: list[Samples] = []
    for name in wanted:
        parts += [_read(trace.sound_file(directory, record.stem, name)), np.zeros((_PAUSE, CHANNELS), np.float32)]
    with out.open("wb") as file, wave.open(file, "wb") as wav:
        wav.setnchannels(CHANNELS)
        wav.setsampwidth(2)
        wav.setframerate(RATE_HZ)
        wav.writeframes(to_pcm(np.concatenate(parts[:-1])))


def _read(file: Path) -> Samples:
    """(n, 2) at 48 kHz."""
    try:
        with wave.open(str(file), "rb") as wav:
            channels, rate_hz = wav.getnchannels(), wav.getframerate()
            pcm = np.frombuffer(wav.readframes(wav.getnframes()), "<i2").reshape(-1, channels)
    except (wave.Error, EOFError, ValueError) as e:
        raise ConfigError(f"{file}: is damaged: {e}") from e
    stereo = np.repeat(pcm, CHANNELS // channels, axis=1).astype(np.float32) / 32768
    return np.asarray(soxr.resample(stereo, rate_hz, RATE_HZ), np.float32)
