"""The routes of the STS service, and what each outcome of a phrase becomes: an answer, a log line, a count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from dubrelay import __version__, logs
from dubrelay.errors import StsError
from dubrelay.sts.admission import Refused
from dubrelay.sts.body import BodyTooLarge, fragment_id_in, limited, parsed
from dubrelay.sts.engines import EngineInfo, describe
from dubrelay.sts.faults import Instead
from dubrelay.sts.keys import TooOften
from dubrelay.sts.metrics import CONTENT_TYPE
from dubrelay.sts.running import Running, Status
from dubrelay.wire.fragment import (
    ENGINES_PATH,
    HTTP_STATUS,
    PROCESS_PATH,
    ErrorBody,
    ProcessError,
    ProcessRequest,
    ProcessResult,
)

T = TypeVar("T")

CLIENT_GONE = 499
"""Only counted: nobody is there to read it."""
TOO_LARGE = 413
TOO_MANY = 429
BODY = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/ProcessRequest"}}}, "required": True}


class Pair(BaseModel):
    """Languages that can be dubbed from and to; `*` is every language."""

    source: str
    target: str


class Health(BaseModel):
    """`degraded` is 200: everything in `pairs` can be dubbed, but not with every engine. What is neither `ok` nor that
    is 503."""

    status: Status
    pairs: list[Pair] = []
    failing: list[str] = []
    """stage/name of the engines that are being loaded again, or that hang."""


class EngineList(BaseModel):
    version: str
    pairs: list[Pair]
    engines: list[EngineInfo]


def add_routes(app: FastAPI, running: Running) -> None:
    @app.post(PROCESS_PATH, response_model=ProcessResult, responses=_errors(), openapi_extra={"requestBody": BODY})
    async def process(request: Request) -> Response:
        """Dubs one phrase."""
        return await _process(running, request)

    @app.get(ENGINES_PATH, response_model=EngineList, responses={401: {"model": ProcessError}})
    async def engines(request: Request) -> Response:
        """Which engines there are, which are loaded, and what the others lack."""
        try:
            _client(running, request)
        except StsError as e:
            return _error(running, e, "")
        infos = await running.in_pool(describe, running.settings.sts, running.settings.paths, running.engines)
        return _json(EngineList(version=__version__, pairs=_pairs(running), engines=infos))

    @app.get("/health", response_model=Health, responses={503: {"model": Health}})
    async def health() -> Response:
        """200 once the models are loaded and warm, and as long as phrases can be dubbed."""
        status, failing = running.status()
        healthy = status in ("ok", "degraded")
        return _json(Health(status=status, pairs=_pairs(running), failing=failing), 200 if healthy else 503)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """In Prometheus' text format."""
        return Response(running.metrics.render(), headers={"content-type": CONTENT_TYPE})


def _pairs(running: Running) -> list[Pair]:
    return [Pair(source=source, target=target) for source, target in running.pairs()]


def _errors() -> dict[int | str, dict[str, Any]]:
    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": ProcessError} for status in (*HTTP_STATUS.values(), TOO_LARGE, TOO_MANY)
    }
    for status in (TOO_MANY, HTTP_STATUS["OVERLOADED"]):
        errors[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "required": True}}
    return errors


async def _process(running: Running, http: Request) -> Response:
    arrived = time.monotonic()
    client, body = "", b""
    try:
        client = _client(running, http)
        running.rates.count(client)
        running.check_open()
        body = await limited(http)
        request = await running.in_pool(parsed, body)
        running.check_open()
    except ClientDisconnect:
        return _gone(running, None)
    except (StsError, asyncio.CancelledError) as e:
        return await _refused(running, _meant(e), body, client)
    log = _log_of(request, client)
    running.metrics.received(request)
    with running.metrics.inflight.track_inprogress(), running.counted():
        try:
            result = await _unless_gone(http, running.answer(request, arrived))
        except ClientDisconnect:
            return _gone(running, log)
        except Instead as e:
            return _spoilt(running, log, e.response)
        except (Exception, asyncio.CancelledError) as e:
            return _failed(running, request, log, _meant(e))
    return _dubbed(running, log, result)


