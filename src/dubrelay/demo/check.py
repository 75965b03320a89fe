"""The demo's verdict over its recording, finding by finding."""

from __future__ import annotations

from dubrelay.config import Settings
from dubrelay.demo.ear import WhisperEar
from dubrelay.demo.listening import (
    bed_finding,
    compare,
    language_finding,
    length_finding,
    original_finding,
    picture_finding,
)
from dubrelay.demo.programme import Programme
from dubrelay.demo.summary import Finding, Summary


def check(settings: Settings, programme: Programme, published_s: float, summary: Summary, target: str) -> list[Finding]:
    recording = compare(programme, summary.recording)
    ear = WhisperEar(settings, settings.dub.source_language)
    found = [
        language_finding(recording, ear, target),
        picture_finding(recording),
        length_finding(summary.recording, published_s),
    ]
    if recording.sentences:
        # What was left original on purpose may be heard, and what is said before the output begins is not in it.
        found.insert(1, original_finding(recording, ear, most=len(summary.phrases) - len(summary.dubbed)))
        found.append(bed_finding(recording))
    return found
