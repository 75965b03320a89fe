"""Recordings by API: what there is of a stream, its files to fetch, and one less."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from dubrelay.orchestrator.quota import MB
from dubrelay.orchestrator.recording import Recorder
from dubrelay.orchestrator.refused import Refused
from dubrelay.orchestrator.segments import Segment, captions_file, delete, file_of, length_s, segments
from dubrelay.orchestrator.stream_config_api import StreamIdInPath, Who
from dubrelay.orchestrator.streamconfigs import StreamConfigs
from dubrelay.wire.streams import RECORDINGS_PATH, STREAMS_PATH, CaptionsView, Change, RecordedList, RecordedView

_KINDS = {".mp4": "video/mp4", ".vtt": "text/vtt"}
_SHOWN_CHARACTERS = 80


def recording_routes(recorder: Recorder, configs: StreamConfigs) -> APIRouter:
    routes = APIRouter(tags=["recordings"])

    @routes.get(STREAMS_PATH + "/{stream_id}/recordings")
    async def recordings(stream_id: StreamIdInPath) -> RecordedList:
        """What was recorded of a stream, the latest first; it need not be there any more."""
        return RecordedList(
            recording=recorder.view(stream_id),
            recordings=await asyncio.to_thread(_views, recorder, stream_id),
            total_bytes=recorder.total_bytes(),
            limit_bytes=recorder.limits.max_total_mb * MB,
        )

    @routes.head(RECORDINGS_PATH + "/{stream_id}/{file_name}", include_in_schema=False)
    @routes.get(RECORDINGS_PATH + "/{stream_id}/{file_name}", response_class=FileResponse)
    async def file(stream_id: StreamIdInPath, file_name: str) -> Response:
        """A recording, or captions of one; also a part of it (Range)."""
        found = await asyncio.to_thread(file_of, recorder.directory, stream_id, file_name)
        if found is None:
            raise _none(stream_id, file_name)
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache"}
        return FileResponse(
            found, headers=headers, media_type=_KINDS[found.suffix], filename=f"{stream_id}_{file_name}"
        )

    @routes.delete(RECORDINGS_PATH + "/{stream_id}/{file_name}", status_code=HTTPStatus.NO_CONTENT)
    async def remove(stream_id: StreamIdInPath, file_name: str, who: Who) -> Response:
        """A recording with its captions. Of one that is being written 409: switch recording off first."""
        found = {
            f"{s.name}.mp4": s for s in await asyncio.to_thread(segments, recorder.directory, stream_id, time.time())
        }
        segment = found.get(file_name)
        if segment is None:
            raise _none(stream_id, file_name)
        if segment.open:
            message = f"{file_name} of stream {stream_id!r} is being written: switch its recording off first"
            raise Refused(HTTPStatus.CONFLICT, "BEING_WRITTEN", message)
        gone = Change(key=f"recordings.{segment.name}", before=f"{segment.size} bytes")
        await configs.note(stream_id, who, "recording", [gone])
        try:
            await asyncio.to_thread(delete, recorder.directory, segment)
        except OSError as e:
            message = f"{file_name} cannot be deleted: {e.strerror or e}"
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "NOT_DELETED", message) from e
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return routes


def _none(stream_id: str, file_name: str) -> Refused:
    message = f"stream {stream_id!r} has no recording {file_name[:_SHOWN_CHARACTERS]!r}"
    return Refused(HTTPStatus.NOT_FOUND, "NO_SUCH_RECORDING", message)


def _views(recorder: Recorder, stream_id: str) -> list[RecordedView]:
    found = segments(recorder.directory, stream_id, time.time())
    return [_view(recorder, segment) for segment in reversed(found)]


def _view(recorder: Recorder, segment: Segment) -> RecordedView:
    return RecordedView(
        name=segment.name,
        file=f"{segment.name}.mp4",
        started_at=segment.start,
        duration_s=round(length_s(recorder.directory, segment), 3),
        size_bytes=segment.size,
        open=segment.open,
        captions=[
            CaptionsView(language=language, file=captions_file(recorder.directory, segment, language).name)
            for language in segment.captions
        ],
    )
