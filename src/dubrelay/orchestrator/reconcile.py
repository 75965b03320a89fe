"""Makes what runs equal to what MediaMTX's list of paths says. Hooks only make it look at once."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from dubrelay import logs
from dubrelay.config import Settings
from dubrelay.orchestrator.egress import Egress
from dubrelay.orchestrator.live import LiveStream
from dubrelay.orchestrator.mediamtx import PLACES, ControlApi, MediaMtxError, MediaPath, PathSource, stream_of
from dubrelay.orchestrator.plan import Unsupported, asked_in, plan_for
from dubrelay.orchestrator.recording import Recorder
from dubrelay.orchestrator.streamconfigs import StreamConfigs
from dubrelay.orchestrator.streams import Source, give_places
from dubrelay.orchestrator.supervisor import Supervisor
from dubrelay.wire.hook import Action, HookEvent
from dubrelay.wire.streams import PhraseView

IDLE_SHOWN_S = 300.0
"""How long a stream that has ended is still shown, with its last phrases."""
HINTS_KEPT = 256


@dataclass(frozen=True)
class _Hint:
    query: str
    request_id: str


class Reconciler:
    """`run` polls until it is cancelled; `close` stops every worker."""

    def __init__(
        self,
        settings: Settings,
        api: ControlApi,
        supervisor: Supervisor,
        egress: Egress,
        recorder: Recorder,
        configs: StreamConfigs,
        on_restart: Callable[[], None],
        on_refused: Callable[[], None],
        on_phrase: Callable[[str, PhraseView], None],
        on_looked: Callable[[], None],
    ) -> None:
        """`on_looked` is called after each poll: what is said of the streams may be another thing now."""
        self.streams: dict[str, LiveStream] = {}
        self.mediamtx_problem: str | None = f"MediaMTX at {api.url} has not answered yet"
        """Why the list is not known; None while it is."""
        self._settings = settings
        self._api = api
        self._supervisor = supervisor
        self._egress = egress
        self._recorder = recorder
        self._on_restart = on_restart
        self._on_refused = on_refused
        self._on_phrase = on_phrase
        self._on_looked = on_looked
        self._configs = configs
        configs.watch(self._reconfigured)
        self._hints: OrderedDict[str, _Hint] = OrderedDict()
        self._hurry = asyncio.Event()
        self._told_problem = ""
        self._log = logs.get()

    async def run(self) -> None:
        while True:
            self._hurry.clear()
            await self.poll()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._settings.orchestrator.poll_interval_s)

    async def close(self) -> None:
        await asyncio.gather(*(live.close() for live in self.streams.values()))

    def has_publisher(self, stream_id: str) -> bool:
        live = self.streams.get(stream_id)
        return live is not None and live.machine.source is not None

    def spoken_in(self, stream_id: str) -> tuple[str, str] | None:
        """Target and source language of a stream; None when there is none."""
        live = self.streams.get(stream_id)
        return None if live is None else (live.wanted.target_language or "", live.wanted.source_language or "")

    def hook_ready(self, stream_id: str, event: HookEvent, request_id: str) -> Action:
        """Remembers what the publisher asked for and looks at once."""
        self._hints[event.sourceId] = _Hint(event.query, request_id)
        if len(self._hints) > HINTS_KEPT:
            self._hints.popitem(last=False)
        self._hurry.set()
        return "none" if self._known(stream_id, event.sourceId) else "start"

    def hook_not_ready(self, stream_id: str, event: HookEvent) -> Action:
        self._hurry.set()
        live = self.streams.get(stream_id)
        if live is None or not live.machine.hook_not_ready(event.sourceId, time.monotonic()):
            return "none"
        live.decide()
        return "stop-scheduled"

    async def poll(self) -> None:
        """One look at the list, and everything that follows from it and from the time that has passed."""
        paths = None
        try:
            paths = await self._api.paths()
            sources = await self._sources(paths)
        except MediaMtxError as e:
            # Nothing is known now, so nothing is stopped: a worker without input ends by itself.
            self._note(e.message)
        else:
            self._note(None)
            self._apply(sources)
            self._note_places(paths)
        for live in list(self.streams.values()):
            live.decide()
            live.look()
        in_session = [stream_id for stream_id, live in self.streams.items() if live.machine.run_id]
        self._recorder.listed(paths, in_session)
        self._egress.listed(paths, in_session)
        self._forget_ended()
        self._on_looked()

    async def _sources(self, paths: list[MediaPath]) -> dict[str, Source]:
        """Who publishes each stream's input, by stream id."""
        sources: dict[str, Source] = {}
        for path in paths:
            stream = stream_of(path.name)
            if stream is not None and stream[1] == "in" and path.available and path.source is not None:
                known = self._known(stream[0], path.source.id)
                sources[stream[0]] = known or await self._found(stream[0], path, path.source)
        return sources

    def _known(self, stream_id: str, source_id: str) -> Source | None:
        live = self.streams.get(stream_id)
        known = live.machine.source if live else None
        return known if known is not None and known.source_id == source_id else None

    async def _found(self, stream_id: str, path: MediaPath, publisher: PathSource) -> Source:
        hint = self._hints.get(publisher.id)
        query = hint.query if hint else await self._api.query_of(publisher)
        self._egress.publisher_asks(stream_id, query)
        asked, warnings = asked_in(query)
        mode = self._configs.of(stream_id).mode or self._settings.worker.mode
        plan = plan_for(path.codecs, mode, self._settings.worker.input)
        log = self._log.bind(path=path.name, sourceId=publisher.id, requestId=hint.request_id if hint else "")
        for warning in warnings:
            log.warning("query_not_valid", message=warning)
        if isinstance(plan, Unsupported):
            log.warning("stream_unsupported", message=plan.message)
        else:
            log.info("stream_found", codecs=path.codecs, by="hook" if hint else "poll")
        return Source(publisher.id, path.available_time or "", plan, asked)

    def _apply(self, sources: dict[str, Source]) -> None:
        for stream_id, source in sources.items():
            if stream_id not in self.streams:
                self.streams[stream_id] = LiveStream(
                    stream_id,
                    self._settings,
                    self._supervisor,
                    self._on_restart,
                    self._on_refused,
                    self._on_phrase,
                    self._configs.of,
                    self._configs.break_of,
                )
            hint = self._hints.get(source.source_id)
            self.streams[stream_id].listed(source, hint.request_id if hint else "")
        for stream_id, live in self.streams.items():
            if stream_id not in sources:
                live.machine.unlisted(time.monotonic())
        machines = [live.machine for live in self.streams.values()]
        give_places(machines, self._settings.orchestrator.max_streams, time.monotonic())

    def _note_places(self, paths: list[MediaPath]) -> None:
        there = {stream_of(path.name) for path in paths if path.available}
        for stream_id, live in self.streams.items():
            live.places = frozenset(place for place in PLACES if (stream_id, place) in there)

    def _reconfigured(self, stream_id: str) -> None:
        if (live := self.streams.get(stream_id)) is not None:
            live.reconfigured()
            self._hurry.set()

    def _forget_ended(self) -> None:
        now = time.monotonic()
        for stream_id, live in list(self.streams.items()):
            if live.machine.state(now) == "idle" and now - live.idle_since > IDLE_SHOWN_S:
                del self.streams[stream_id]

    def _note(self, problem: str | None) -> None:
        """One line for each change, not for each poll."""
        if problem is not None and self._told_problem == "":
            self._log.warning("mediamtx_unavailable", error=problem)
        elif problem is None and (self._told_problem or self.mediamtx_problem):
            self._log.info("mediamtx_available", url=self._api.url)
        self.mediamtx_problem = problem
        self._told_problem = problem or ""
