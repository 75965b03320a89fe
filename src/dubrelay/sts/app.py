"""The STS service over HTTP: start and end.

The event loop never computes: a phrase is parsed and dubbed on a thread of a bounded pool, so /health and /metrics
answer under any load. Models load in the background; until they are warm, /health says 503.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from dubrelay import __version__, logs
from dubrelay.config import Settings
from dubrelay.connections import BACKLOG, Connection, allow_files
from dubrelay.errors import EXIT_OK, StsError
from dubrelay.listening import listening
from dubrelay.memory import share_memory
from dubrelay.sts.api import add_routes, error_response
from dubrelay.sts.care import Reload
from dubrelay.sts.engines import check_names, load
from dubrelay.sts.reference import page
from dubrelay.sts.running import Load, Running
from dubrelay.trust import server_context
from dubrelay.wire.fragment import ErrorBody, ProcessError, ProcessRequest

GRACEFUL_S = 5


def build_app(
    settings: Settings,
    on_failure: Callable[[], None] = lambda: None,
    load: Load = load,
    reload: Reload | None = None,
) -> FastAPI:
    """The service as an ASGI application; its engines load when it starts. `reload` loads one again that has failed.

    When they cannot be loaded `app.state.running.failure` says why, and `on_failure` is called on the loading thread.
    """
    check_names(settings.sts)
    running = Running(settings, load, on_failure, reload)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running.start()
        yield
        running.stop()

    app = FastAPI(
        title="dubrelay STS",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page is made of scripts that the browser fetches from strangers
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.running = running
    add_routes(app, running)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)
    app.openapi = partial(_openapi, app)  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()))

    return app


def serve(settings: Settings) -> None:
    """Runs the service until SIGTERM or SIGINT. StartupError where it cannot listen or load its models."""
    share_memory()
    check_names(settings.sts)
    tls = server_context("sts", settings.sts.tls_cert, settings.sts.tls_key)
    allow_files()
    # Before the models are loaded: a port in use is known at once.
    server_socket = listening("sts", settings.sts.host, settings.sts.port)
    app = build_app(settings, lambda: _stop(server))
    running: Running = app.state.running
    server = Server(
        running,
        uvicorn.Config(
            app,
            http=StsConnection,
            backlog=BACKLOG,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="on",
            ws="none",
            server_header=False,
            proxy_headers=False,  # X-Forwarded-* is anybody's word
            ssl_context_factory=(lambda *_: tls) if tls else None,
            timeout_graceful_shutdown=GRACEFUL_S,
        ),
    )
    # Before and after the server's own handling of them: to be asked to stop is exit code 0 here.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stop(server))
    with server_socket:
        logs.get().info("listening", address=settings.sts.url)
        server.run(sockets=[server_socket])
    if running.failure is not None:
        raise running.failure
    if not running.idle:
        # The interpreter would destroy the models under the native code that still uses them, and abort.
        logs.get().warning("an engine is still computing, leaving it")
        os._exit(EXIT_OK)


class StsConnection(Connection):
    """In the contract's shape what is no HTTP is answered, too."""

    def bad_request(self, message: str) -> bytes:
        error = ErrorBody(code="INVALID_INPUT", message=message)
        return ProcessError(fragment_id="", error=error).model_dump_json().encode()


class Server(uvicorn.Server):
    """Ends when it has drained (`Running.drain`) after the first signal, at once after the second."""

    def __init__(self, running: Running, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._running = running
        self._told = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._running.drains_until is not None:
            self.config.timeout_graceful_shutdown = 0
            self.should_exit = True
        self._running.drain()

    async def on_tick(self, counter: int) -> bool:
        if self._running.drains_until is not None and not self._told:
            self._told = True
            logs.get().info("draining", phrases=self._running.inside)
        if self._running.drained():
            self.should_exit = True
        return await super().on_tick(counter)


def _stop(server: uvicorn.Server) -> None:
    server.should_exit = True


async def _http_error(_: Request, error: Exception) -> Response:
    """No such route or method, in our shape."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers) if error.headers else None
    return error_response(StsError("INVALID_INPUT", error.detail), error.status_code, headers=headers)


async def _bug(_: Request, __: Exception) -> Response:
    # The server logs the traceback; the client gets none.
    return error_response(StsError("MODEL_ERROR", "internal error", retryable=True), 500)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's own, with the request's shape: the body is read by hand, so FastAPI does not know it."""
    if not app.openapi_schema:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        request = ProcessRequest.model_json_schema(ref_template="#/components/schemas/{model}")
        parts = request.pop("$defs")
        document["components"]["schemas"] |= {**parts, "ProcessRequest": request}
        app.openapi_schema = document
    return app.openapi_schema
