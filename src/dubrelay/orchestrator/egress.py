"""Where each stream's output is forwarded to, and whether it is recorded: sees to both in MediaMTX, and knows how every
destination fares.

`forward.py` decides what MediaMTX's list is to be, `outpath.py` which call makes it so, `delivery.py` what its answers
mean; here is only the talking.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal
from urllib.parse import parse_qs

from pydantic import SecretStr, ValidationError

from dubrelay import logs
from dubrelay.config import Destination, Settings
from dubrelay.destination import Target
from dubrelay.orchestrator.delivery import Delivery, Sighting
from dubrelay.orchestrator.forward import NOTHING, Entry
from dubrelay.orchestrator.mediamtx import ControlApi, MediaMtxError, MediaPath, stream_of
from dubrelay.orchestrator.outpath import NOT_RECORDED, Change, Record, Seen, change
from dubrelay.orchestrator.own_address import is_own_address
from dubrelay.wire.streams import DestinationView

RECHECK_S = 30.0
PUBLISHER_MAY_NAME = 4
_MAX_QUERY_FIELDS = 50
_TELLING_LEVELS = ("info", "debug")


_GivenBy = Literal["settings", "publisher"]


@dataclass
class _Outlet:
    """One destination of a stream in session."""

    destination: Destination
    target: Target
    given_by: _GivenBy
    delivery: Delivery
    stopped: bool = False
    """By an operator: it is not handed to MediaMTX."""
    twin: str = ""
    """Another one of the same stream that has the same URL: that one is handed to MediaMTX."""
    refusal: str | None = None
    """Why it may not be handed to MediaMTX; empty once that was looked into and nothing found."""
    check_at: float = 0.0

    @property
    def entry(self) -> Entry:
        return Entry(self.target.forward, self.target.bearer)

    @property
    def held_back(self) -> str:
        """Why, or empty; of one that is not stopped."""
        return f"it has the same URL as {self.twin}" if self.twin else self.refusal or ""


class Egress:
    """Tell it with `listed` what was read; `run` does what is to be done, beside whoever tells it."""

    def __init__(
        self,
        settings: Settings,
        api: ControlApi,
        destinations_of: Callable[[str], Sequence[Destination]],
        is_stopped: Callable[[str, str], bool] = lambda _, __: False,
        record_of: Callable[[str], Record] = lambda _: NOT_RECORDED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`record_of`: how a stream's output is to be recorded."""
        self._settings = settings
        self._api = api
        self._destinations_of = destinations_of
        self._is_stopped = is_stopped
        self._record_of = record_of
        self._clock = clock
        self._epoch = time.time() - clock()
        self._asked: dict[str, tuple[Destination, ...]] = {}
        """By the publisher of a stream, in its query."""
        self._outlets: dict[str, dict[str, _Outlet]] = {}
        """By stream id, of streams in session, and by name."""
        self._added: set[str] = set()
        """Paths that have a configuration which was added here."""
        self._problem = ""
        self._latest: tuple[Sequence[MediaPath] | None, Collection[str]] = (None, ())
        self._news = asyncio.Event()

    async def run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self.look(*self._latest)

    def listed(self, paths: Sequence[MediaPath] | None, in_session: Collection[str]) -> None:
        """`paths` is MediaMTX's list, None when it cannot be read; `in_session` are stream ids."""
        self._latest = (paths, in_session)
        self._news.set()

    def publisher_asks(self, stream_id: str, query: str) -> None:
        """Takes `dest=URL` of a new publisher's query, each as often as it stands there; those before are forgotten."""
        self._asked.pop(stream_id, None)
        asked, refused = asked_for(query, self._settings.egress.publisher_hosts)
        if asked:
            self._asked[stream_id] = asked
        for why in refused:
            logs.get().warning("destination_not_allowed", streamId=stream_id, by="publisher", error=why)

    async def look(self, paths: Sequence[MediaPath] | None, in_session: Collection[str]) -> None:
        """Returns when all that is to be changed is changed."""
        for stream_id in [gone for gone in self._outlets if gone not in in_session]:
            self._end(stream_id)
        for stream_id in in_session:
            self._want(stream_id)
        if paths is None:
            for stream_id, outlets in self._outlets.items():
                for outlet in outlets.values():
                    outlet.refusal = None  # it may come back as another one
                    self._note_delivery(stream_id, outlet, None)
            return
        outs = {stream[0]: path for path in paths if (stream := stream_of(path.name)) and stream[1] == "out"}
        recorded = [stream_id for stream_id in in_session if self._record_of(stream_id)["record"]]
        exact = [stream_id for stream_id, path in outs.items() if path.is_exact]
        results = await asyncio.gather(
            *(self._settle(stream_id, outs.get(stream_id)) for stream_id in {*self._outlets, *recorded, *exact}),
            return_exceptions=True,
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        for failure in failures:
            if not isinstance(failure, MediaMtxError):
                raise failure
        self._note(str(failures[0]) if failures else "")

    def views(self, stream_id: str) -> list[DestinationView]:
        """Of a stream in session how each fares, of any other what would be."""
        outlets = self._outlets.get(stream_id)
        if outlets is None:
            return [
                DestinationView(
                    name=d.name,
                    url=d.target.shown,
                    given_by="settings",
                    state="stopped" if self._is_stopped(stream_id, d.name) else None,
                )
                for d in self._destinations_of(stream_id)
            ]
        return [_view(outlet, self._epoch) for outlet in outlets.values()]

    def deliveries(self) -> Iterator[tuple[str, str, Delivery]]:
        """(stream id, name, how it fares) of every destination of a stream in session."""
        for stream_id, outlets in self._outlets.items():
            for name, outlet in outlets.items():
                yield stream_id, name, outlet.delivery

    def _want(self, stream_id: str) -> None:
        """Makes the outlets those that are wanted by now; one whose URL is the same goes on as it is."""
        before = self._outlets.get(stream_id, {})
        wanted: dict[str, _Outlet] = {}
        first: dict[Entry, str] = {}
        given: dict[_GivenBy, Sequence[Destination]] = {
            "settings": self._destinations_of(stream_id),
            "publisher": self._asked.get(stream_id, ()),
        }
        for given_by, destination in [(by, destination) for by, several in given.items() for destination in several]:
            name = destination.name
            if name in wanted:
                continue
            outlet = before.get(name)
            if outlet is None or (outlet.destination, outlet.given_by) != (destination, given_by):
                target = destination.target
                outlet = _Outlet(destination, target, given_by, Delivery(self._clock(), target.secrets))
                self._log(stream_id, outlet).info("destination_wanted", by=given_by)
            outlet.stopped = self._is_stopped(stream_id, name)
            twin = name if outlet.stopped else first.setdefault(outlet.entry, name)
            outlet.twin = "" if twin == name else twin
            wanted[name] = outlet
        for name, outlet in before.items():
            if wanted.get(name) is not outlet:
                self._log(stream_id, outlet).info("destination_removed", state=outlet.delivery.state)
        if wanted:
            self._outlets[stream_id] = wanted
        else:
            self._outlets.pop(stream_id, None)

    def _end(self, stream_id: str) -> None:
        self._asked.pop(stream_id, None)
        for outlet in self._outlets.pop(stream_id).values():
            self._log(stream_id, outlet).info("destination_ended", state=outlet.delivery.state)

    async def _settle(self, stream_id: str, path: MediaPath | None) -> None:
        outlets = list(self._outlets.get(stream_id, {}).values())
        seen, sightings = None, {}
        if path is not None:
            listed = await self._api.forwards(path.name) if path.is_exact else []
            entries = tuple(Entry(item.conf.dest, item.conf.whip_bearer_token) for item in listed)
            has = await self._api.path_conf(path.name) if path.is_exact else {}
            seen = Seen(path.available, path.is_exact, path.is_exact and path.name in self._added, entries, has)
            sightings = {
                entry: Sighting(item.id, item.state, item.last_error, item.outbound_bytes)
                for entry, item in zip(entries, listed, strict=True)
                if entry != NOTHING
            }
        for outlet in outlets:
            if outlet.entry not in sightings and not outlet.twin and not outlet.stopped:
                await self._check(outlet)
        wanted = [outlet.entry for outlet in outlets if not (outlet.stopped or outlet.held_back)]
        todo = change(wanted, self._record_of(stream_id), seen)
        if todo is not None and path is not None:
            await self._do(todo, path)
        for outlet in outlets:
            self._note_delivery(stream_id, outlet, sightings.get(outlet.entry))

    async def _do(self, todo: Change, path: MediaPath) -> None:
        conf: dict[str, Any] = dict(todo.record or {})
        if todo.entries is not None:
            conf["forward"] = [{"dest": entry.dest, "whipBearerToken": entry.bearer} for entry in todo.entries]
        if todo.kind == "delete":
            await self._api.delete_path(path.name)
            self._added.discard(path.name)
        elif todo.kind == "patch":
            await self._api.patch_path(path.name, conf)
        else:
            # Any other difference between the two configurations would end the publisher's connection.
            same = await self._api.path_conf(path.conf_name)
            self._added.add(path.name)  # also where the answer is lost
            await self._api.put_path(path.name, {**same, **conf})
        log = logs.get().bind(path=path.name, change=todo.kind)
        if todo.entries is not None:
            log = log.bind(entries=len(todo.entries))
        if todo.record is not None:
            log = log.bind(record=todo.record["record"])
        log.info("output_changed")

    async def _check(self, outlet: _Outlet) -> None:
        """Whether it may be handed to MediaMTX: looked into before that, and again while it may not."""
        if outlet.refusal == "" or (outlet.refusal and self._clock() < outlet.check_at):
            return
        outlet.check_at = self._clock() + RECHECK_S
        if await is_own_address(self._settings, outlet.target):
            outlet.refusal = "it is a port of this system itself: the output would come back as its input"
        elif outlet.target.in_mediamtx_log and await self._api.log_level() in _TELLING_LEVELS:
            outlet.refusal = (
                'MediaMTX would write its streamid and passphrase to its log: set mediamtx.log_level = "warn", or '
                "MTX_LOGLEVEL=warn where you start MediaMTX yourself"
            )
        else:
            outlet.refusal = ""

    def _note_delivery(self, stream_id: str, outlet: _Outlet, sighting: Sighting | None) -> None:
        delivery, now = outlet.delivery, self._clock()
        before = delivery.state
        if outlet.stopped:
            delivery.stopped(now)
        elif outlet.held_back:
            delivery.refused_here(outlet.held_back, now)
        elif sighting is None:
            delivery.absent(now)
        else:
            delivery.saw(sighting, now)
        if delivery.state != before:
            well = delivery.state in ("connecting", "forwarding", "stopped")
            log = self._log(stream_id, outlet)
            (log.info if well else log.warning)(
                "destination_state",
                state=delivery.state,
                before=before,
                retries=delivery.retries,
                sent_bytes=delivery.sent,
                **({} if well else {"error": delivery.error}),
            )

    def _log(self, stream_id: str, outlet: _Outlet) -> logs.Logger:
        return logs.get().bind(streamId=stream_id, destination=outlet.destination.name, to=outlet.target.shown)

    def _note(self, problem: str) -> None:
        if problem and not self._problem:
            logs.get().warning("egress_unavailable", error=problem)
        self._problem = problem


def asked_for(query: str, hosts: Sequence[str]) -> tuple[tuple[Destination, ...], list[str]]:
    """`dest=URL` of a publisher's query as destinations publisher-1 and so on, and why others are none.

    Only to `hosts`: names, or *.domain for all names below it.
    """
    try:
        urls = parse_qs(query, max_num_fields=_MAX_QUERY_FIELDS).get("dest", [])
    except ValueError:
        return (), []
    asked: list[Destination] = []
    refused: list[str] = []
    for n, url in enumerate(urls, 1):
        name = f"dest number {n} of the publisher's query"
        try:
            destination = Destination(name=f"publisher-{n}", url=SecretStr(url))
        except ValidationError as e:
            refused.append(f"{name}: {said(e)}")
            continue
        host = destination.target.host.lower()
        if n > PUBLISHER_MAY_NAME:
            refused.append(f"{name}: a publisher may name {PUBLISHER_MAY_NAME} destinations at most")
        elif not any(fnmatchcase(host, pattern.lower()) for pattern in hosts):
            refused.append(f"{name}: {host} is not in egress.publisher_hosts")
        else:
            asked.append(destination)
    return tuple(asked), refused


def said(error: ValidationError) -> str:
    """What is wrong with a destination, without its URL."""
    problem = error.errors(include_input=False)[0]
    key = ".".join(str(part) for part in problem["loc"])
    return f"{key}: {problem['msg'].removeprefix('Value error, ')}"


def _view(outlet: _Outlet, epoch: float) -> DestinationView:
    """`epoch` is where the clock of the deliveries was 0, in seconds since the epoch."""
    delivery = outlet.delivery
    return DestinationView(
        name=outlet.destination.name,
        url=outlet.target.shown,
        given_by=outlet.given_by,
        state=delivery.state,
        since=epoch + delivery.since,
        bitrate_kbps=delivery.bitrate_kbps,
        sent_bytes=delivery.sent,
        retries=delivery.retries,
        last_error=delivery.error,
    )
