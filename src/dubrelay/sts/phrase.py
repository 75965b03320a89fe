"""One request on its way through the service: what was asked for, what it has met, what it becomes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dubrelay.config import AUTO
from dubrelay.errors import StsError
from dubrelay.sts.admission import Place
from dubrelay.sts.asr.base import Transcript
from dubrelay.sts.lanes import Leave
from dubrelay.sts.route import Route, while_hearing
from dubrelay.sts.tts.base import Original, Speech
from dubrelay.wire.fragment import MAX_AUDIO_S, Audio, Metadata, ProcessRequest, ProcessResult

DURATION_TOLERANCE_MS = 50


@dataclass
class Phrase:
    request: ProcessRequest
    arrived: float
    """On the pipeline's clock."""
    route: Route
    source: str
    """The language it is heard as."""
    original: Original
    heard_language: str | None = None
    """metadata.heard_language"""
    stage_s: dict[str, float] = field(default_factory=dict)
    waited_s: float = 0.0
    notes: list[str] = field(default_factory=list)
    leave: Leave = field(default_factory=Leave)
    """Whether anybody still waits for it."""
    taken_at: float = 0.0
    in_lanes_s: float = 0.0
    """Waiting and computing there."""
    place: Place | None = None
    """Among the phrases that were taken."""

    @classmethod
    def begun(cls, request: ProcessRequest, arrived: float, route: Route, source: str) -> Phrase:
        """StsError INVALID_INPUT where the audio contradicts itself or is too long."""
        samples = _decoded(request.audio)
        rate_hz = request.audio.sample_rate_hz
        room_s = request.max_duration_ms / 1000 if request.max_duration_ms else len(samples) / rate_hz
        return cls(request, arrived, route, source, Original(samples, rate_hz, room_s))

    @property
    def deadline(self) -> float:
        return self.arrived + self.request.timeout_ms / 1000

    @property
    def terms(self) -> list[str]:
        """What the glossary has, as it is said in the source language."""
        return [term.source for term in self.request.config.glossary]

    def spent(self, stage: str, took_s: float) -> None:
        self.stage_s[stage] = self.stage_s.get(stage, 0.0) + took_s

    def no_speech(self, heard: Transcript, now: float) -> ProcessResult:
        if heard.refused:
            self.notes.append(f"refused: {heard.refused}")
        unknown = self.request.config.source_language == AUTO and self.request.context.source_language is None
        metadata = Metadata(
            source_language="" if unknown else self.source,
            heard_language=self.heard_language,
            asr_model=self.route.asr.name,
            stage_ms=self._stage_ms(),
            notes=self.notes,
        )
        return ProcessResult(
            fragment_id=self.request.fragment_id,
            status="no_speech",
            processing_time_ms=self._age_ms(now),
            metadata=metadata,
        )

    def dubbed(self, heard: Transcript, text: str, speech: Speech, voice: str, now: float) -> ProcessResult:
        """`speech` as fitted, with the tempo in all; `voice` is engine/voice."""
        length_s = len(speech.samples) / speech.rate_hz
        metadata = Metadata(
            source_language=self.source,
            heard_language=self.heard_language,
            asr_model=self.route.asr.name,
            translation_model=self.route.mt.name,
            tts_model=voice,
            tempo=round(speech.tempo, 3),
            overflow_ms=max(0, round(1000 * (length_s - self.original.room_s))),
            stage_ms=self._stage_ms(),
            words=heard.words,
            notes=self.notes,
        )
        return ProcessResult(
            fragment_id=self.request.fragment_id,
            status="success",
            dubbed_audio=Audio.from_samples(speech.samples, speech.rate_hz),
            transcript="" if while_hearing(self.route.mt) else heard.text,
            translated_text=text,
            processing_time_ms=self._age_ms(now),
            metadata=metadata,
        )

    def _stage_ms(self) -> dict[str, int]:
        spent = {stage: round(1000 * took_s) for stage, took_s in self.stage_s.items()}
        waited_ms = round(1000 * self.waited_s)
        return {**spent, "wait": waited_ms} if waited_ms else spent

    def _age_ms(self, now: float) -> int:
        return max(0, round(1000 * (now - self.arrived)))


def _decoded(audio: Audio) -> npt.NDArray[np.float32]:
    """(n,) mono at the request's rate."""
    longest_s = audio.longest_ms / 1000
    if longest_s > MAX_AUDIO_S + DURATION_TOLERANCE_MS / 1000:  # before it is decoded
        message = f"audio.data_base64 holds {longest_s:.1f} s: at most {MAX_AUDIO_S:g} s a phrase"
        raise StsError("INVALID_INPUT", message)
    try:
        samples = audio.to_mono()
    except ValueError as e:
        raise StsError("INVALID_INPUT", str(e)) from e
    duration_ms = 1000 * len(samples) / audio.sample_rate_hz
    if abs(duration_ms - audio.duration_ms) > DURATION_TOLERANCE_MS:
        message = f"audio.duration_ms = {audio.duration_ms}: audio.data_base64 holds {duration_ms:.0f} ms"
        raise StsError("INVALID_INPUT", message)
    if duration_ms > 1000 * MAX_AUDIO_S:
        raise StsError("INVALID_INPUT", f"audio.duration_ms = {audio.duration_ms}: at most {MAX_AUDIO_S:g} s a phrase")
    return samples
