"""Which alerts' conditions hold now: what Prometheus' rules ask, asked of what the orchestrator itself knows.

`deploy/prometheus/alerts.yml` has the same names, severities and times, and tests/test_alerts.py holds them together.
Where Prometheus counts by host, these say which stream it is. Pure: the time is given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression

from dubrelay.config import AlertName
from dubrelay.wire.alerts import Severity
from dubrelay.wire.streams import DestinationView, StreamView

_MB = 1e6
_HOUR_S = 3600.0
_MEMORY_S, _MEMORY_STEP_S = 7200.0, 60.0


Key = tuple[AlertName, str, str]
"""Name, stream and `of`."""


@dataclass(frozen=True)
class Rule:
    severity: Severity
    """critical: viewers see or hear it now. warning: they will or may."""
    for_s: float
    """How long the condition has to hold before it is told."""
    description: str


RULES: Mapping[AlertName, Rule] = {
    "MediaMtxDown": Rule("critical", 30, "Nobody can publish or watch."),
    "StsDown": Rule("warning", 30, "Phrases go to the others; without others viewers hear the fallback."),
    "StreamDown": Rule("critical", 60, "Somebody publishes and nothing, or an interrupted output, goes out."),
    "StreamRefused": Rule("warning", 15, "More publish than this host is allowed to take."),
    "PublisherGone": Rule("warning", 15, "The encoder's side: the worker waits orchestrator.grace_s for it."),
    "WorkersRestart": Rule("warning", 0, "The log says why each of them ended."),
    "DubDead": Rule("critical", 30, "Viewers hear the fallback. `dubrelay trace` has the reason of each phrase."),
    "SilentDub": Rule("warning", 0, "Such answers are not let through; viewers hear the fallback."),
    "GhostDub": Rule("warning", 0, "Such answers are not let through. Look at the recogniser."),
    "FallbackRate": Rule("warning", 60, "`dubrelay trace` has the reason of each phrase."),
    "BreakerOpen": Rule("critical", 30, "Each failed several times in a row or was too slow."),
    "DelayMarginLow": Rule("warning", 60, "The next step is fallbacks. A quicker service, more of them, or a larger "
                           "worker.latency_s."),
    "AvSyncOff": Rule("critical", 30, "Viewers see it."),
    "Reconnects": Rule("warning", 0, "The network, or what is at the other end."),
    "EgressDown": Rule("critical", 30, "Who watches there sees nothing."),
    "EgressStuck": Rule("warning", 60, "It is tried on and on."),
    "RecordingStopped": Rule("warning", 30, "Viewers notice nothing. Make room, or look at MediaMTX's log."),
    "MemoryGrowth": Rule("warning", 600, "Restart that process when it suits; keep its log and /metrics."),
    "SilentInput": Rule("warning", 0, "A microphone that is off, or the wrong input at the encoder."),
    "Clipping": Rule("warning", 0, "Too loud where it comes from; of the output: the mix of dub and background."),
}  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """One that holds. The same one again has the same `key`, whatever its words."""

    name: AlertName
    summary: str
    stream_id: str = ""
    """Empty: it is of the host."""
    of: str = ""
    """Which destination, side, service or process, where there may be several."""

    @property
    def key(self) -> Key:
        return self.name, self.stream_id, self.of


@dataclass(frozen=True)
class StreamLook:
    view: StreamView
    """With its destinations."""
    samples: Mapping[str, float]
    """The worker's metrics by name and labels (history.samples_of); empty where none runs."""


@dataclass(frozen=True)
class Look:
    """All that is known at one moment."""

    at: float
    """Seconds, of one clock."""
    mediamtx_problem: str | None
    services: Mapping[str, str]
    """STS service -> why it does not answer; empty: it does."""
    restarts: float
    """Workers started again, in all."""
    rss_bytes: int
    """Of the orchestrator itself."""
    streams: Sequence[StreamLook]


class _Growth:
    """Of one counter, which begins at 0 and does so again with each new process."""

    def __init__(self, kept_s: float) -> None:
        self._kept_s = kept_s
        self._total = self._latest = 0.0
        self._steps: deque[tuple[float, float]] = deque()

    def note(self, now: float, value: float) -> None:
        grown = value if value < self._latest else value - self._latest
        self._latest = value
        if grown:
            self._total += grown
            self._steps.append((now, self._total))
        while len(self._steps) > 1 and self._steps[1][0] <= now - self._kept_s:
            self._steps.popleft()

    def within(self, now: float, seconds: float) -> float:
        before = 0.0
        for at, total in self._steps:
            if at > now - seconds:
                break
            before = total
        return self._total - before


