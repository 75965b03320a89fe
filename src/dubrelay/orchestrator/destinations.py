"""Destinations of a stream by API."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from dubrelay.config import Destination
from dubrelay.orchestrator.egress import Egress, said
from dubrelay.orchestrator.refused import Refused
from dubrelay.orchestrator.stream_config_api import StreamIdInPath, Who
from dubrelay.orchestrator.streamconfigs import StreamConfigs
from dubrelay.wire.streams import STREAMS_PATH, DestinationList


class NewDestination(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: SecretStr


def destination_routes(egress: Egress, configs: StreamConfigs) -> APIRouter:
    routes = APIRouter(prefix=STREAMS_PATH + "/{stream_id}/destinations", tags=["destinations"])

    @routes.get("")
    async def destinations(stream_id: StreamIdInPath) -> DestinationList:
        """Also of a stream that is not there: what it would be forwarded to."""
        return DestinationList(destinations=egress.views(stream_id))

    @routes.put("/{name}", status_code=HTTPStatus.NO_CONTENT)
    async def put(stream_id: StreamIdInPath, name: str, new: NewDestination, who: Who) -> Response:
        """Adds one, or replaces the one of that name. A stream in session is forwarded to it within a second or so."""
        try:
            destination = Destination(name=name, url=new.url)
        except ValidationError as e:
            raise Refused(HTTPStatus.BAD_REQUEST, "INVALID_INPUT", said(e)) from None
        await configs.put_destination(stream_id, destination, who)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    @routes.delete("/{name}", status_code=HTTPStatus.NO_CONTENT)
    async def delete(stream_id: StreamIdInPath, name: str, who: Who) -> Response:
        """One of the file stays away until it is put again."""
        await configs.delete_destination(stream_id, name, who)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    @routes.post("/{name}/stop", status_code=HTTPStatus.NO_CONTENT)
    async def stop(stream_id: StreamIdInPath, name: str, who: Who) -> Response:
        """Nothing is sent to it any more until it is started; it stays in the list. No other one is touched."""
        require_known(stream_id, name)
        await configs.stop_destination(stream_id, name, who)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    @routes.post("/{name}/start", status_code=HTTPStatus.NO_CONTENT)
    async def start(stream_id: StreamIdInPath, name: str, who: Who) -> Response:
        """A stream in session is forwarded to it within a second or so."""
        require_known(stream_id, name)
        await configs.start_destination(stream_id, name, who)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    def require_known(stream_id: str, name: str) -> None:
        """Set by file or API, or named by whoever publishes now."""
        known = {*(d.name for d in configs.of(stream_id).destinations), *(v.name for v in egress.views(stream_id))}
        if name not in known:
            message = f"stream {stream_id!r} has no destination {name[:64]!r}"
            raise Refused(HTTPStatus.NOT_FOUND, "NO_SUCH_DESTINATION", message)

    return routes
