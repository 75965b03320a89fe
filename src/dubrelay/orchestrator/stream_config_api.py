"""What operators set for a stream: its settings, what goes out, another worker; and who changed what."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from dubrelay.config import STREAM_ID_IS, STREAM_ID_PATTERN, Programme, Settings, StreamConfig, validated
from dubrelay.errors import ConfigError
from dubrelay.orchestrator.live import LiveStream, Outcome
from dubrelay.orchestrator.plan import Plan, in_force
from dubrelay.orchestrator.reconcile import Reconciler
from dubrelay.orchestrator.refused import Refused
from dubrelay.orchestrator.streamconfigs import StreamConfigs
from dubrelay.wire.streams import STREAMS_PATH, AuditList, StreamConfigChanged, StreamConfigView

MAX_BODY_BYTES = 512 * 1024
"""A whole glossary with every letter escaped has less."""
_SHOWN_CHARACTERS = 80
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/StreamConfig"}}},
    }
}
_EXAMPLE = {"error": {"code": "INVALID_INPUT", "message": "config: voice = '': must be ..."}}
_ERROR = {"content": {"application/json": {"example": _EXAMPLE}}}


def _refusals(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    return {int(status): {"description": status.phrase, **_ERROR} for status in statuses}


_NOT_IN_FORCE: dict[int | str, dict[str, Any]] = {
    202: {"model": StreamConfigChanged, "description": "Kept, and not in force yet: `applied` says when it will be"}
}


MAX_BREAK_MIN = 240


class NewBreak(BaseModel):
    model_config = ConfigDict(extra="forbid")

    minutes: float | None = Field(None, gt=0, le=MAX_BREAK_MIN)
    """After so long what went out before goes out again by itself; null: when somebody says so."""


def stream_id_of(stream_id: Annotated[str, Path()]) -> str:
    """The stream's id in the path; Refused when it cannot be one. There need not be such a stream yet."""
    if re.fullmatch(STREAM_ID_PATTERN, stream_id) is None:
        message = f"stream id {stream_id[:_SHOWN_CHARACTERS]!r}: must be {STREAM_ID_IS}"
        raise Refused(HTTPStatus.BAD_REQUEST, "INVALID_STREAM_ID", message)
    return stream_id


def who_asks(request: Request) -> str:
    """The name that goes into the audit."""
    return str(getattr(request.state, "who", "local"))


async def config_in(request: Request) -> StreamConfig:
    """The body, checked as a table of the file is."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            message = f"the body is larger than {MAX_BODY_BYTES} bytes"
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "TOO_LARGE", message)
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise Refused(HTTPStatus.BAD_REQUEST, "INVALID_INPUT", f"config: the body is not JSON: {e}") from e
    if isinstance(values, dict) and "destinations" in values:
        message = f"config: destinations are set one by one: PUT {STREAMS_PATH}/ID/destinations/NAME"
        raise Refused(HTTPStatus.BAD_REQUEST, "INVALID_INPUT", message)
    try:
        return validated(StreamConfig, values, "config")
    except ConfigError as e:
        raise _invalid(e, HTTPStatus.BAD_REQUEST) from e


def version_expected(
    if_match: Annotated[str | None, Header(description="The ETag of the answer that the change is based on")] = None,
) -> int | None:
    if if_match is None:
        return None
    found = re.fullmatch(r'"([0-9]{1,18})"', if_match)
    if found is None:
        message = f"If-Match = {if_match[:_SHOWN_CHARACTERS]!r}: must be the ETag of an earlier answer"
        raise Refused(HTTPStatus.BAD_REQUEST, "INVALID_INPUT", message)
    return int(found[1])


StreamIdInPath = Annotated[str, Depends(stream_id_of)]
Who = Annotated[str, Depends(who_asks)]
Expected = Annotated[int | None, Depends(version_expected)]


class _Answers:
    """What is said about a stream's settings, and what became of a change of them."""

    def __init__(self, settings: Settings, configs: StreamConfigs, reconciler: Reconciler) -> None:
        self._settings, self._configs, self._reconciler = settings, configs, reconciler

    def view(self, stream_id: str, response: Response) -> StreamConfigView:
        live = self._reconciler.streams.get(stream_id)
        version, by_api = self._configs.set_for(stream_id)
        response.headers["ETag"] = f'"{version}"'
        return StreamConfigView(
            stream_id=stream_id,
            version=version,
            file=StreamConfig(**self._configs.file_of(stream_id).set_keys()),
            api=by_api,
            publisher=live.chosen if live else StreamConfig(),
            in_force=live.wanted if live else in_force(self._settings, self._configs.of(stream_id)),
        )

    async def changed(self, stream_id: str, response: Response) -> StreamConfigChanged:
        """Once the worker has done it, or cannot yet. Refused where it does not."""
        live = self._reconciler.streams.get(stream_id)
        became = await live.steer() if live else Outcome("next_start")
        if became.refusal:
            message = f"kept, but the worker of stream {stream_id!r} does not do it: {became.refusal}"
            raise Refused(HTTPStatus.CONFLICT, "WORKER_REFUSED", message)
        if became.applied != "live":
            response.status_code = HTTPStatus.ACCEPTED
        return StreamConfigChanged(**dict(self.view(stream_id, response)), applied=became.applied)


