"""What a worker says on stdout: one JSON object a line, told apart by `type`.

`status` comes once a second and is the heartbeat; `phrase` comes when a phrase's fate is decided; `control` answers
what came on stdin (wire/control.py).
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from dubrelay.config import InputProtocol, Mode, Programme

State = Literal["waiting", "running"]
PhraseStatus = Literal["dubbed", "no_speech", "fallback"]
FallbackReason = Literal["timeout", "deadline", "error", "overload", "invalid_output", "breaker_open"]

SoundName = Literal["original", "dub", "out"]
"""The phrase as it came in; the answer as the service sent it; what went out, to the dub's end."""
SOUNDS: tuple[SoundName, ...] = get_args(SoundName)

PEAK_MS = 40
Peaks = Annotated[str, Field(max_length=4000, pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")]
"""How loud a sound is, base64: a byte for each PEAK_MS, the loudest sample of them, 255 at full scale."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkerStatus(_Line):
    type: Literal["status"] = "status"
    state: State
    """running: input arrives and the output takes it."""
    message: str = ""
    """One line for people: what is being waited for, and why."""
    mode: Mode
    programme: Programme
    input_protocol: InputProtocol
    delay_ms: float | None = None
    """Arrival at the worker -> publish, measured on the latest key frame."""
    av_sync_ms: float | None = None
    metrics: str = ""
    """This worker's metrics in Prometheus' text format, without the stream_id label."""


class PhraseReport(_Line):
    type: Literal["phrase"] = "phrase"
    sequence_number: int
    t0_ms: int
    """Where the phrase starts, in ms of the worker's running time."""
    started_at: float
    """The same as seconds since the epoch."""
    duration_ms: int
    status: PhraseStatus
    reason: FallbackReason | None = None
    message: str = ""
    transcript: str = ""
    translated_text: str = ""
    voice: str = ""
    tempo: float | None = None
    dub_t0_ms: int | None = None
    """Where the dub starts, as `t0_ms`; None where none is heard."""
    dubbed_ms: int | None = None
    room_ms: int | None = None
    """How long the dub could be, as it was told to the service; None where none was asked."""
    original_peaks: Peaks = ""
    dub_peaks: Peaks = ""
    lag_ms: int = 0
    """How much later than its original the dub starts, because the one before still spoke."""
    rtt_ms: int | None = None
    stage_ms: dict[str, int] = {}
    margin_ms: int | None = None
    """Answer in hand -> deadline; negative: too late."""
    notes: list[str] = []
    trace: str = ""
    """Name of its record on disk (wire/trace.py); empty where none is kept."""
    sounds: tuple[SoundName, ...] = ()
    """What the record can be heard by, once the phrase has gone out to its end."""


class ControlReport(_Line):
    type: Literal["control"] = "control"
    id: str
    """Of the line that is answered; empty where it could not be read."""
    accepted: bool
    message: str = ""
    """Why not."""


Line = WorkerStatus | PhraseReport | ControlReport
_LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="type")])


def parse_line(text: bytes | str) -> Line:
    """One line of a worker's stdout. Raises pydantic's ValidationError."""
    return _LINE.validate_json(text)
