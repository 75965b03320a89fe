"""What the orchestrator says about its streams: GET /v1/streams and /v1/streams/{streamId}."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.alias_generators import to_camel

from dubrelay.config import Fallback, InputProtocol, Mode, Programme, Role, StreamConfig
from dubrelay.wire.status import FallbackReason, PhraseReport

StreamState = Literal["idle", "starting", "running", "grace", "stopping", "degraded", "refused"]

DestinationState = Literal["connecting", "forwarding", "stalled", "refused", "unreachable", "stopped"]

RecordingState = Literal["off", "waiting", "recording", "full", "failing"]
"""waiting: for the output. full: stopped by a limit. failing: it is to be recorded and nothing is written."""

STREAMS_PATH = "/v1/streams"
RECORDINGS_PATH = "/v1/recordings"
ME_PATH = "/v1/me"


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
    """None while the stream is not in session. `forwarding`: bytes grow. `stopped`: by an operator, session or not."""
    since: float | None = None
    """Of the state: seconds since the epoch."""
    bitrate_kbps: float | None = None
    sent_bytes: int = 0
    retries: int = 0
    last_error: str = ""
    """In words; it stays when all is well again."""


class DestinationList(_View):
    destinations: list[DestinationView]


class RecordingView(_View):
    """How the recording of `out` goes."""

    state: RecordingState = "off"
    message: str = ""
    """In words, what keeps it from going on."""
    since: float | None = None
    """Of the state: seconds since the epoch."""


class CaptionsView(_View):
    language: str
    file: str


class RecordedView(_View):
    """One segment. GET /v1/recordings/STREAM/FILE gives a file of it."""

    name: str
    file: str
    started_at: float
    """Seconds since the epoch."""
    duration_s: float
    size_bytes: int
    """Captions included."""
    open: bool
    """It is being written."""
    captions: list[CaptionsView] = []


class RecordedList(_View):
    recording: RecordingView
    recordings: list[RecordedView]
    """Of one stream, the latest first."""
    total_bytes: int
    """Of all streams."""
    limit_bytes: int


class BreakView(_View):
    """Seconds since the epoch."""

    since: float
    until: float | None = None
    """When it ends by itself; null: when somebody ends it."""


class DubAwayView(_View):
    """Several phrases one after the other were not dubbed."""

    since: float
    """Seconds since the epoch."""
    reason: FallbackReason
    message: str
    """What was said about the latest of them that was sent."""
    phase: Literal["failing", "waiting", "returning"]
    """waiting: no service is asked now, as each failed too often. returning: answers are in time again, and are heard
    when several were in a row.
    """
    heard: Fallback
    """What is heard instead."""


class StreamAddresses(_View):
    """Where one stream is published and watched. KEY stands where a key goes: the API never says one."""

    publish: str
    """RTMP, or RTMPS where MediaMTX has a certificate."""
    obs_server: str
    obs_stream_key: str
    publish_srt: str
    publish_whip: str
    """The key goes with it as a bearer token."""
    watch: str
    """A page with a player."""
    watch_hls: str
    watch_rtmp: str
    player: str
    """HTML for a page of one's own: that player in a frame."""
    publish_needs_key: bool
    watch_needs_key: bool
    """A viewer's, or `dubrelay keys link` instead of ?key=KEY."""


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
    config_changes: int = 0
    """By API, since the stream is shown: one more says that what it is set to has to be read again."""
    mode: Mode
    programme: Programme
    """What goes out, as the worker says; as it is wanted, where there is none."""
    on_break: BreakView | None = None
    """While `programme` is to be `break`, and an operator set it."""
    dub_away: DubAwayView | None = None
    input_protocol: InputProtocol | None = None
    input_ready: bool = False
    """MediaMTX has it to show: of the latest look at its list, as `output_ready`."""
    output_ready: bool = False
    languages_ready: bool = False
    """The output is there with both sounds, too."""
    worker: WorkerView | None = None
    delay_ms: float | None = None
    av_sync_ms: float | None = None
    destinations: list[DestinationView] = []
    cost: float | None = None
    """So far in this session, in whatever sts_client.cost_per_hour is; None without that."""
    recording: RecordingView = RecordingView()
    last_sequence: int = 0
    """Of the latest phrase: ask for `?after=` this one next time."""


class PhraseView(_View):
    sequence: int
    """Counts the phrases of the stream from 1, across all its workers."""
    phrase: PhraseReport


class StreamList(_View):
    instance_id: str = ""
    """Of the orchestrator's process: another one counts the phrases of each stream anew."""
    problem: str = ""
    """Why MediaMTX's list cannot be read now, as /healthz says it."""
    streams: list[StreamView]


class StreamDetails(StreamView):
    phrases: list[PhraseView] = []
    """The latest ones, oldest first."""


Mark = Literal["dead dub", "ghost dub", "silence in", "clipping in", "clipping out", "frozen picture"]
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


class StreamConfigView(_View):
    """What is configured for a stream, by layer; what a layer does not set is not in it. Keys as in the file."""

    stream_id: str
    version: int
    """Of `api`; 0: nothing is set by API. Also the ETag."""
    file: StreamConfig
    """Its table [streams.ID]."""
    api: StreamConfig
    """What PUT replaces and DELETE takes away."""
    publisher: StreamConfig
    """What the query of whoever publishes, or did last, chose of what it may."""
    in_force: StreamConfig
    """All of them, the later over the earlier, over the sections."""


Applied = Literal["live", "restart", "next_start", "pending"]


class StreamConfigChanged(StreamConfigView):
    applied: Applied
    """live: the worker does it, as it says. restart: another one starts with it. next_start: there is none now.
    pending: it has not answered yet, and is told until it has.
    """


Action = Literal[
    "config", "delete", "dub", "bypass", "silence", "break", "restart", "destination", "stop", "start", "recording",
]  # fmt: skip


class Change(_View):
    key: str
    before: JsonValue = None
    """null: not set. Of a long list only how long it is, of a destination only scheme and host."""
    after: JsonValue = None


class AuditEntry(_View):
    version: int
    """Counts the changes of all streams."""
    at: float
    """Seconds since the epoch."""
    who: str
    action: Action
    changes: list[Change]


class AuditList(_View):
    entries: list[AuditEntry]
    """The latest first."""


class Me(_View):
    who: str
    role: Role | None
    """null: a token is needed, and none was sent."""
