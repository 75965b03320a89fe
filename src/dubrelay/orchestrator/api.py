"""What people and programs ask the orchestrator: streams, what happens, captions, health, metrics."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST

from dubrelay import logs
from dubrelay.config import Settings
from dubrelay.orchestrator.addresses import stream_addresses
from dubrelay.orchestrator.captions import Track, cues, webvtt
from dubrelay.orchestrator.costs import Costs
from dubrelay.orchestrator.egress import Egress
from dubrelay.orchestrator.events import Events
from dubrelay.orchestrator.live import LiveStream
from dubrelay.orchestrator.metrics import OrchestratorMetrics
from dubrelay.orchestrator.reconcile import Reconciler
from dubrelay.orchestrator.recording import Recorder
from dubrelay.orchestrator.refused import Refused
from dubrelay.orchestrator.stream_config_api import StreamIdInPath
from dubrelay.orchestrator.streamconfigs import StreamConfigs
from dubrelay.wire.streams import ME_PATH, STREAMS_PATH, History, Me, StreamAddresses, StreamDetails, StreamList

_Seconds = Annotated[float, Query(ge=0, le=1e11, allow_inf_nan=False)]
"""Since the epoch."""


def streams_of(reconciler: Reconciler, egress: Egress, recorder: Recorder, costs: Costs) -> StreamList:
    return StreamList(
        instance_id=logs.INSTANCE_ID,
        problem=reconciler.mediamtx_problem or "",
        streams=[
            live.view().model_copy(update=_beside(live, egress, recorder, costs))
            for _, live in sorted(reconciler.streams.items())
        ],
    )


def _beside(live: LiveStream, egress: Egress, recorder: Recorder, costs: Costs) -> dict[str, Any]:
    """What of a stream's view the stream itself does not know."""
    stream_id = live.stream_id
    return {
        "destinations": egress.views(stream_id),
        "recording": recorder.view(stream_id),
        "cost": costs.of(stream_id, live.machine.run_id),
    }


def api_routes(
    settings: Settings,
    configs: StreamConfigs,
    reconciler: Reconciler,
    metrics: OrchestratorMetrics,
    egress: Egress,
    recorder: Recorder,
    costs: Costs,
    events: Events,
) -> APIRouter:
    routes = APIRouter()

    def known(stream_id: str) -> LiveStream:
        live = reconciler.streams.get(stream_id)
        if live is None:
            raise Refused(HTTPStatus.NOT_FOUND, "NO_SUCH_STREAM", f"there is no stream {stream_id[:64]!r}")
        return live

    @routes.get(STREAMS_PATH, tags=["streams"])
    async def streams() -> StreamList:
        """Every stream that is there, or was in the last minutes, by id."""
        return streams_of(reconciler, egress, recorder, costs)

    @routes.get(STREAMS_PATH + "/{stream_id}", tags=["streams"])
    async def stream(stream_id: str, after: int = Query(0, ge=0)) -> StreamDetails:
        """One stream with its latest phrases; with `after`, only those that came after that sequence."""
        live = known(stream_id)
        return live.details(after).model_copy(update=_beside(live, egress, recorder, costs))

    @routes.get(STREAMS_PATH + "/{stream_id}/addresses", tags=["streams"])
    async def addresses(stream_id: StreamIdInPath, request: Request) -> StreamAddresses:
        """Where it is published and watched; of a stream that is not there, where it would be."""
        readers = configs.of(stream_id).readers or settings.access.readers
        return stream_addresses(settings, stream_id, readers, request.headers.get("host", ""))

    @routes.get(STREAMS_PATH + "/{stream_id}/history", tags=["streams"])
    async def history(stream_id: str, after: _Seconds = 0.0) -> History:
        """The last hour in rows of some seconds; with `after`, seconds since the epoch, only those since then."""
        return History(rows=known(stream_id).history.since(after))

    @routes.get(STREAMS_PATH + "/{stream_id}/captions.vtt", tags=["captions"], response_class=PlainTextResponse)
    async def captions(stream_id: str, lang: str = "", since: _Seconds = 0.0) -> Response:
        """The latest phrases as WebVTT, timed as they are heard in the output, from `since` (seconds since the epoch)
        on: of the dub, or with the source's language in `lang` of the original.
        """
        live = known(stream_id)
        view = live.view()
        if lang not in ("", view.target_language, view.source_language):
            may = f"{view.target_language} or {view.source_language}"
            raise Refused(HTTPStatus.BAD_REQUEST, "INVALID_INPUT", f"lang = {lang[:20]!r}: must be {may}")
        track: Track = "original" if lang and lang != view.target_language else "dub"
        shown = cues((p.phrase for p in live.phrases), track, live.delay_s)
        zero = since or min((cue.start for cue in shown), default=0.0)
        text = webvtt(shown, zero, lang or view.target_language)
        return Response(text, media_type="text/vtt", headers={"X-Zero": f"{zero:.3f}", "Cache-Control": "no-store"})

    @routes.get("/v1/events", tags=["streams"], response_class=StreamingResponse)
    async def heard() -> Response:
        """Server-sent events: `streams` and `alerts` when something about one has changed, `phrase` for each that was
        decided.
        """
        events.streams(streams_of(reconciler, egress, recorder, costs))  # nobody may have listened since they changed
        try:
            listener = events.listen()
        except ValueError as e:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "TOO_MANY", str(e)) from e
        return StreamingResponse(listener, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @routes.get(ME_PATH, tags=["streams"])
    async def me(request: Request) -> Me:
        """Whose token it is that was sent, and what it may."""
        return Me(who=request.state.who, role=request.state.role)

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

    return routes
