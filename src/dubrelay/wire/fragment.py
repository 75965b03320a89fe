"""The STS service's API, version 1: what the worker posts for one phrase and what it gets back."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dubrelay.config import Glossary, Language, SourceLanguage, StreamId, Voice
from dubrelay.errors import Stage, StsCode

PROCESS_PATH = "/api/v1/sts/process"
ENGINES_PATH = "/api/v1/engines"
MAX_AUDIO_S = 30.0
NO_TRANSCRIPT = "no transcript:"
RATE_HZ = 16_000
"""At which phrases are sent; the service takes others, too."""
_REMEMBERED = 300
"""Characters of context."""
MAX_BODY_BYTES = 10_000_000
"""30 s of 48 kHz stereo in base64 is 7.7 MB."""

FragmentId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

HTTP_STATUS: dict[StsCode, int] = {
    "INVALID_INPUT": 400,
    "UNAUTHORIZED": 401,
    "UNSUPPORTED_LANGUAGE": 422,
    "OVERLOADED": 503,
    "TIMEOUT": 504,
    "MODEL_ERROR": 500,
}


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Audio(_Shape):
    """16-bit little-endian PCM, interleaved when `channels` is 2."""

    format: Literal["pcm_s16le"] = "pcm_s16le"
    sample_rate_hz: int = Field(ge=8000, le=48000)
    channels: Literal[1, 2] = 1
    duration_ms: int = Field(ge=0, le=60_000)
    data_base64: str

    @classmethod
    def from_samples(cls, samples: npt.NDArray[np.float32], rate_hz: int) -> Audio:
        """`samples` is (n,) mono in -1..1; what lies outside is clipped."""
        pcm = (np.clip(samples, -1, 1) * 32767).round().astype("<i2")
        return cls(
            sample_rate_hz=rate_hz,
            duration_ms=round(len(pcm) * 1000 / rate_hz),
            data_base64=base64.b64encode(pcm.tobytes()).decode("ascii"),
        )

    @property
    def longest_ms(self) -> float:
        """What `data_base64` can hold at most, told by its length alone."""
        return len(self.data_base64) * 3 / 4 / (2 * self.channels) * 1000 / self.sample_rate_hz

    def to_mono(self) -> npt.NDArray[np.float32]:
        """(n,) samples in -1..1, channels averaged. ValueError when the data is not such PCM."""
        try:
            raw = base64.b64decode(self.data_base64, validate=True)
        except ValueError as e:  # binascii.Error, and what text that is not ASCII raises
            raise ValueError(f"audio.data_base64 is not base64: {e}") from e
        if len(raw) % (2 * self.channels):
            raise ValueError(
                f"audio.data_base64 is {len(raw)} bytes: not whole 16-bit samples of {self.channels} channel(s)"
            )
        pcm = np.frombuffer(raw, "<i2").reshape(-1, self.channels)
        return np.asarray((pcm.astype(np.float32) / 32768).mean(axis=1), np.float32)


class Languages(_Shape):
    source_language: SourceLanguage
    """`auto`: it is detected, with what the context says."""
    target_language: Language
    voice_profile: Voice = "default"
    glossary: Glossary = ()


class Context(_Shape):
    """The tail of what this stream said before; the service itself remembers nothing."""

    transcript: str = Field("", max_length=2000)
    translated_text: str = Field("", max_length=2000)
    source_language: Language | None = None
    """With `heard_language` what the metadata of the last answer said; only where the language is detected."""
    heard_language: Language | None = None
    sequence_number: int | None = Field(None, ge=0, lt=2**63)
    """Of what was said last in here; a sentence is gone on with only where that is the phrase before."""

    def followed_by(self, transcript: str, translated_text: str, sequence_number: int | None = None) -> Context:
        """With what was said next; the oldest of it goes."""
        said = {
            "transcript": f"{self.transcript} {transcript}"[-_REMEMBERED:],
            "translated_text": f"{self.translated_text} {translated_text}"[-_REMEMBERED:],
            "sequence_number": sequence_number,
        }
        return self.model_copy(update=said)

    def in_language(self, source: str, heard: str | None) -> Context:
        """With what was detected last. `source` is empty where nothing was settled: then what was before stays so."""
        return self.model_copy(update={"source_language": source or self.source_language, "heard_language": heard})


class ProcessRequest(_Shape):
    fragment_id: FragmentId
    stream_id: StreamId
    sequence_number: int = Field(ge=0, lt=2**63)
    audio: Audio
    config: Languages
    context: Context = Context()
    max_duration_ms: int | None = Field(None, ge=1, le=60_000)
    """The room on the timeline; None: as long as the audio."""
    timeout_ms: int = Field(8000, ge=1, le=60_000)
    """How long the answer is of use, counted from arrival: no common clock is needed."""


class Word(_Shape):
    text: str
    start_ms: int
    end_ms: int


class Metadata(_Shape):
    source_language: Language | Literal[""] = ""
    """As what the phrase was heard. Empty where it was to be detected and nobody spoke before."""
    heard_language: Language | None = None
    """Another language that it clearly was in: the next phrase that is, too, is heard so."""
    asr_model: str = ""
    translation_model: str = ""
    tts_model: str = ""
    tempo: float = Field(1.0, allow_inf_nan=False)
    """How much faster than the voice's own pace the answer speaks."""
    overflow_ms: int = 0
    """By how much the speech is longer than its room, at the fastest tempo allowed."""
    stage_ms: dict[str, int] = {}
    words: list[Word] = []
    notes: list[str] = []
    """What was done otherwise than asked, in words: the fast lane taken, text refused. One that begins with
    NO_TRANSCRIPT says why there is none for what was dubbed."""


class ProcessResult(_Shape):
    """HTTP 200."""

    fragment_id: FragmentId
    status: Literal["success", "no_speech"]
    dubbed_audio: Audio | None = None
    transcript: str = ""
    translated_text: str = ""
    processing_time_ms: int = 0
    metadata: Metadata = Metadata()

    @model_validator(mode="after")
    def _audio_exactly_on_success(self) -> ProcessResult:
        if (self.status == "success") != (self.dubbed_audio is not None):
            raise ValueError("dubbed_audio must be there exactly when status is success")
        return self


class ErrorBody(_Shape):
    code: StsCode
    stage: Stage | None = None
    message: str
    retryable: bool = False


class ProcessError(_Shape):
    """Any other HTTP status."""

    fragment_id: str
    status: Literal["error"] = "error"
    error: ErrorBody
