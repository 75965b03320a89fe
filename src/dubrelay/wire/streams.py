"""What the orchestrator says about its streams: GET /v1/streams and /v1/streams/{streamId}."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from dubrelay.config import InputProtocol, Mode
from dubrelay.wire.status import PhraseReport

StreamState = Literal["idle", "starting", "running", "grace", "stopping", "degraded", "refused"]

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
