"""Captions of a recording, as files beside it: one for each language, whatever is said or was said in it.

A phrase is known before it is heard, so when a segment has ended all phrases in it are known. Until then they are kept
in a journal on disk, which outlives the orchestrator: DIRECTORY/live/STREAM/out/.phrases.jsonl
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from dubrelay.config import AUTO
from dubrelay.orchestrator.captions import Cue, Track, cues, webvtt
from dubrelay.wire.status import PhraseReport

JOURNAL = ".phrases.jsonl"
UNKNOWN_LANGUAGE = "und"
"""As ISO 639 has it: the service finds out what is spoken, and does not say."""


class Said(BaseModel):
    """A phrase, and what its captions need beside it."""

    model_config = ConfigDict(frozen=True)  # not forbidding more: a journal of a later version can be read

    source_language: str
    target_language: str
    delay_s: float
    """How far `out` was behind `in`."""
    phrase: PhraseReport


def captions(said: Iterable[Said], start: float, end: float) -> dict[str, str]:
    """By language, WebVTT of what is heard from `start` to `end` (seconds since the epoch), counted from `start`."""
    groups: dict[tuple[str, Track, float], list[PhraseReport]] = {}
    for one in said:
        groups.setdefault((one.target_language, "dub", one.delay_s), []).append(one.phrase)
        spoken = UNKNOWN_LANGUAGE if one.source_language == AUTO else one.source_language
        if spoken != one.target_language:
            groups.setdefault((spoken, "original", one.delay_s), []).append(one.phrase)
    shown: dict[str, list[Cue]] = {}
    for (language, track, delay_s), phrases in groups.items():
        within = [cue for cue in cues(phrases, track, delay_s) if start < cue.end and cue.start < end]
        if within:
            shown.setdefault(language, []).extend(replace(cue, end=min(cue.end, end)) for cue in within)
    return {
        language: webvtt(sorted(found, key=lambda cue: cue.start), start, language) for language, found in shown.items()
    }


def ends_at(said: Said) -> float:
    """When nothing of it is heard or shown any more; seconds since the epoch, a bit later rather than too early."""
    phrase = said.phrase
    dub_ms = (phrase.dub_t0_ms or phrase.t0_ms) - phrase.t0_ms + (phrase.dubbed_ms or 0)
    return phrase.started_at + said.delay_s + max(phrase.duration_ms, dub_ms) / 1000 + 1


class Journal:
    """Of one stream. Every call may raise OSError; what is in memory is then as it should be all the same."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / JOURNAL
        self.said: list[Said] = []

    def load(self) -> None:
        """A line that is none, such as one that was cut off, is left out."""
        with suppress(FileNotFoundError):
            kept = self.file.read_bytes()
            for line in kept.splitlines():
                with suppress(ValidationError):
                    self.said.append(Said.model_validate_json(line))
            if kept and not kept.endswith(b"\n"):
                with self.file.open("ab") as opened:
                    opened.write(b"\n")

    def add(self, new: Sequence[Said]) -> None:
        self.said += new
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as opened:
            opened.writelines(one.model_dump_json() + "\n" for one in new)

    def forget_before(self, at: float) -> None:
        """What is over by then, seconds since the epoch."""
        kept = [one for one in self.said if ends_at(one) > at]
        if len(kept) == len(self.said):
            return
        self.said = kept
        if kept:
            write_whole(self.file, "".join(one.model_dump_json() + "\n" for one in kept))
        else:
            self.file.unlink(missing_ok=True)


def write_whole(file: Path, text: str) -> None:
    """There as a whole, or not at all. OSError where it cannot be written."""
    unfinished = file.with_name(f".{file.name}.tmp")
    try:
        unfinished.write_text(text, "utf-8")
        unfinished.replace(file)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
