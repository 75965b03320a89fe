"""The console's page: one HTML file with its style and scripts, as they stand in console/."""

from __future__ import annotations

from http import HTTPStatus
from importlib.resources import files

from fastapi import APIRouter, Response

from dubrelay.orchestrator.refused import Refused

ASSETS = "/console/"
HEADERS = {
    # The page asks this server only; hls.js makes its worker and its media from blobs.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; media-src blob:; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


def page_routes() -> APIRouter:
    """Nothing of a stream is in these files: they need no token."""
    routes = APIRouter(include_in_schema=False)
    contents = {
        file.name: Response(file.read_bytes(), headers=HEADERS, media_type=_KINDS[file.name.rpartition(".")[2]])
        for file in files("dubrelay.orchestrator").joinpath("console").iterdir()
    }

    @routes.get("/")
    async def page() -> Response:
        return contents["index.html"]

    @routes.get(ASSETS + "{name}")
    async def asset(name: str) -> Response:
        if name not in contents:
            raise Refused(HTTPStatus.NOT_FOUND, "NO_SUCH_FILE", f"the page has no {name[:64]!r}")
        return contents[name]

    return routes
