"""The configuration of `live/<id>/out` in MediaMTX: where it is forwarded to, whether it is recorded, and which call
makes it so. Pure.

MediaMTX disturbs nothing that a call leaves as it was: a recording goes on while destinations come and go, and the
other way round. What it has is read each time, so that nothing needs to be remembered, also across its restarts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dubrelay.orchestrator.forward import Entry, placed

Record = Mapping[str, Any]
"""Settings of a path that begin with `record`, as MediaMTX's Control API says them; `record` is whether it is to be."""
NOT_RECORDED: Record = {"record": False}


@dataclass(frozen=True)
class Seen:
    """The path as MediaMTX has it."""

    available: bool
    """Somebody publishes it, so that its entries are at work."""
    exact: bool
    """It has a configuration of its own instead of the one for all."""
    ours: bool = False
    """That one was added here: it can go. Another one may hold more, of somebody who wrote it."""
    entries: tuple[Entry, ...] = ()
    record: Record = field(default_factory=dict)
    """Of its own configuration."""


@dataclass(frozen=True)
class Change:
    """`add` a configuration of its own, `patch` that one, or `delete` it: the one for all holds again.

    None: stays as it is.
    """

    kind: Literal["add", "patch", "delete"]
    entries: tuple[Entry, ...] | None = None
    record: Record | None = None


def change(wanted: Sequence[Entry], record: Record, seen: Seen | None) -> Change | None:
    """None: all is as it should be, or nothing can be done yet. `seen` None: MediaMTX has no such path."""
    if seen is None:
        return None
    if not wanted and not record["record"] and seen.ours:
        return Change("delete")
    if not seen.exact:
        needed = seen.available and (wanted or record["record"])
        return Change("add", tuple(wanted), record if record["record"] else None) if needed else None
    entries = placed(wanted, seen.entries if seen.available else ())
    new_entries = None if entries == seen.entries else entries
    new_record = _record_change(record, seen.record)
    return None if new_entries is None and new_record is None else Change("patch", new_entries, new_record)


def _record_change(wanted: Record, seen: Record) -> Record | None:
    """What somebody else has recorded to another place goes on being recorded, until we are to record it."""
    if wanted["record"]:
        return None if all(seen.get(key) == value for key, value in wanted.items()) else wanted
    ours = seen.get("record") and seen.get("recordPath") == wanted.get("recordPath")
    return NOT_RECORDED if ours else None
