"""The orchestrator as a web application, and the process that serves it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from dubrelay import logs
from dubrelay.config import Settings
from dubrelay.connections import BACKLOG, Connection, allow_files
from dubrelay.listening import listening
from dubrelay.orchestrator.access import rules_of
from dubrelay.orchestrator.alerts import Alerts, alert_routes
from dubrelay.orchestrator.api import api_routes, streams_of
from dubrelay.orchestrator.auth import Asked, auth_routes
from dubrelay.orchestrator.conditions import StreamLook
from dubrelay.orchestrator.costs import Costs
from dubrelay.orchestrator.destinations import destination_routes
from dubrelay.orchestrator.egress import Egress
from dubrelay.orchestrator.events import Events
from dubrelay.orchestrator.firstrun import first_run_routes
from dubrelay.orchestrator.guard import Guard, require_token
from dubrelay.orchestrator.hooks import hook_routes
from dubrelay.orchestrator.keys import Keys, file_of, with_internal_secret
from dubrelay.orchestrator.limits import Failures
from dubrelay.orchestrator.mediamtx import ControlApi
from dubrelay.orchestrator.metrics import OrchestratorMetrics
from dubrelay.orchestrator.needed import Needed
from dubrelay.orchestrator.page import page_routes
from dubrelay.orchestrator.plan import is_recorded
from dubrelay.orchestrator.preview import Preview, preview_routes
from dubrelay.orchestrator.reconcile import Reconciler
from dubrelay.orchestrator.recording import Recorder
from dubrelay.orchestrator.recordings import recording_routes
from dubrelay.orchestrator.refused import Refused
from dubrelay.orchestrator.sample import Sample
from dubrelay.orchestrator.store import FILE_NAME, Store
from dubrelay.orchestrator.stream_config_api import config_routes
from dubrelay.orchestrator.streamconfigs import StreamConfigs
from dubrelay.orchestrator.supervisor import Supervisor
from dubrelay.orchestrator.traces import trace_routes
from dubrelay.trust import server_context
from dubrelay.wire.sample import STREAM_ID
from dubrelay.wire.streams import PhraseView

SHUTDOWN_S = 2
_MOST_CHARACTERS = 1000
"""Of what is said about a request that is refused: it may quote what was sent."""


def build_app(
    settings: Settings,
    supervisor: Supervisor | None = None,
    keys: Keys | None = None,
    alert_clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """Streams are served for as long as the application's lifespan; at its end every worker is stopped.

    ConfigError when a webhook's file is of no use.
    """
    settings = with_internal_secret(settings)
    secret = settings.orchestrator.internal_secret.get_secret_value()
    logs.hide(
        secret, settings.orchestrator.hook_token.get_secret_value(), settings.orchestrator.api_token.get_secret_value()
    )
    keys = keys or Keys(file_of(settings.paths))
    metrics, events, costs = OrchestratorMetrics(), Events(), Costs(settings.sts_client.cost_per_hour)
    media, preview = ControlApi(settings.mediamtx.api_url, secret), Preview(settings.mediamtx.hls_url, secret)
    configs = StreamConfigs(settings, Store(settings.paths.state_dir / FILE_NAME))
    recorder = Recorder(settings, lambda id_: is_recorded(settings, configs.of(id_)), metrics.recordings_deleted.inc)
    egress = Egress(
        settings, media, lambda id_: configs.of(id_).destinations, configs.is_stopped, record_of=recorder.record_of
    )

    def on_phrase(stream_id: str, view: PhraseView) -> None:
        live = reconciler.streams[stream_id]
        costs.phrase(stream_id, live.machine.run_id, view.phrase, time.monotonic())
        recorder.said(stream_id, live.said(view.phrase))
        events.phrase(stream_id, view)

    def on_looked() -> None:
        costs.keep(reconciler.streams)
        if events.listeners:
            events.streams(streams_of(reconciler, egress, recorder, costs))

    reconciler = Reconciler(
        settings,
        media,
        supervisor or Supervisor(settings.orchestrator),
        egress,
        recorder,
        configs,
        on_restart=metrics.worker_restarts.inc,
        on_refused=metrics.streams_refused.inc,
        on_phrase=on_phrase,
        on_looked=on_looked,
    )
    alerts = Alerts(
        settings,
        streams=lambda: [
            StreamLook(view, reconciler.streams[view.stream_id].history.samples)
            for view in streams_of(reconciler, egress, recorder, costs).streams
        ],
        mediamtx_problem=lambda: reconciler.mediamtx_problem,
        restarts=metrics.restarts,
        on_change=events.alerts,
        clock=alert_clock,
    )
    sample = Sample(settings, busy=lambda: reconciler.has_publisher(STREAM_ID))
    metrics.watch(
        states=lambda: [live.view().state for live in reconciler.streams.values()],
        workers=lambda: [
            (stream_id, live.worker.status.metrics)
            for stream_id, live in reconciler.streams.items()
            if live.worker is not None and live.worker.status is not None
        ],
        destinations=egress.deliveries,
        recordings=recorder.states,
        recorded_bytes=recorder.total_bytes,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        jobs = (reconciler.run(), egress.run(), recorder.run(), configs.end_breaks())
        running = [asyncio.create_task(job) for job in jobs]
        for task in running:
            task.add_done_callback(lambda task: _end_with(task, app, reconciler))
        running.append(asyncio.create_task(alerts.run()))
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await sample.close()
            await reconciler.close()
            await recorder.close()
            await media.close()
            await preview.close()

    app = FastAPI(
        title="dubrelay orchestrator",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages run scripts of strangers, which could do here whatever our page can
        redoc_url=None,
        redirect_slashes=False,
    )
    per_minute = settings.access.failures_per_minute
    rules = rules_of(settings, secret, lambda stream_id: configs.of(stream_id).readers or settings.access.readers)
    asked = Asked(rules, keys, Failures(per_minute), metrics)
    app.add_middleware(Guard, settings=settings.orchestrator, keys=keys, failures_per_minute=per_minute)
    for routes in (
        auth_routes(asked),
        hook_routes(reconciler, metrics),
        api_routes(settings, configs, reconciler, metrics, egress, recorder, costs, events),
        alert_routes(alerts),
        preview_routes(preview, reconciler.spoken_in),
        trace_routes(settings.paths),
        first_run_routes(settings, Needed(settings), sample),
        page_routes(),
        config_routes(settings, configs, reconciler),
        destination_routes(egress, configs),
        recording_routes(recorder, configs),
    ):
        app.include_router(routes)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    return app


def _end_with(task: asyncio.Task[None], app: FastAPI, reconciler: Reconciler) -> None:
    """A bug ended it: the process ends, too, with its workers, so that whoever supervises it starts it anew."""
    if not task.cancelled() and (error := task.exception()) is not None:
        reconciler.mediamtx_problem = f"the orchestrator no longer reads MediaMTX's list: {type(error).__name__}"
        app.state.failure = error
        os.kill(os.getpid(), signal.SIGTERM)


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": _readable(message)}}, status)


def _readable(message: str) -> str:
    """One line, cut where it is long; what cannot be shown, or written as UTF-8, is as Python escapes it."""
    cut = message if len(message) <= _MOST_CHARACTERS else message[:_MOST_CHARACTERS] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


async def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = error.code if isinstance(error, Refused) else HTTPStatus(error.status_code).name
    return _error(error.status_code, code, str(error.detail))


async def _invalid_request(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    return _error(HTTPStatus.BAD_REQUEST, "INVALID_INPUT", f"{where}: {problem['msg']}")


class OrchestratorConnection(Connection):
    streams = True


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """ConfigError when the certificate is of no use."""
    orchestrator = settings.orchestrator
    tls = server_context("orchestrator", orchestrator.tls_cert, orchestrator.tls_key)
    return uvicorn.Config(
        app,
        http=OrchestratorConnection,
        backlog=BACKLOG,
        host=orchestrator.host,
        port=orchestrator.port,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        proxy_headers=False,  # X-Forwarded-* is anybody's word
        ssl_context_factory=(lambda *_: tls) if tls else None,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


def serve(settings: Settings) -> None:
    """Blocks until SIGINT or SIGTERM. StartupError when the address cannot be had, ConfigError when everybody could ask
    for everything there.
    """
    keys = Keys(file_of(settings.paths))
    require_token(settings.orchestrator, keys)
    allow_files()
    server_socket = listening("orchestrator", settings.orchestrator.host, settings.orchestrator.port)
    with server_socket, _terminated_quietly():
        app = build_app(settings, keys=keys)
        config = server_config(app, settings)
        logs.get().info("orchestrator_listens", url=settings.orchestrator.url)
        uvicorn.Server(config).run(sockets=[server_socket])
    if (failure := getattr(app.state, "failure", None)) is not None:
        raise failure


@contextmanager
def _terminated_quietly() -> Iterator[None]:
    """uvicorn raises the signal that ended it once more when all is shut down; being asked to stop is exit code 0."""

    def asked_to_stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, asked_to_stop)
    try:
        yield
    except KeyboardInterrupt:
        logs.get().info("orchestrator_stopped")
    finally:
        signal.signal(signal.SIGTERM, before)
