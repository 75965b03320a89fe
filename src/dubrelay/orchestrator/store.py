"""What was set by API, in one SQLite file: a change is there whole with its audit line, or it is not there at all.

SQLite's own journal is kept, not a write-ahead log: a change is on the disk when `write` returns, a process killed in
the middle leaves the state before it, and there is one file to back up. It is made by the first change.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dubrelay.config import Programme
from dubrelay.errors import DubrelayError, StartupError
from dubrelay.wire.streams import AuditEntry, Change

FILE_NAME = "streams.sqlite3"
AUDIT_KEPT = 10_000
_BUSY_S = 5.0
_SCHEMAS = (
    """
CREATE TABLE config (stream_id TEXT PRIMARY KEY, version INTEGER NOT NULL, document TEXT NOT NULL) STRICT;
CREATE TABLE destination (stream_id TEXT NOT NULL, name TEXT NOT NULL, url TEXT, PRIMARY KEY (stream_id, name)) STRICT;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, stream_id TEXT NOT NULL, who TEXT NOT NULL,
    action TEXT NOT NULL, changes TEXT NOT NULL
) STRICT;
CREATE INDEX audit_of_stream ON audit (stream_id, id);
""",
    """
CREATE TABLE on_break (stream_id TEXT PRIMARY KEY, since REAL NOT NULL, until REAL, back_to TEXT NOT NULL) STRICT;
CREATE TABLE stopped_destination (stream_id TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (stream_id, name)) STRICT;
""",
)
"""What each version added to the one before; the number of the last is the version of a file."""


class StoreError(DubrelayError):
    """Nothing was changed: the file cannot be written."""


@dataclass(frozen=True)
class Break:
    """How long a stream is in the break: seconds since the epoch."""

    since: float
    until: float | None
    """When it ends by itself; None: when somebody ends it."""
    back_to: Programme
    """What went out before."""


@dataclass(frozen=True)
class Stored:
    documents: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    """By stream id: the version, and the keys that are set."""
    destinations: dict[str, dict[str, str | None]] = field(default_factory=dict)
    """By stream id and name: the URL; None: the file's destination of that name is not wanted."""
    stopped: dict[str, set[str]] = field(default_factory=dict)
    """By stream id: names of destinations that are not forwarded to until they are started again."""
    breaks: dict[str, Break] = field(default_factory=dict)
    """By stream id."""


Row = Callable[[sqlite3.Connection, int], object]
"""What a change writes beside its audit line; the number is the version that it makes."""


def config_row(stream_id: str, document: dict[str, Any], on_break: Break | None = None) -> Row:
    """An empty document is none. With the break that the stream is in, in that document's words."""

    def write(db: sqlite3.Connection, version: int) -> None:
        if document:
            row = (stream_id, version, json.dumps(document))
            db.execute("INSERT OR REPLACE INTO config VALUES (?, ?, ?)", row)
        else:
            db.execute("DELETE FROM config WHERE stream_id = ?", (stream_id,))
        db.execute("DELETE FROM on_break WHERE stream_id = ?", (stream_id,))
        if on_break:
            known = (stream_id, on_break.since, on_break.until, on_break.back_to)
            db.execute("INSERT INTO on_break VALUES (?, ?, ?, ?)", known)

    return write


def destination_row(stream_id: str, name: str, url: str | None) -> Row:
    return lambda db, _: db.execute("INSERT OR REPLACE INTO destination VALUES (?, ?, ?)", (stream_id, name, url))


def no_destination_row(stream_id: str, name: str) -> Row:
    return lambda db, _: db.execute("DELETE FROM destination WHERE (stream_id, name) = (?, ?)", (stream_id, name))


def stopped_row(stream_id: str, name: str) -> Row:
    return lambda db, _: db.execute("INSERT OR REPLACE INTO stopped_destination VALUES (?, ?)", (stream_id, name))


def started_row(stream_id: str, name: str) -> Row:
    return lambda db, _: db.execute(
        "DELETE FROM stopped_destination WHERE (stream_id, name) = (?, ?)", (stream_id, name)
    )


class Store:
    """Each call opens the file anew: they may come from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Stored:
        """StartupError when there is a file that cannot be read."""
        if not self.path.exists():
            return Stored()
        try:
            with closing(self._opened()) as db:
                stored = Stored()
                for stream_id, version, document in db.execute("SELECT * FROM config"):
                    stored.documents[stream_id] = (version, json.loads(document))
                for stream_id, name, url in db.execute("SELECT * FROM destination"):
                    stored.destinations.setdefault(stream_id, {})[name] = url
                for stream_id, name in db.execute("SELECT * FROM stopped_destination"):
                    stored.stopped.setdefault(stream_id, set()).add(name)
                for stream_id, since, until, back_to in db.execute("SELECT * FROM on_break"):
                    stored.breaks[stream_id] = Break(since, until, back_to)
        except (sqlite3.Error, OSError, ValueError) as e:
            raise StartupError(
                f"{self.path}, where settings of streams are kept, cannot be read: {e}; put a copy of it back, or "
                "move it away to start with the configuration file alone"
            ) from e
        return stored

    def write(self, stream_id: str, who: str, action: str, changes: Sequence[Change], rows: Sequence[Row] = ()) -> int:
        """Commits a change with its audit line and returns its version. StoreError when nothing was changed."""
        try:
            with closing(self._opened()) as db, _transaction(db):
                told = json.dumps([change.model_dump() for change in changes])
                entry = (time.time(), stream_id, who, action, told)
                added = db.execute(
                    "INSERT INTO audit (at, stream_id, who, action, changes) VALUES (?, ?, ?, ?, ?)", entry
                )
                version = added.lastrowid
                assert version is not None
                for row in rows:
                    row(db, version)
                db.execute("DELETE FROM audit WHERE id <= ?", (version - AUDIT_KEPT,))
        except (sqlite3.Error, OSError) as e:
            raise StoreError(f"{self.path} cannot be written, nothing was changed: {e}") from e
        return version

    def audit(self, stream_id: str, limit: int) -> list[AuditEntry]:
        """The latest first. StoreError when the file cannot be read."""
        if not self.path.exists():
            return []
        latest = "SELECT id, at, who, action, changes FROM audit WHERE stream_id = ? ORDER BY id DESC LIMIT ?"
        try:
            with closing(self._opened()) as db:
                rows = db.execute(latest, (stream_id, limit)).fetchall()
        except (sqlite3.Error, OSError) as e:
            raise StoreError(f"{self.path} cannot be read: {e}") from e
        return [
            AuditEntry(version=version, at=at, who=who, action=action, changes=json.loads(changes))
            for version, at, who, action, changes in rows
        ]

    def _opened(self) -> sqlite3.Connection:
        """For its owner only, as SQLite makes its journal: keys of destinations are in it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(file, 0o600)
        finally:
            os.close(file)
        db = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
        try:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = ON")
            _make_tables(db)
        except BaseException:
            db.close()
            raise
        return db


def _make_tables(db: sqlite3.Connection) -> None:
    """A file of an earlier version becomes one of this version."""
    newest = len(_SCHEMAS)
    if _schema_version(db) < newest:
        with _transaction(db):
            for schema in _SCHEMAS[_schema_version(db) :]:
                for statement in filter(str.strip, schema.split(";")):
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {newest}")
    if (found := _schema_version(db)) != newest:
        raise sqlite3.DatabaseError(f"its schema is version {found}, this dubrelay knows version {newest}")


def _schema_version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
