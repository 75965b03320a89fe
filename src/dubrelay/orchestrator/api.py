"""What people and programs ask the orchestrator: streams, health, metrics, the page."""

from __future__ import annotations

from http import HTTPStatus
from importlib.resources import files

from fastapi import APIRouter, Query, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from dubrelay.orchestrator.egress import Egress
from dubrelay.orchestrator.metrics import OrchestratorMetrics
from dubrelay.orchestrator.reconcile import Reconciler
from dubrelay.orchestrator.refused import Refused
from dubrelay.wire.streams import STREAMS_PATH, StreamDetails, StreamList

PAGE_HEADERS = {
    # The page carries its own style and script and asks this server only.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def api_routes(reconciler: Reconciler, metrics: OrchestratorMetrics, egress: Egress) -> APIRouter:
    routes = APIRouter()
    page = files("dubrelay.orchestrator").joinpath("console/index.html").read_text(encoding="utf-8")

    @routes.get(STREAMS_PATH, tags=["streams"])
    async def streams() -> StreamList:
        """Every stream that is there, or was in the last minutes, by id."""
        return StreamList(
            streams=[
                live.view().model_copy(update={"destinations": egress.views(stream_id)})
                for stream_id, live in sorted(reconciler.streams.items())
            ]
        )

    @routes.get(STREAMS_PATH + "/{stream_id}", tags=["streams"])
    async def stream(stream_id: str, after: int = Query(0, ge=0)) -> StreamDetails:
        """One stream with its latest phrases; with `after`, only those that came after that sequence."""
        live = reconciler.streams.get(stream_id)
        if live is None:
            raise Refused(HTTPStatus.NOT_FOUND, "NO_SUCH_STREAM", f"there is no stream {stream_id[:64]!r}")
        return live.details(after).model_copy(update={"destinations": egress.views(stream_id)})

    @routes.get("/metrics", include_in_schema=False)
    async def all_metrics() -> Response:
        return PlainTextResponse(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @routes.get("/healthz", tags=["health"])
    async def healthz() -> JSONResponse:
        """200 while MediaMTX's list can be read and streams can start; 503 with the reason otherwise."""
        problem = reconciler.mediamtx_problem
        if problem is not None:
            return JSONResponse({"status": "unhealthy", "reason": problem}, HTTPStatus.SERVICE_UNAVAILABLE)
        return JSONResponse({"status": "ok", "streams": len(reconciler.streams)})

    @routes.get("/", include_in_schema=False)
    async def console() -> HTMLResponse:
        return HTMLResponse(page, headers=PAGE_HEADERS)

    return routes
