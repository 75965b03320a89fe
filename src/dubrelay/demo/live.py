"""The demo from start to summary: publish, show each phrase, record, listen to the recording."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from dubrelay import stack
from dubrelay.config import Settings
from dubrelay.demo import programme, recordings, screen
from dubrelay.demo.air import publishing, recording
from dubrelay.demo.feed import Feed
from dubrelay.demo.programme import Programme
from dubrelay.demo.summary import Summary
from dubrelay.demo.usage import Usage
from dubrelay.errors import EXIT_OK
from dubrelay.orchestrator import keys
from dubrelay.wire.sample import LOOP_S, STREAM_ID, sample_file

EXIT_NOT_DUBBED = 1
_POLL_S = 0.5
_KEY_LASTS_S = 86400.0
_TAIL_S = 2.5
"""Beyond the latency: what was published last is on its way through MediaMTX twice."""


def run(settings: Settings, seconds: float | None, source: Path | None, target: str) -> int:
    """The demo's exit code: 0 only when dubbed speech came out.

    `seconds` None: until Ctrl-C, or to the end of the user's recordings. `source` None: the sample programme.
    Ctrl-C ends it with the summary of what there was, by KeyboardInterrupt.
    """
    out = screen.console()
    settings = _to_be_heard(settings)
    stack.require_startable(settings)  # before minutes are spent on the programme
    show = _Show(settings, _programme(settings, seconds, source, out), seconds, source is None, out)
    file = keys.file_of(settings.paths)
    with (
        stack.running(settings, lambda line: out.print(f"[dim]{escape(line)}[/dim]")) as running,
        keys.temporary(file, STREAM_ID, STREAM_ID, _KEY_LASTS_S) as key,
    ):
        try:
            links: dict[keys.Side, str] = {"in": keys.link(file, STREAM_ID, "in", _KEY_LASTS_S)}
            if settings.access.readers == "key":
                links["out"] = keys.link(file, STREAM_ID, "out", _KEY_LASTS_S)
            screen.addresses(out, settings, STREAM_ID, links)
            show.run(running.settings, target, key, links.get("out", ""))
        finally:  # after Ctrl-C, too: what there was
            screen.summary(out, show.summary, show.usage.shares())
    return _verdict(settings, show, target, out)


def _to_be_heard(settings: Settings) -> Settings:
    """Phrases can be listened to on the page, unless the settings say otherwise."""
    if "sounds" in settings.trace.model_fields_set:
        return settings
    return settings.model_copy(update={"trace": settings.trace.model_copy(update={"sounds": True})})


def _programme(settings: Settings, seconds: float | None, source: Path | None, out: Console) -> Programme:
    if source is not None:
        with out.status(f"preparing {source}"):
            return recordings.prepare(source, settings.paths.state_dir / "demo")
    length_s = seconds or LOOP_S
    with Progress(console=out, transient=True) as bar:
        task = bar.add_task("making the sample programme", total=length_s)

        def advance(done_s: float, _: float) -> None:
            bar.update(task, completed=done_s)

        return programme.make(sample_file(settings.paths.state_dir, length_s), length_s, advance)


class _Show:
    """One programme on air."""

    def __init__(self, settings: Settings, shown: Programme, seconds: float | None, repeat: bool, out: Console) -> None:
        self._settings, self.programme, self._seconds, self._out = settings, shown, seconds, out
        self._repeat = repeat if seconds is None else seconds > shown.seconds
        self.summary = Summary(recording=settings.paths.state_dir / "demo" / "out.mp4")
        self.usage = Usage()
        self._published = False

    @property
    def published_s(self) -> float:
        return self._seconds or self.programme.seconds

    def run(self, running: Settings, target: str, key: str, link: str) -> None:
        """`running`: the stack's settings. `link`: the query that opens the output, where one is needed."""
        media, feed = running.mediamtx, Feed(running, STREAM_ID)
        url, query = media.input_url(STREAM_ID, "rtmp"), f"key={key}&lang={target}"
        watched = f"{media.output_url(STREAM_ID)}?{link}".rstrip("?")
        with (
            recording(watched, self.summary.recording, feed.output_available),
            publishing(self.programme.path, url, self._seconds, self._repeat, query) as publisher,
        ):
            began = time.time()
            self._watch(feed, publisher.ended, began)
            self._published = True
            tail_end = time.monotonic() + self._settings.worker.latency_s + _TAIL_S
            self._watch(feed, lambda: time.monotonic() > tail_end, began)

    def _watch(self, feed: Feed, over: Callable[[], bool], began: float) -> None:
        while not over():
            time.sleep(_POLL_S)
            self.usage.sample()
            state = feed.poll()
            for report in state.phrases:
                at_s = max(0.0, report.started_at - began)
                self.summary.phrases.append((at_s, report))
                screen.phrase(self._out, report, at_s)
            if state.message and not self._published:
                self._out.print(f"[dim]{escape(state.message)}[/dim]")
            self.summary.measured(state.delay_ms, state.av_sync_ms)


def _verdict(settings: Settings, show: _Show, target: str, out: Console) -> int:
    """Said in one line where it is bad."""
    if not show.summary.dubbed:
        out.print(f"[bold red]No phrase was dubbed.[/bold red] {escape(show.summary.last_failure)}")
        return EXIT_NOT_DUBBED
    if not show.summary.recording.exists():
        out.print("[bold red]Nothing was recorded.[/bold red]")
        return EXIT_NOT_DUBBED
    from dubrelay.demo.check import check  # noqa: PLC0415  (a recogniser and its library, not needed until now)

    out.print("[dim]listening to the recording, which takes about a minute[/dim]")
    with out.status("listening to the recording"):
        found = check(settings, show.programme, show.published_s, show.summary, target)
    screen.findings(out, found)
    return EXIT_OK if all(one.good for one in found if one.needed) else EXIT_NOT_DUBBED