class _Memory:
    """Of one process, over the last two hours."""

    def __init__(self) -> None:
        self._pid = -1
        self._points: deque[tuple[float, float]] = deque()
        self.per_hour = 0.0
        """Bytes by which it grows; 0 while it is not known for as long as two hours."""

    def note(self, now: float, pid: int, rss_bytes: int) -> None:
        if pid != self._pid:
            self._pid = pid
            self._points.clear()
        if self._points and now - self._points[-1][0] < _MEMORY_STEP_S:
            return
        self._points.append((now, rss_bytes))
        while now - self._points[0][0] > _MEMORY_S + _MEMORY_STEP_S:
            self._points.popleft()
        old_enough = now - self._points[0][0] >= _MEMORY_S
        self.per_hour = _slope(self._points) * _HOUR_S if old_enough else 0.0


def _slope(points: Iterable[tuple[float, float]]) -> float:
    at, values = zip(*points, strict=True)
    return float(linear_regression(at, values).slope)


class _Stream:
    """What of one stream has to be kept between two looks."""

    def __init__(self) -> None:
        self._counters: dict[str, _Growth] = {}
        self.memory = _Memory()

    def note(self, now: float, samples: Mapping[str, float]) -> None:
        for name in _COUNTED:
            if name in samples:
                self._counters.setdefault(name, _Growth(_LONGEST_S)).note(now, samples[name])

    def grown(self, now: float, name: str, seconds: float) -> float:
        counter = self._counters.get(name)
        return counter.within(now, seconds) if counter else 0.0


_LONGEST_S = 600.0
_DUBBED = "worker_audio_fragments_total status=dubbed"
_FALLBACK = "worker_audio_fragments_total status=fallback"
_SILENT = "worker_unheard_dubs_total found=dead_dub"
_GHOST = "worker_unheard_dubs_total found=ghost_dub"
_ANSWERS = "worker_deadline_margin_ms_count"
_LATE_ANSWERS = "worker_deadline_margin_ms_bucket le=500.0"
_RECONNECTS = {side: f"worker_reconnects_total side={side}" for side in ("input", "output")}
_CLIPPED = {side: f"worker_clipped_seconds_total side={side}" for side in ("input", "output")}
_BREAKER = "worker_sts_breaker_state"
_SILENCE = "worker_silence_seconds side=input"
_COUNTED = (_DUBBED, _FALLBACK, _SILENT, _GHOST, _ANSWERS, _LATE_ANSWERS, *_RECONNECTS.values(), *_CLIPPED.values())