def config_routes(settings: Settings, configs: StreamConfigs, reconciler: Reconciler) -> APIRouter:
    routes = APIRouter(prefix=STREAMS_PATH + "/{stream_id}", tags=["settings of a stream"])
    bad, conflict, changed = HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED

    answers = _Answers(settings, configs, reconciler)
    view, outcome = answers.view, answers.changed

    @routes.get("/config", response_model_exclude_none=True, responses=_refusals(bad))
    async def config(stream_id: StreamIdInPath, response: Response) -> StreamConfigView:
        """What is configured for a stream, by layer and in force. It need not be there yet."""
        return view(stream_id, response)

    @routes.put(
        "/config",
        response_model_exclude_none=True,
        openapi_extra=_BODY,
        responses=_NOT_IN_FORCE | _refusals(bad, conflict, changed, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    )
    async def put_config(
        stream_id: StreamIdInPath,
        wanted: Annotated[StreamConfig, Depends(config_in)],
        expected: Expected,
        who: Who,
        response: Response,
    ) -> StreamConfigChanged:
        """Replaces what is set by API: what the body leaves out is as the file says again."""
        try:
            await configs.put(stream_id, wanted, who, expected=expected)
        except ConfigError as e:
            raise _invalid(e, HTTPStatus.BAD_REQUEST) from e
        return await outcome(stream_id, response)

    @routes.delete(
        "/config", response_model_exclude_none=True, responses=_NOT_IN_FORCE | _refusals(bad, conflict, changed)
    )
    async def delete_config(
        stream_id: StreamIdInPath, expected: Expected, who: Who, response: Response
    ) -> StreamConfigChanged:
        """Takes away what is set by API: all is as the file says. Destinations stay."""
        await configs.put(stream_id, StreamConfig(), who, expected=expected, action="delete")
        return await outcome(stream_id, response)

    _programme_routes(routes, configs, answers)

    @routes.post(
        "/restart",
        status_code=HTTPStatus.ACCEPTED,
        response_model_exclude_none=True,
        responses=_refusals(bad, conflict),
    )
    async def restart(stream_id: StreamIdInPath, who: Who, response: Response) -> StreamConfigChanged:
        """Another worker, at once, whatever kept one from starting."""
        _startable(reconciler, stream_id)
        await configs.note(stream_id, who, "restart")
        _startable(reconciler, stream_id).restart()
        return StreamConfigChanged(**dict(view(stream_id, response)), applied="restart")

    @routes.get("/audit", responses=_refusals(bad))
    async def audit(stream_id: StreamIdInPath, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> AuditList:
        """The latest changes, newest first: when, who, what, from what to what."""
        return AuditList(entries=await configs.audit(stream_id, limit))

    return routes


def _programme_routes(routes: APIRouter, configs: StreamConfigs, answers: _Answers) -> None:
    """What goes out."""
    bad, conflict = HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT

    @routes.post("/dub", response_model_exclude_none=True, responses=_NOT_IN_FORCE | _refusals(bad, conflict))
    async def dub(stream_id: StreamIdInPath, who: Who, response: Response) -> StreamConfigChanged:
        """The dub goes out: sets `programme`."""
        return await switch(stream_id, "dub", who, response)

    @routes.post("/bypass", response_model_exclude_none=True, responses=_NOT_IN_FORCE | _refusals(bad, conflict))
    async def bypass(stream_id: StreamIdInPath, who: Who, response: Response) -> StreamConfigChanged:
        """The original goes out: sets `programme`. The worker dubs on, so that the dub is back at once."""
        return await switch(stream_id, "bypass", who, response)

    @routes.post("/silence", response_model_exclude_none=True, responses=_NOT_IN_FORCE | _refusals(bad, conflict))
    async def silence(stream_id: StreamIdInPath, who: Who, response: Response) -> StreamConfigChanged:
        """No sound goes out: sets `programme`."""
        return await switch(stream_id, "silence", who, response)

    @routes.post("/break", response_model_exclude_none=True, responses=_NOT_IN_FORCE | _refusals(bad, conflict))
    async def pause(
        stream_id: StreamIdInPath, who: Who, response: Response, wanted: NewBreak | None = None
    ) -> StreamConfigChanged:
        """The programme is in the break: the original goes out, and no phrase is dubbed, which costs nothing.

        Sets `programme`; with `minutes` what went out before goes out again after them.
        """
        try:
            await configs.pause(stream_id, who, wanted.minutes * 60 if wanted and wanted.minutes else None)
        except ConfigError as e:
            raise _invalid(e, HTTPStatus.CONFLICT) from e
        return await answers.changed(stream_id, response)

    @routes.delete("/break", response_model_exclude_none=True, responses=_NOT_IN_FORCE | _refusals(bad, conflict))
    async def resume(stream_id: StreamIdInPath, who: Who, response: Response) -> StreamConfigChanged:
        """The break is over: what went out before goes out again. The first phrase spoken now is dubbed."""
        try:
            await configs.resume(stream_id, who)
        except ConfigError as e:
            raise _invalid(e, HTTPStatus.CONFLICT) from e
        return await answers.changed(stream_id, response)

    async def switch(stream_id: str, programme: Programme, who: str, response: Response) -> StreamConfigChanged:
        try:
            await configs.change(stream_id, StreamConfig(programme=programme), who, programme)
        except ConfigError as e:
            raise _invalid(e, HTTPStatus.CONFLICT) from e
        return await answers.changed(stream_id, response)


def _startable(reconciler: Reconciler, stream_id: str) -> LiveStream:
    live = reconciler.streams.get(stream_id)
    if live is None or live.machine.source is None:
        message = f"nobody publishes stream {stream_id!r}: there is nothing to restart"
        raise Refused(HTTPStatus.CONFLICT, "NOT_PUBLISHED", message)
    code = "UNSUPPORTED" if not isinstance(live.machine.source.plan, Plan) else "NO_PLACE"
    if code == "UNSUPPORTED" or live.machine.refused_since is not None:
        raise Refused(HTTPStatus.CONFLICT, code, f"stream {stream_id!r}: {live.machine.message()}")
    return live


def _invalid(error: ConfigError, status: HTTPStatus) -> Refused:
    code = "INVALID_INPUT" if status == HTTPStatus.BAD_REQUEST else "CONFLICT"
    return Refused(status, code, error.message.replace("\n", "; "))
