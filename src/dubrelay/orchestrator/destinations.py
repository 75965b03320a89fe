"""Destinations of a stream by API."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from dubrelay import logs
from dubrelay.config import MAX_DESTINATIONS, Destination
from dubrelay.orchestrator.egress import DestinationStore, Egress, said
from dubrelay.orchestrator.hooks import Refused
from dubrelay.orchestrator.mediamtx import stream_of
from dubrelay.wire.streams import STREAMS_PATH, DestinationList


class NewDestination(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: SecretStr


def destination_routes(egress: Egress, store: DestinationStore | None) -> APIRouter:
    """Without a store they can be read only."""
    routes = APIRouter(prefix=STREAMS_PATH + "/{stream_id}/destinations", tags=["destinations"])

    @routes.get("")
    async def destinations(stream_id: str) -> DestinationList:
        """Also of a stream that is not there: what it would be forwarded to."""
        _require_stream_id(stream_id)
        return DestinationList(destinations=egress.views(stream_id))

    if store is None:
        return routes

    @routes.put("/{name}", status_code=HTTPStatus.NO_CONTENT)
    async def put(stream_id: str, name: str, new: NewDestination, request: Request) -> Response:
        """Adds one, or replaces the one of that name. A stream in session is forwarded to it within a second or so."""
        _require_stream_id(stream_id)
        try:
            destination = Destination(name=name, url=new.url)
        except ValidationError as e:
            raise Refused(HTTPStatus.BAD_REQUEST, "INVALID_INPUT", said(e)) from None
        others = [other for other in store.destinations(stream_id) if other.name != name]
        if len(others) >= MAX_DESTINATIONS:
            message = f"a stream has {MAX_DESTINATIONS} destinations at most"
            raise Refused(HTTPStatus.BAD_REQUEST, "INVALID_INPUT", message)
        store.put(stream_id, destination, _who(request))
        logs.get().info(
            "destination_put", streamId=stream_id, destination=name, to=destination.target.shown, who=_who(request)
        )
        return Response(status_code=HTTPStatus.NO_CONTENT)

    @routes.delete("/{name}", status_code=HTTPStatus.NO_CONTENT)
    async def delete(stream_id: str, name: str, request: Request) -> Response:
        _require_stream_id(stream_id)
        if not store.delete(stream_id, name, _who(request)):
            message = f"stream {stream_id} has no destination {name[:64]!r}"
            raise Refused(HTTPStatus.NOT_FOUND, "NO_SUCH_DESTINATION", message)
        logs.get().info("destination_deleted", streamId=stream_id, destination=name, who=_who(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return routes


def _require_stream_id(stream_id: str) -> None:
    if stream_of(f"live/{stream_id}/out") is None:
        raise Refused(HTTPStatus.BAD_REQUEST, "INVALID_INPUT", f"{stream_id[:64]!r} is no stream id")


def _who(request: Request) -> str:
    return str(getattr(request.state, "who", "local"))
