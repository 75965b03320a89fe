"""Records what goes out: MediaMTX writes the files; here is seen to that it does, to their captions and their number.

Tell it with `listed` what was read and with `said` what was said; `run` looks at the disk once a second, in a thread.
How a path is to be recorded is in `record_of`; egress.py sees to that in MediaMTX.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from dubrelay import logs
from dubrelay.config import Settings
from dubrelay.orchestrator.captionfiles import Journal, Said, captions, ends_at, write_whole
from dubrelay.orchestrator.mediamtx import MediaPath, stream_of
from dubrelay.orchestrator.outpath import Record
from dubrelay.orchestrator.quota import Full, in_words, judge
from dubrelay.orchestrator.segments import (
    Segment,
    all_segments,
    captions_file,
    delete,
    folder,
    length_s,
    record_path,
)
from dubrelay.wire.streams import RecordingState, RecordingView

LOOK_S = 1.0
GROWS_S = 15.0
"""A recording that did not grow for so long fails: MediaMTX writes once a second."""
_REMEMBER_S = 30.0
"""A segment is on disk some seconds after it began."""
_PART = "1s"
_LAST_LOOKS, _LAST_LOOK_S = 8, 0.25


@dataclass
class _Recorded:
    """One stream in session that is to be recorded, or was."""

    view: RecordingView
    out_since: float | None = None
    """Since when something has been published that could be written; monotonic clock."""


@dataclass(frozen=True)
class Looked:
    """What a look at the disk has found."""

    segments: Sequence[Segment] = ()
    full: Full = ""
    problem: str = ""
    """Why nothing can be recorded at all, in words."""
    deleted: Sequence[Segment] = ()
    ready: bool = False
    """The directory is there, for its owner only."""
    uncaptioned: str = ""
    """Why captions could not be written."""


class Recorder:
    """Used on one event loop, but for `_look`."""

    def __init__(
        self,
        settings: Settings,
        wants: Callable[[str], bool],
        on_deleted: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wants` says whether a stream is to be recorded; `on_deleted` is called for each segment that had to go."""
        self.directory = settings.recordings_dir
        self.limits = settings.recording
        self.looked = Looked()
        self._wants = wants
        self._on_deleted = on_deleted
        self._clock = clock
        self._record = _record(settings)
        self._recorded: dict[str, _Recorded] = {}
        self._new: dict[str, list[Said]] = {}
        """By stream id; not in a journal yet."""
        self._journals: dict[str, Journal] = {}
        self._captioned: set[tuple[str, str]] = set()
        self._told = ""

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        """To be called when the workers are gone: returns when MediaMTX has ended its files and they have captions."""
        for _ in range(_LAST_LOOKS):
            await self.look()
            if not any(segment.open for segment in self.looked.segments):
                return
            await asyncio.sleep(_LAST_LOOK_S)

    def record_of(self, stream_id: str) -> Record:
        """How its output is to be recorded now."""
        return {**self._record, "record": self._may(stream_id)}

    def listed(self, paths: Sequence[MediaPath] | None, in_session: Collection[str]) -> None:
        """`paths` is MediaMTX's list, None when it cannot be read; `in_session` are stream ids."""
        there = {s[0] for path in paths or () if path.available and (s := stream_of(path.name)) and s[1] == "out"}
        for stream_id in [gone for gone in self._recorded if gone not in in_session]:
            del self._recorded[stream_id]
        for stream_id in in_session:
            one = self._recorded.setdefault(stream_id, _Recorded(RecordingView(since=time.time())))
            if stream_id not in there or not self._may(stream_id):
                one.out_since = None
            elif one.out_since is None:
                one.out_since = self._clock()
            self._note(stream_id, one)

    def said(self, stream_id: str, said: Said) -> None:
        """A phrase that was decided; it will be heard in `out` later on."""
        self._new.setdefault(stream_id, []).append(said)

    def view(self, stream_id: str) -> RecordingView:
        one = self._recorded.get(stream_id)
        if one is not None:
            return one.view
        return RecordingView(state="waiting" if self._wants(stream_id) else "off")

    def states(self) -> list[RecordingState]:
        """Of every stream in session."""
        return [one.view.state for one in self._recorded.values()]

    def total_bytes(self) -> int:
        return sum(segment.size for segment in self.looked.segments)

    def _may(self, stream_id: str) -> bool:
        return self.looked.ready and not self.looked.full and self._wants(stream_id)

    async def look(self) -> None:
        """Deletes what is too much, writes the captions of what has ended, and knows then how things are."""
        new, self._new = self._new, {}
        wanted = {stream_id for stream_id in new if self._wants(stream_id)}
        now = time.time()
        for stream_id in new.keys() - wanted:
            if kept := [one for one in new[stream_id] if ends_at(one) > now]:
                self._new[stream_id] = kept
        if not self.directory.exists() and not any(map(self._wants, self._recorded)):
            return
        before = self.looked
        self.looked = await asyncio.to_thread(self._look, {id_: new[id_] for id_ in wanted}, before.full, now)
        for segment in self.looked.deleted:
            logs.get().info("recording_deleted", streamId=segment.stream_id, file=segment.name, bytes=segment.size)
            self._on_deleted()
        if self.looked.uncaptioned and self.looked.uncaptioned != before.uncaptioned:
            logs.get().error("captions_not_written", error=self.looked.uncaptioned)
        if (why := self._why()) != self._told:
            self._told = why
            if why:
                logs.get().error("recording_stopped", error=why)
            else:
                logs.get().info("recording_goes_on", directory=str(self.directory))

    def _look(self, new: dict[str, list[Said]], full_before: Full, now: float) -> Looked:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = all_segments(self.directory, now)
            verdict = judge(found, shutil.disk_usage(self.directory).free, self.limits, full_before)
            nothing = [s for s in found if not s.open and not s.size and s not in verdict.delete]
            for segment in (*verdict.delete, *nothing):
                delete(self.directory, segment)
        except OSError as e:
            return Looked(problem=f"nothing can be recorded in {self.directory}: {e.strerror or e}")
        left = [s for s in found if s not in verdict.delete and s not in nothing]
        uncaptioned = self._caption(left, new, now) if self.limits.captions else ""
        return Looked(left, verdict.full, deleted=verdict.delete, ready=True, uncaptioned=uncaptioned)

    def _caption(self, found: Iterable[Segment], new: dict[str, list[Said]], now: float) -> str:
        """Why some could not be written: they are tried again at the next look. Empty: all is well."""
        by_stream: dict[str, list[Segment]] = {stream_id: [] for stream_id in (*self._journals, *new)}
        for segment in found:
            by_stream.setdefault(segment.stream_id, []).append(segment)
        problem = ""
        for stream_id, its in by_stream.items():
            try:
                self._caption_stream(stream_id, its, new.get(stream_id, []), now)
            except OSError as e:
                problem = f"{folder(self.directory, stream_id)}: {e.strerror or e}"
        self._captioned &= {(segment.stream_id, segment.name) for its in by_stream.values() for segment in its}
        return problem

    def _caption_stream(self, stream_id: str, its: Sequence[Segment], new: Sequence[Said], now: float) -> None:
        journal = self._journals.get(stream_id)
        if journal is None:
            journal = self._journals[stream_id] = Journal(folder(self.directory, stream_id))
            journal.load()
        if new:
            journal.add(new)
        for segment in its:
            if not segment.open and (stream_id, segment.name) not in self._captioned:
                self._write_captions(segment, journal)
                self._captioned.add((stream_id, segment.name))
        growing = [segment.start for segment in its if segment.open]
        journal.forget_before(min([*growing, now - _REMEMBER_S]))

    def _write_captions(self, segment: Segment, journal: Journal) -> None:
        """Those that are there stay: most of what was said in the segment may be forgotten since."""
        end = segment.start + length_s(self.directory, segment)
        for language, text in captions(journal.said, segment.start, end).items():
            if language not in segment.captions:
                write_whole(captions_file(self.directory, segment, language), text)

    def _why(self) -> str:
        return self.looked.problem or in_words(self.looked.full, self.limits, self.directory)

    def _note(self, stream_id: str, one: _Recorded) -> None:
        state, message = self._state(stream_id, one)
        since = one.view.since
        if state != one.view.state:
            since = time.time()
            log = logs.get().bind(streamId=stream_id)
            well = state in ("off", "waiting", "recording")
            (log.info if well else log.error)("recording_state", state=state, before=one.view.state, message=message)
        one.view = RecordingView(state=state, message=message, since=since)

    def _state(self, stream_id: str, one: _Recorded) -> tuple[RecordingState, str]:
        if not self._wants(stream_id):
            return "off", ""
        if why := self._why():
            return "full" if self.looked.full else "failing", why
        if one.out_since is None:
            return "waiting", ""
        there_s = self._clock() - one.out_since
        its = (s for s in self.looked.segments if s.stream_id == stream_id and s.size)
        if any(time.time() - segment.changed < min(GROWS_S, there_s) for segment in its):
            return "recording", ""
        if there_s < GROWS_S:
            return "waiting", ""
        return "failing", (
            f"MediaMTX writes nothing to {self.directory}, where it should: lines with [recorder] in its log say why"
        )


def _record(settings: Settings) -> Record:
    """Deleting is ours: MediaMTX knows an age, no size."""
    return {
        "recordPath": record_path(settings.recordings_dir),
        "recordFormat": "fmp4",
        "recordPartDuration": _PART,
        "recordSegmentDuration": in_go(settings.recording.segment_s),
        "recordDeleteAfter": "",
    }


def in_go(seconds: int) -> str:
    """As MediaMTX says a duration of under a day back: 10m0s."""
    minutes, s = divmod(seconds, 60)
    h, m = divmod(minutes, 60)
    return (f"{h}h" if h else "") + (f"{m}m" if minutes else "") + f"{s}s"
