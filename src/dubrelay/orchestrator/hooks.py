"""MediaMTX's hooks come in here (contracts, section 2). They are hints: the answer comes before any work is done."""

from __future__ import annotations

import uuid
from http import HTTPStatus

from fastapi import APIRouter

from dubrelay import logs
from dubrelay.orchestrator.mediamtx import stream_of
from dubrelay.orchestrator.metrics import OrchestratorMetrics
from dubrelay.orchestrator.reconcile import Reconciler
from dubrelay.orchestrator.refused import Refused
from dubrelay.wire.hook import EVENTS_PATH, Action, EventName, HookAnswer, HookEvent

SHOWN_CHARACTERS = 200


def hook_routes(reconciler: Reconciler, metrics: OrchestratorMetrics) -> APIRouter:
    """Who may post here says the guard (guard.py)."""
    routes = APIRouter(prefix=EVENTS_PATH, tags=["mediamtx"])

    def take(name: EventName, event: HookEvent) -> HookAnswer:
        request_id = uuid.uuid4().hex[:12]
        try:
            stream_id, action = _act(reconciler, name, event, request_id)
        except Refused as e:
            metrics.hook_events.labels(name, "refused").inc()
            logs.get().warning("hook_refused", hook=name, requestId=request_id, error=e.detail, **_where(event))
            raise
        metrics.hook_events.labels(name, action).inc()
        live = reconciler.streams.get(stream_id)
        run_id = live.machine.run_id if live else ""
        logs.get().info(
            "hook", hook=name, action=action, streamId=stream_id, requestId=request_id, runId=run_id, **_where(event)
        )
        return HookAnswer(requestId=request_id, streamId=stream_id, action=action)

    @routes.post("/ready", status_code=HTTPStatus.ACCEPTED)
    async def ready(event: HookEvent) -> HookAnswer:
        return take("ready", event)

    @routes.post("/not-ready", status_code=HTTPStatus.ACCEPTED)
    async def not_ready(event: HookEvent) -> HookAnswer:
        return take("not-ready", event)

    return routes


def _act(reconciler: Reconciler, name: EventName, event: HookEvent, request_id: str) -> tuple[str, Action]:
    stream = stream_of(event.path)
    if stream is None:
        raise Refused(
            HTTPStatus.BAD_REQUEST, "INVALID_PATH", f"path {event.path[:SHOWN_CHARACTERS]!r} is not live/<streamId>/in"
        )
    stream_id, side = stream
    if side != "in":
        return stream_id, "none"
    if name == "ready":
        return stream_id, reconciler.hook_ready(stream_id, event, request_id)
    return stream_id, reconciler.hook_not_ready(stream_id, event)


def _where(event: HookEvent) -> dict[str, str]:
    return {"path": event.path[:SHOWN_CHARACTERS], "sourceId": event.sourceId[:SHOWN_CHARACTERS]}