class Conditions:
    """Give it one look after the other."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._restarts = _Growth(_LONGEST_S)
        self._memory = _Memory()

    def holding(self, look: Look) -> list[Condition]:
        """Those that hold at this look, whether for a moment or for hours."""
        self._restarts.note(look.at, look.restarts)
        self._memory.note(look.at, 0, look.rss_bytes)
        known = {stream.view.stream_id: stream for stream in look.streams}
        self._streams = {stream_id: self._streams.get(stream_id) or _Stream() for stream_id in known}
        found = list(self._of_host(look))
        for stream_id, stream in known.items():
            kept = self._streams[stream_id]
            kept.note(look.at, stream.samples)
            found += _of_state(stream.view)
            found += _of_dub(stream, kept, look.at)
            found += _of_media(stream, kept, look.at)
            found += _of_recording(stream.view)
            for destination in stream.view.destinations:
                found += _of_destination(stream_id, destination)
        return found

    def _of_host(self, look: Look) -> Iterator[Condition]:
        if look.mediamtx_problem is not None:
            yield Condition("MediaMtxDown", f"MediaMTX does not answer: {look.mediamtx_problem}")
        for url, problem in look.services.items():
            if problem:
                yield Condition("StsDown", f"The STS service {url} is not there: {problem}", of=url)
        restarts = self._restarts.within(look.at, 600)
        if restarts > 3:
            which = ", ".join(f"{s.view.stream_id} {s.view.restarts}" for s in look.streams if s.view.restarts)
            of_which = f" (by stream, in this session: {which})" if which else ""
            yield Condition(
                "WorkersRestart", f"Workers were started again {restarts:.0f} times in 10 minutes{of_which}"
            )
        per_hour = self._memory.per_hour
        if per_hour > 50 * _MB:
            yield Condition("MemoryGrowth", f"The orchestrator grows by {per_hour / _MB:.0f} MB an hour")


def _of_state(view: StreamView) -> Iterator[Condition]:
    name = view.stream_id
    why = f": {view.message}" if view.message else ""
    if view.state in ("starting", "degraded"):
        yield Condition("StreamDown", f"Stream {name} is {view.state}{why}", name)
    elif view.state == "refused":
        yield Condition("StreamRefused", f"Stream {name} is refused{why}", name)
    elif view.state == "grace":
        yield Condition("PublisherGone", f"The publisher of stream {name} left and has not come back", name)


def _of_dub(stream: StreamLook, kept: _Stream, now: float) -> Iterator[Condition]:
    name = stream.view.stream_id

    def grown(counter: str, seconds: float) -> float:
        return kept.grown(now, counter, seconds)

    if grown(_FALLBACK, 120) > 3 and not grown(_DUBBED, 120):
        yield Condition("DubDead", f"Stream {name} has not been dubbed for two minutes", name)
    if grown(_SILENT, 300) > 2:
        yield Condition("SilentDub", f"The STS service answers stream {name} without a voice", name)
    if grown(_GHOST, 300) > 2:
        yield Condition("GhostDub", f"The STS service invents speech for stream {name} where nobody spoke", name)
    failed, all_of_them = grown(_FALLBACK, 600), grown(_FALLBACK, 600) + grown(_DUBBED, 600)
    if all_of_them > 10 and failed / all_of_them > 0.1:
        share = failed / all_of_them
        yield Condition("FallbackRate", f"{share:.0%} of the phrases of stream {name} became the fallback", name)
    if stream.samples.get(_BREAKER, 0) > 0:
        yield Condition("BreakerOpen", f"Stream {name} has no STS service that works", name)
    # One in twenty at most half a second before its deadline: their 5th percentile is below that.
    if grown(_ANSWERS, 600) > 10 and grown(_LATE_ANSWERS, 600) > 0.05 * grown(_ANSWERS, 600):
        yield Condition("DelayMarginLow", f"The dubs of stream {name} are barely in time", name)


def _of_media(stream: StreamLook, kept: _Stream, now: float) -> Iterator[Condition]:
    view = stream.view
    name = view.stream_id
    if view.av_sync_ms is not None and abs(view.av_sync_ms) > 40:
        yield Condition("AvSyncOff", f"Sound is {view.av_sync_ms:.0f} ms off the picture in stream {name}", name)
    for side, counter in _RECONNECTS.items():
        if kept.grown(now, counter, 600) > 3:
            yield Condition("Reconnects", f"The {side} of stream {name} reconnects again and again", name, side)
    if view.state == "running" and (silent_s := stream.samples.get(_SILENCE, 0)) > 60:
        yield Condition("SilentInput", f"The input of stream {name} has been silent for {silent_s:.0f} s", name)
    for side, counter in _CLIPPED.items():
        if (clipped_s := kept.grown(now, counter, 300)) > 1:
            text = f"The {side} of stream {name} was at full scale for {clipped_s:.1f} s in 5 minutes"
            yield Condition("Clipping", text, name, side)
    if view.worker is not None and view.worker.rss_bytes is not None:
        kept.memory.note(now, view.worker.pid, view.worker.rss_bytes)
        if (per_hour := kept.memory.per_hour) > 50 * _MB:
            text = f"The worker of stream {name} grows by {per_hour / _MB:.0f} MB an hour"
            yield Condition("MemoryGrowth", text, name)


def _of_recording(view: StreamView) -> Iterator[Condition]:
    if view.recording.state in ("full", "failing"):
        why = f"Stream {view.stream_id} is not recorded though it should be: {view.recording.message}"
        yield Condition("RecordingStopped", why, view.stream_id)


def _of_destination(stream_id: str, destination: DestinationView) -> Iterator[Condition]:
    where = f"Destination {destination.name} of stream {stream_id} is"
    if destination.state in ("refused", "unreachable", "stalled"):
        why = f": {destination.last_error}" if destination.last_error else ""
        yield Condition("EgressDown", f"{where} {destination.state}{why}", stream_id, destination.name)
    elif destination.state == "connecting":
        yield Condition("EgressStuck", f"{where} still connecting", stream_id, destination.name)
