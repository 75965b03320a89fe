"""The pictures of a stream for the console's page: MediaMTX's low-latency HLS, handed on.

The page asks nobody but the orchestrator, whose roles say who may see; to MediaMTX we show the internal secret.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from http import HTTPStatus
from typing import Annotated

import httpx2
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse

from dubrelay.config import INTERNAL_USER
from dubrelay.errors import first_line
from dubrelay.orchestrator.mediamtx import Place
from dubrelay.orchestrator.refused import Refused
from dubrelay.orchestrator.renditions import Rendition, both, named
from dubrelay.wire.streams import STREAMS_PATH

HLS_JS_PATH = "/console/hls.min.js"

_STREAM = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
_FILE = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,100}\.(m3u8|mp4|mp|ts)$")]
_ASKED = {
    "_HLS_msn": r"[0-9]{1,12}",
    "_HLS_part": r"[0-9]{1,6}",
    "_HLS_skip": r"YES|v2",
    "session": r"[0-9a-f-]{36}",
}
"""What a player may ask of a playlist: a part that is not there yet, or only what is new. MediaMTX writes its session
into the addresses of its playlists.
"""
_MASTER = "index.m3u8"
_TIMEOUT_S = 10.0
"""A playlist is answered when its next part is there."""


class Preview:
    """MediaMTX's HLS server at `url`; `secret` is the internal one."""

    def __init__(self, url: str, secret: str) -> None:
        self._client = httpx2.AsyncClient(
            base_url=url,
            auth=(INTERNAL_USER, secret),
            timeout=_TIMEOUT_S,
            trust_env=False,
            follow_redirects=True,  # it looks first whether cookies are kept
        )
        self._hls_js = b""

    async def close(self) -> None:
        await self._client.aclose()

    async def file(
        self, stream_id: str, place: Place, name: str, asked: dict[str, str], sounds: Sequence[Rendition] = ()
    ) -> Response:
        """What MediaMTX has; in its master playlist the sounds are called as `sounds` says.

        204 when it is not there now: a part that has gone, or a stream that comes later. A browser would write an
        error into its console for each 404 of a player that only tries again.
        """
        request = self._client.build_request("GET", f"/live/{stream_id}/{place}/{name}", params=asked)
        try:
            answer = await self._client.send(request, stream=True)
        except httpx2.HTTPError as e:
            raise _unavailable(e) from e
        if answer.status_code != HTTPStatus.OK:
            await answer.aclose()
            return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Cache-Control": "no-store"})
        kind = answer.headers.get("content-type", "application/octet-stream")
        if sounds and name == _MASTER:
            text = b"".join([part async for part in _body(answer)]).decode(errors="replace")
            return Response(named(text, sounds), media_type=kind, headers={"Cache-Control": "no-store"})
        return StreamingResponse(_body(answer), media_type=kind, headers={"Cache-Control": "no-store"})

    async def hls_js(self) -> bytes:
        """The player that MediaMTX's own page uses."""
        if not self._hls_js:
            try:
                answer = await self._client.get("/live/hls.min.js")
                answer.raise_for_status()
            except httpx2.HTTPError as e:
                raise _unavailable(e) from e
            self._hls_js = answer.content
        return self._hls_js


def _unavailable(error: httpx2.HTTPError) -> Refused:
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "MEDIAMTX_UNAVAILABLE", f"MediaMTX's HLS: {first_line(error)}")


async def _body(answer: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for part in answer.aiter_bytes():
            yield part
    except httpx2.HTTPError:
        return  # the player sees that it is short, and asks again
    finally:
        await answer.aclose()


def preview_routes(preview: Preview, spoken_in: Callable[[str], tuple[str, str] | None]) -> APIRouter:
    """`spoken_in` gives target and source language of a stream; None when there is none."""
    routes = APIRouter(tags=["preview"])

    @routes.get(STREAMS_PATH + "/{stream_id}/preview/{place}/{name}", response_class=Response)
    async def file(stream_id: _STREAM, place: Place, name: _FILE, request: Request) -> Response:
        """A playlist or a part of `in`, `out` or `languages` as low-latency HLS; begin with index.m3u8."""
        given = request.query_params
        asked = {key: given[key] for key, wanted in _ASKED.items() if re.fullmatch(wanted, given.get(key, ""))}
        languages = spoken_in(stream_id) if place == "languages" else None
        return await preview.file(stream_id, place, name, asked, both(*languages) if languages else ())

    @routes.get(HLS_JS_PATH, include_in_schema=False)
    async def hls_js() -> Response:
        return Response(await preview.hls_js(), media_type="text/javascript", headers={"Cache-Control": "max-age=3600"})

    return routes