async def _unless_gone(http: Request, answer: Awaitable[T]) -> T:
    """The answer. ClientDisconnect when nobody waits for it any more."""

    async def gone() -> None:
        while (await http.receive())["type"] != "http.disconnect":
            pass

    answering, leaving = asyncio.ensure_future(answer), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise ClientDisconnect
        return answering.result()
    finally:
        answering.cancel()
        leaving.cancel()
        # Else an error would hold this frame, which holds it: megabytes until the next collection.
        del answering, leaving


def _client(running: Running, request: Request) -> str:
    """Whose key came with it. StsError UNAUTHORIZED."""
    return running.keys.name_of(request.headers.get("authorization", ""))


def _dubbed(running: Running, log: logs.Logger, result: ProcessResult) -> Response:
    running.metrics.answered(result.status)
    meta = result.metadata
    log.info("phrase", status=result.status, stage_ms=meta.stage_ms, voice=meta.tts_model, tempo=meta.tempo)
    log.debug("text", transcript=result.transcript, translated_text=result.translated_text, notes=meta.notes)
    return _json(result)


def _failed(running: Running, request: ProcessRequest, log: logs.Logger, error: StsError) -> Response:
    running.metrics.answered(error.code.lower())
    log.warning("phrase", status="error", code=error.code, stage=error.stage, cause=_cause_of(error))
    # An engine's own words, and those of a bug, may quote what was said.
    log.debug("error", message=error.message, exc_info=error.__cause__)
    return _error(running, error, request.fragment_id)


def _meant(cause: BaseException) -> StsError:
    """What the client is told of an exception: the server cancels what it no longer waits for, when it ends; what is
    no StsError is a bug of ours."""
    if isinstance(cause, StsError):
        return cause
    if isinstance(cause, asyncio.CancelledError):
        return Refused("the service has stopped before this was done", 1.0)
    error = StsError("MODEL_ERROR", "internal error", retryable=True)
    error.__cause__ = cause
    return error


def _spoilt(running: Running, log: logs.Logger, response: Response) -> Response:
    running.metrics.answered("spoilt")
    log.info("phrase", status="spoilt", http=response.status_code)
    return response


async def _refused(running: Running, error: StsError, body: bytes, client: str) -> Response:
    """Before there was a phrase."""
    running.metrics.answered(error.code.lower())
    fragment_id = await running.in_pool(fragment_id_in, body) if body else ""
    logs.get().warning("request refused", code=error.code, fragmentId=fragment_id, client=client)
    return _error(running, error, fragment_id)


def _gone(running: Running, log: logs.Logger | None) -> Response:
    running.metrics.answered("gone")
    if log is not None:
        log.info("phrase", status="gone")
    return Response(status_code=CLIENT_GONE)


def _error(running: Running, error: StsError, fragment_id: str) -> Response:
    headers = {}
    status = HTTP_STATUS[error.code]
    if isinstance(error, TooOften):
        status = TOO_MANY
        headers["Retry-After"] = str(error.retry_after_s)
    elif isinstance(error, BodyTooLarge):
        status = TOO_LARGE
    elif error.code == "OVERLOADED":
        headers["Retry-After"] = str(running.retry_after_s(error))
    elif error.code == "UNAUTHORIZED":
        headers["WWW-Authenticate"] = "Bearer"
    return error_response(error, status, fragment_id, headers)


def error_response(
    error: StsError, status: int, fragment_id: str = "", headers: dict[str, str] | None = None
) -> Response:
    """An error in the shape that every error of this service has."""
    body = ErrorBody(code=error.code, stage=error.stage, message=error.message, retryable=error.retryable)
    return _json(ProcessError(fragment_id=fragment_id, error=body), status, headers)


def _json(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    # warnings=False: what sts.faults garbles is meant not to fit the model.
    content = model.model_dump_json(warnings=False)
    return Response(content, status, headers, media_type="application/json")


def _log_of(request: ProcessRequest, client: str) -> logs.Logger:
    """`client` is the name of the key that was sent."""
    who = {"client": client} if client else {}
    return logs.get().bind(
        **who,
        fragmentId=request.fragment_id,
        sequenceNumber=request.sequence_number,
        streamId=request.stream_id,
        duration_ms=request.audio.duration_ms,
    )


def _cause_of(error: StsError) -> str:
    """Class and place of what an engine raised: enough to find it, without its words."""
    cause = error.__cause__
    if cause is None:
        return ""
    frame = cause.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    at = f" at {Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else ""
    return f"{type(cause).__name__}{at}"
