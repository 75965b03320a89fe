"""What is configured for each stream: its table in the file, with what was set by API over it, key by key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, TypeVar

from dubrelay import logs
from dubrelay.config import MAX_DESTINATIONS, Destination, Programme, Settings, Stream, StreamConfig, validated
from dubrelay.errors import ConfigError
from dubrelay.orchestrator.refused import Refused
from dubrelay.orchestrator.store import (
    Break,
    Row,
    Store,
    StoreError,
    config_row,
    destination_row,
    no_destination_row,
    started_row,
    stopped_row,
)
from dubrelay.wire.streams import Action, AuditEntry, Change

MAX_STREAMS = 1000
"""With something set by API."""
_LISTED = 20
"""Entries of a list that an audit line shows."""
_NOTHING = (0, StreamConfig())
TIMER = "timer"
"""Who ends a break whose time is over."""
_LOOK_S, _AGAIN_S = 0.5, 10.0

T = TypeVar("T")


class StreamConfigs:
    """Reads are from memory; a change is on disk before it counts. Changes come one after the other.

    `who` is the name of whoever asks, for the audit. What is refused raises Refused: 404, 409, 412, 503.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        """StartupError when there is a file that cannot be read."""
        self._settings = settings
        self._store = store
        self._watchers: list[Callable[[str], None]] = []
        self._changing = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()
        stored = store.load()
        self._set = {stream_id: (v, _known_keys(stream_id, keys)) for stream_id, (v, keys) in stored.documents.items()}
        self._destinations = stored.destinations
        self._stopped = stored.stopped
        self._breaks = {
            stream_id: going_on
            for stream_id, going_on in stored.breaks.items()
            if self.set_for(stream_id)[1].programme == "break"
        }

    def watch(self, changed: Callable[[str], None]) -> None:
        """`changed` is called with the stream's id after each change, on the event loop."""
        self._watchers.append(changed)

    def of(self, stream_id: str) -> Stream:
        in_file = self.file_of(stream_id)
        _, by_api = self.set_for(stream_id)
        destinations = {destination.name: destination for destination in in_file.destinations}
        for name, url in self._destinations.get(stream_id, {}).items():
            if url is None:
                destinations.pop(name, None)
            elif (destination := _destination(stream_id, name, url)) is not None:
                destinations[name] = destination
        return in_file.under(by_api).model_copy(update={"destinations": tuple(destinations.values())})

    def file_of(self, stream_id: str) -> Stream:
        return self._settings.streams.get(stream_id) or Stream()

    def set_for(self, stream_id: str) -> tuple[int, StreamConfig]:
        """What was set by API, and its version: 0 where nothing is."""
        return self._set.get(stream_id, _NOTHING)

    def break_of(self, stream_id: str) -> Break | None:
        """The break that was set by API, while the stream is in it."""
        return self._breaks.get(stream_id)

    def is_stopped(self, stream_id: str, name: str) -> bool:
        """Whether nothing is forwarded to that destination until it is started again."""
        return name in self._stopped.get(stream_id, ())

    async def put(
        self,
        stream_id: str,
        wanted: StreamConfig,
        who: str,
        *,
        expected: int | None = None,
        action: Action = "config",
    ) -> None:
        """Replaces what was set by API. `expected` is the version that it has to be of.

        ConfigError when it does not go together with what else is configured.
        """
        await self._alone(self._put(stream_id, lambda _: wanted, who, action, expected=expected))

    async def change(self, stream_id: str, changed: StreamConfig, who: str, action: Action) -> None:
        """Sets by API what `changed` sets, and leaves the rest. ConfigError as `put`."""
        await self._alone(self._put(stream_id, lambda now: now.under(changed), who, action))

    async def pause(self, stream_id: str, who: str, for_s: float | None) -> None:
        """Into the break, for so long or until it is ended; one that goes on ends then. ConfigError as `put`."""
        until = None if for_s is None else time.time() + for_s
        on_break = StreamConfig(programme="break")
        await self._alone(self._put(stream_id, lambda now: now.under(on_break), who, "break", until=until))

    async def resume(self, stream_id: str, who: str) -> None:
        """Out of the break that was set by API: what went out before goes out again."""
        going_on = self._breaks.get(stream_id)
        if going_on is None:
            message = f"stream {stream_id!r} was not sent into the break by API"
            raise Refused(HTTPStatus.CONFLICT, "NO_BREAK", message)
        await self.change(stream_id, StreamConfig(programme=going_on.back_to), who, going_on.back_to)

    async def end_breaks(self) -> None:
        """Ends each break whose time is over, until this is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for stream_id, going_on in list(self._breaks.items()):
                if going_on.until is not None and time.time() >= going_on.until:
                    try:
                        await self.resume(stream_id, TIMER)
                    except (Refused, ConfigError) as e:
                        logs.get().error("break_not_ended", streamId=stream_id, error=str(e))
                        await asyncio.sleep(_AGAIN_S)

    async def note(self, stream_id: str, who: str, action: Action, changes: Sequence[Change] = ()) -> None:
        """An audit line for what changes no setting."""
        await self._alone(self._write(stream_id, who, action, changes))

    async def put_destination(self, stream_id: str, destination: Destination, who: str) -> None:
        await self._alone(self._put_destination(stream_id, destination, who))

    async def delete_destination(self, stream_id: str, name: str, who: str) -> None:
        """One of the file is gone until it is put again."""
        await self._alone(self._delete_destination(stream_id, name, who))

    async def stop_destination(self, stream_id: str, name: str, who: str) -> None:
        """It stays what it is, and gets nothing until it is started. The name may be one that a publisher gave."""
        await self._alone(self._set_stopped(stream_id, name, who, stopped=True))

    async def start_destination(self, stream_id: str, name: str, who: str) -> None:
        await self._alone(self._set_stopped(stream_id, name, who, stopped=False))

    async def audit(self, stream_id: str, limit: int) -> list[AuditEntry]:
        """The latest changes, newest first."""
        try:
            return await asyncio.to_thread(self._store.audit, stream_id, limit)
        except StoreError as e:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "STORE_FAILED", e.message) from e

    async def _put(
        self,
        stream_id: str,
        new: Callable[[StreamConfig], StreamConfig],
        who: str,
        action: Action,
        *,
        expected: int | None = None,
        until: float | None = None,
    ) -> None:
        """`until`: when the break ends that `action` says begins."""
        version, before = self.set_for(stream_id)
        if expected not in (None, version):
            message = (
                f"the settings of stream {stream_id!r} are of version {version} now, not {expected}: read them again"
            )
            raise Refused(HTTPStatus.PRECONDITION_FAILED, "CHANGED_MEANWHILE", message)
        after = new(before)
        self._require_fit(stream_id, after)
        was_on, on_break = self._breaks.get(stream_id), self._break_after(stream_id, after, action, until)
        changes = [*changes_between(before, after), *_times_between(was_on, on_break)]
        if not changes:
            return
        self._require_room(stream_id)
        keys = after.model_dump(mode="json", exclude_none=True)
        version = await self._write(stream_id, who, action, changes, config_row(stream_id, keys, on_break))
        if on_break:
            self._breaks[stream_id] = on_break
        else:
            self._breaks.pop(stream_id, None)
        if keys:
            self._set[stream_id] = (version, after)
        else:
            self._set.pop(stream_id, None)
        self._tell(stream_id)

    def _break_after(self, stream_id: str, after: StreamConfig, action: Action, until: float | None) -> Break | None:
        """The break that a stream is in with `after` set by API."""
        if after.programme != "break":
            return None
        going_on = self._breaks.get(stream_id)
        if going_on is None:
            now: Programme = self.of(stream_id).programme or "dub"
            going_on = Break(time.time(), None, "dub" if now == "break" else now)
        return replace(going_on, until=until) if action == "break" else going_on

    async def _put_destination(self, stream_id: str, destination: Destination, who: str) -> None:
        before = {d.name: d for d in self.of(stream_id).destinations}
        if before.get(destination.name) == destination:
            return
        if destination.name not in before and len(before) >= MAX_DESTINATIONS:
            message = f"stream {stream_id!r} has {MAX_DESTINATIONS} destinations, which is the most it can have"
            raise Refused(HTTPStatus.CONFLICT, "TOO_MANY_DESTINATIONS", message)
        self._require_room(stream_id)
        old, url = before.get(destination.name), destination.url.get_secret_value()
        await self._write(
            stream_id,
            who,
            "destination",
            [_moved(destination.name, old, destination)],
            destination_row(stream_id, destination.name, url),
        )
        self._destinations.setdefault(stream_id, {})[destination.name] = url
        self._tell(stream_id)

    async def _delete_destination(self, stream_id: str, name: str, who: str) -> None:
        old = next((d for d in self.of(stream_id).destinations if d.name == name), None)
        if old is None:
            message = f"stream {stream_id!r} has no destination {name[:64]!r}"
            raise Refused(HTTPStatus.NOT_FOUND, "NO_SUCH_DESTINATION", message)
        stored = self._destinations.setdefault(stream_id, {})
        in_file = any(d.name == name for d in self.file_of(stream_id).destinations)
        row = destination_row(stream_id, name, None) if in_file else no_destination_row(stream_id, name)
        await self._write(stream_id, who, "destination", [_moved(name, old, None)], row, started_row(stream_id, name))
        if in_file:
            stored[name] = None
        else:
            stored.pop(name, None)
        self._note_stopped(stream_id, name, stopped=False)
        self._tell(stream_id)

    async def _set_stopped(self, stream_id: str, name: str, who: str, *, stopped: bool) -> None:
        if self.is_stopped(stream_id, name) == stopped:
            return
        self._require_room(stream_id)
        states = ("started", "stopped")
        change = Change(key=f"destinations.{name}", before=states[not stopped], after=states[stopped])
        row = (stopped_row if stopped else started_row)(stream_id, name)
        await self._write(stream_id, who, "stop" if stopped else "start", [change], row)
        self._note_stopped(stream_id, name, stopped=stopped)
        self._tell(stream_id)

    def _note_stopped(self, stream_id: str, name: str, *, stopped: bool) -> None:
        others = self._stopped.get(stream_id, set()) - {name}
        names = others | {name} if stopped else others
        if names:
            self._stopped[stream_id] = names
        else:
            self._stopped.pop(stream_id, None)

    async def _alone(self, change: Coroutine[Any, Any, T]) -> T:
        """One change at a time, and to its end even if nobody waits for it any more: memory is what the disk is."""

        async def in_turn() -> T:
            async with self._changing:
                return await change

        task = asyncio.create_task(in_turn())
        self._under_way.add(task)  # the event loop itself keeps no task alive
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _write(self, stream_id: str, who: str, action: Action, changes: Sequence[Change], *rows: Row) -> int:
        try:
            version = await asyncio.to_thread(self._store.write, stream_id, who, action, changes, rows)
        except StoreError as e:
            logs.get().error("stream_config_not_stored", streamId=stream_id, who=who, action=action, error=e.message)
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "STORE_FAILED", e.message) from e
        told = [change.model_dump() for change in changes]
        logs.get().info(
            "stream_config_changed", streamId=stream_id, who=who, action=action, version=version, changes=told
        )
        return version

    def _tell(self, stream_id: str) -> None:
        for changed in self._watchers:
            changed(stream_id)

    def _require_fit(self, stream_id: str, by_api: StreamConfig) -> None:
        try:
            self._settings.require_fit(self.file_of(stream_id).under(by_api))
        except ValueError as e:
            raise ConfigError(f"config: {e}") from e

    def _require_room(self, stream_id: str) -> None:
        known = self._set.keys() | self._destinations.keys() | self._stopped.keys()
        if stream_id not in known and len(known) >= MAX_STREAMS:
            message = f"{MAX_STREAMS} streams have settings by API, which is the most: delete those of one first"
            raise Refused(HTTPStatus.CONFLICT, "TOO_MANY_STREAMS", message)


def changes_between(before: StreamConfig, after: StreamConfig) -> list[Change]:
    """None: not set."""
    return [
        Change(key=key, before=_shown(getattr(before, key)), after=_shown(getattr(after, key)))
        for key in StreamConfig.model_fields
        if getattr(before, key) != getattr(after, key)
    ]


def _times_between(before: Break | None, after: Break | None) -> list[Change]:
    ends = [on_break.until if on_break else None for on_break in (before, after)]
    return [Change(key="break_until", before=ends[0], after=ends[1])] if ends[0] != ends[1] else []


def _shown(value: Any) -> Any:
    if not isinstance(value, tuple):
        return value
    if len(value) > _LISTED:
        return f"{len(value)} entries"
    return [entry if isinstance(entry, str) else entry.model_dump() for entry in value]


def _moved(name: str, before: Destination | None, after: Destination | None) -> Change:
    """Without the key."""
    return Change(key=f"destinations.{name}", before=before and before.target.shown, after=after and after.target.shown)


def _known_keys(stream_id: str, keys: dict[str, Any]) -> StreamConfig:
    """What an earlier version stored may not be valid any more: those keys do not count."""
    config = StreamConfig()
    for key, value in keys.items():
        try:
            config = config.under(validated(StreamConfig, {key: value}, "stored"))
        except ConfigError as e:
            logs.get().warning("stored_config_not_valid", streamId=stream_id, message=e.message)
    return config


def _destination(stream_id: str, name: str, url: str) -> Destination | None:
    try:
        return validated(Destination, {"name": name, "url": url}, "stored")
    except ConfigError:
        logs.get().warning("stored_destination_not_valid", streamId=stream_id, name=name)
        return None
