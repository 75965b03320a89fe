"""What the orchestrator says about its streams: GET /v1/streams and /v1/streams/{streamId}."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from dubrelay.config import InputProtocol, Mode
from dubrelay.wire.status import PhraseReport

StreamState = Literal["idle", "starting", "running", "grace", "stopping", "degraded"]

DestinationState = Literal["connecting", "forwarding", "stalled", "refused", "unreachable"]

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


class DestinationView(_View):
    """Where `out` is forwarded to. Its key is nowhere in here."""

    name: str
    url: str
    """Scheme, host and app."""
    given_by: Literal["settings", "publisher"]
    state: DestinationState | None = None
    """None while the stream is not in session. `forwarding`: bytes grow."""
    since: float | None = None
    """Of the state: seconds since the epoch."""
    bitrate_kbps: float | None = None
    sent_bytes: int = 0
    retries: int = 0
    last_error: str = ""
    """In words; it stays when all is well again."""


class DestinationList(_View):
    destinations: list[DestinationView]


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
    destinations: list[DestinationView] = []
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
