"""What the worker kept of its phrases on disk (wire/trace.py), to be listened to and taken away.

Whoever may read what is said may hear it, too. Only records are named by a request; where their files lie, we say.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse, StreamingResponse

from dubrelay.config import Paths
from dubrelay.orchestrator.refused import Refused
from dubrelay.orchestrator.stream_config_api import StreamIdInPath
from dubrelay.wire import trace
from dubrelay.wire.status import SOUNDS, SoundName
from dubrelay.wire.streams import STREAMS_PATH

_MOST_MINUTES = 60
_ON_ITS_WAY_S = 40.0
"""From where a phrase begins to when its record is written: the delay, its length, and the dub's."""
_NOT_CACHED = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def trace_routes(paths: Paths) -> APIRouter:
    routes = APIRouter(prefix=STREAMS_PATH + "/{stream_id}", tags=["traces"])

    @routes.get("/phrases/{name}/{sound}.wav", response_class=FileResponse)
    def heard(stream_id: StreamIdInPath, name: str, sound: SoundName) -> Response:
        """A phrase as it came in, the answer of the service, or what went out; `name` is the phrase's `trace`."""
        record = _record(paths, stream_id, name)
        file = trace.sound_file(record.parent, name, sound)
        if not file.is_file():
            kept = ", ".join(s for s in SOUNDS if trace.sound_file(record.parent, name, s).is_file())
            raise _not_kept(f"phrase {name} has no sound {sound!r}; it has {kept or 'none: trace.sounds was false'}")
        return FileResponse(file, media_type="audio/wav", headers=_NOT_CACHED)

    @routes.get("/phrases/{name}/trace.zip", response_class=StreamingResponse)
    def of_phrase(stream_id: StreamIdInPath, name: str) -> Response:
        """A phrase's record (JSON) with its sounds."""
        record = _record(paths, stream_id, name)
        return _archive(f"{stream_id}-{name}", [record])

    @routes.get("/trace.zip", response_class=StreamingResponse)
    def latest(stream_id: StreamIdInPath, minutes: int = Query(10, ge=1, le=_MOST_MINUTES)) -> Response:
        """The records of the phrases of the last minutes, with their sounds, as far as they are still kept."""
        folder, since_ms = trace.folder(paths, stream_id), (time.time() - 60 * minutes) * 1000
        names = [name for name in trace.stems(folder) if trace.started_ms(name) >= since_ms]
        if not names:
            raise _not_kept(f"nothing is kept of stream {stream_id!r} from the last {minutes} minutes")
        return _archive(f"{stream_id}-{minutes}-minutes", [trace.record_file(folder, name) for name in names])

    return routes


def _record(paths: Paths, stream_id: str, name: str) -> Path:
    """The file of a phrase's record, which is there. Refused."""
    if not trace.is_stem(name):
        raise _not_kept(f"there is no phrase {name[:64]!r}")
    file = trace.record_file(trace.folder(paths, stream_id), name)
    if not file.is_file():
        if time.time() - trace.started_ms(name) / 1000 < _ON_ITS_WAY_S:
            raise _not_kept("it is kept when it has gone out to its end: in some seconds")
        raise _not_kept("it is no longer kept, or never was (trace.phrases, trace.max_mb)")
    return file


def _not_kept(message: str) -> Refused:
    return Refused(HTTPStatus.NOT_FOUND, "NOT_KEPT", message)


def _archive(name: str, records: Iterable[Path]) -> Response:
    headers = _NOT_CACHED | {"Content-Disposition": f'attachment; filename="{name}.zip"'}
    return StreamingResponse(_zipped(records), media_type="application/zip", headers=headers)


def _zipped(records: Iterable[Path]) -> Iterator[bytes]:
    """In pieces of one file each. Not compressed: the media host has better things to do, and wav gives little."""
    out = _Pieces()
    with zipfile.ZipFile(out, "w") as archive:
        for record in records:
            sounds = [trace.sound_file(record.parent, record.stem, sound) for sound in SOUNDS]
            for file in (record, *sounds):
                with suppress(FileNotFoundError):  # the ring went on meanwhile, or it never was
                    archive.writestr(file.name, file.read_bytes())
                yield out.taken()
    yield out.taken()


class _Pieces(io.RawIOBase):
    """What was written since it was last taken; nothing can be sought in it."""

    def __init__(self) -> None:
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._data += piece
        return len(piece)

    def taken(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data
