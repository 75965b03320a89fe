"""What the orchestrator says about its streams: GET /v1/streams and /v1/streams/{streamId}."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from dubrelay.config import InputProtocol, Mode
from dubrelay.wire.status import PhraseReport

StreamState = Literal["idle", "starting", "running", "grace", "stopping", "degraded"]

STREAMS_PATH = "/v1/streams"


class _View(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class WorkerView(_View):
    pid: int
    started_at: float
    """Seconds since the epoch."""
    cpu_percent: float | None = None
    """Of one core, over the last poll."""
    rss_bytes: int | None = None


class StreamView(_View):
    stream_id: str
    state: StreamState
    message: str = ""
    """One line for people: what is waited for, or what went wrong."""
    run_id: str = ""
    source_id: str = ""
    available_time: str = ""
    restarts: int = 0
    source_language: str = ""
    target_language: str = ""
    voice: str = ""
    mode: Mode
    input_protocol: InputProtocol | None = None
    worker: WorkerView | None = None
    delay_ms: float | None = None
    av_sync_ms: float | None = None
    last_sequence: int = 0
    """Of the latest phrase: ask for `?after=` this one next time."""


class PhraseView(_View):
    sequence: int
    """Counts the phrases of the stream from 1, across all its workers."""
    phrase: PhraseReport


class StreamList(_View):
    streams: list[StreamView]


class StreamDetails(StreamView):
    phrases: list[PhraseView] = []
    """The latest ones, oldest first."""


Mark = Literal["dead dub", "ghost dub", "silence in", "clipping in", "clipping out"]
"""What a detector found."""


class Loudness(_View):
    """LUFS, of the latest 400 ms and of all so far."""

    input_momentary: float | None
    input_integrated: float | None
    output_momentary: float | None
    output_integrated: float | None


class HistoryRow(_View):
    at: float
    """Seconds since the epoch."""
    state: StreamState
    delay_ms: float | None
    av_sync_ms: float | None
    cpu_percent: float | None
    rss_bytes: int | None
    outcomes: dict[str, int]
    """Phrases decided since the row before: `dubbed`, `no_speech`, or the reason of a fallback."""
    margin_ms: int | None
    """The least of them."""
    stage_ms: dict[str, int]
    """The median of them, by stage."""
    loudness: Loudness | None
    marks: list[Mark]


class History(_View):
    rows: list[HistoryRow]
    """Oldest first; of the last hour."""
