"""The client of the STS service: one phrase in, dubbed speech or a reason out, always before its deadline."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import httpx2
import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Gauge, Histogram
from pydantic import ValidationError

from dubrelay import config
from dubrelay.audio import RATE_HZ, time_of
from dubrelay.errors import StsCode
from dubrelay.logs import Logger
from dubrelay.wire import fragment
from dubrelay.wire.fragment import (
    HTTP_STATUS,
    MAX_BODY_BYTES,
    PROCESS_PATH,
    Audio,
    Context,
    Languages,
    ProcessError,
    ProcessRequest,
)
from dubrelay.wire.status import FallbackReason
from dubrelay.worker.answer import Dubbed, NoSpeech, PhraseFailed, checked
from dubrelay.worker.breaker import STATE_NUMBER, Breaker
from dubrelay.worker.cut import Span

__all__ = ["DubClient", "DubMetrics", "Dubbed", "NoSpeech", "PhraseFailed", "failure_of"]

_LEAST_S = 0.1
"""With less time than this left there is no use in asking."""
_FAIR_S = 1.0
"""A service that does not answer in less than this has not failed."""
_WAY_BACK_S = 0.05
"""What the service is told to leave of the time for the answer's way."""
_BACK_OFF_S = 0.2
_KEEP_ALIVE_S = 60.0
_RTT_MS = (50, 100, 200, 300, 500, 750, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 12000)

Mono = npt.NDArray[np.float32]

_REASONS: dict[StsCode, FallbackReason] = {"TIMEOUT": "timeout", "OVERLOADED": "overload"}
_CODES: dict[int, StsCode] = {
    **{status: code for code, status in HTTP_STATUS.items()},
    413: "INVALID_INPUT",
    429: "OVERLOADED",
}
_TRY_AGAIN = (429, 502, 503, 504)
_MEANING: list[tuple[tuple[type[Exception], ...], FallbackReason, bool]] = [
    ((ValidationError, httpx2.DecodingError), "invalid_output", False),
    ((httpx2.TimeoutException, TimeoutError), "timeout", True),
    ((httpx2.LocalProtocolError, httpx2.UnsupportedProtocol), "error", False),
    ((httpx2.TransportError, OSError), "error", True),
]
"""Exception, reason, whether to try again; the first that fits."""


class DubMetrics:
    """What the client counts (contracts, section 5), on the worker's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.in_flight = Gauge("worker_inflight_fragments", "Phrases that are being dubbed", registry=registry)
        self.breaker_state = Gauge("worker_sts_breaker_state", "0 closed, 1 half-open, 2 open", registry=registry)
        self.rtt_ms = Histogram(
            "worker_sts_rtt_ms", "Round trip of a request that was answered", buckets=_RTT_MS, registry=registry
        )


@dataclass(frozen=True)
class _Task:
    """One phrase on its way: `fragment_id` stays the same over retries."""

    fragment_id: str
    sequence: int
    audio: Audio
    room_ms: int
    languages: Languages
    context: Context
    ends_at: float
    """By the client's clock."""


class DubClient:
    """One stream's client; used on one event loop. Nothing that the service does is felt longer than the deadline."""

    def __init__(
        self,
        settings: config.StsClient,
        stream_id: str,
        log: Logger,
        metrics: DubMetrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings, self._stream_id, self._log, self._metrics = settings, stream_id, log, metrics
        self._clock, self._chance = clock, chance
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_open_s)
        self._in_flight = 0
        self._url = settings.url.rstrip("/") + PROCESS_PATH
        self._http: httpx2.AsyncClient | None = None

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def dub(
        self,
        sequence: int,
        span: Span,
        samples: Mono,
        room_ms: int,
        time_left_s: Callable[[], float],
        languages: Languages,
        context: Context,
        fragment_id: str | None = None,
    ) -> Dubbed | NoSpeech:
        """The answer for a phrase: `samples` is (n,) at 16 kHz, `room_ms` what the dub may last.

        Returns or raises PhraseFailed within min(timeout_s, time_left_s()), retries included.
        """
        if self._in_flight >= self._settings.max_in_flight:
            raise PhraseFailed("overload", f"{self._in_flight} phrases are being dubbed already")
        left_s = time_left_s()
        if left_s < _LEAST_S:
            raise PhraseFailed("deadline", f"only {left_s:.2f} s were left when the phrase had been heard")
        if not self._breaker.allow(self._clock()):
            raise PhraseFailed("breaker_open", "the speech service failed too often; waiting before it is asked again")
        audio = Audio.from_samples(samples, fragment.RATE_HZ)
        limit_s = min(self._settings.timeout_s, left_s)
        task = _Task(
            fragment_id or uuid.uuid4().hex, sequence, audio, room_ms, languages, context, self._clock() + limit_s
        )
        log = self._log.bind(
            fragmentId=task.fragment_id,
            sequenceNumber=sequence,
            t0_ms=time_of(span.start) // 10**6,
            duration_ms=len(span) * 1000 // RATE_HZ,
        )
        async with self._counted():
            return await self._watched(task, limit_s, "deadline" if left_s <= limit_s else "timeout", log)

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self._in_flight += 1
        self._show()
        try:
            yield
        finally:
            self._in_flight -= 1
            self._show()

    def _show(self) -> None:
        self._metrics.in_flight.set(self._in_flight)
        self._metrics.breaker_state.set(STATE_NUMBER[self._breaker.state])

    async def _watched(self, task: _Task, limit_s: float, too_late: FallbackReason, log: Logger) -> Dubbed | NoSpeech:
        """Asks within the limit, and tells the breaker and the log how it went."""
        before = self._breaker.state
        try:
            async with asyncio.timeout(limit_s):
                answer = await self._with_retries(task, log)
        except (PhraseFailed, TimeoutError) as e:
            failure = e if isinstance(e, PhraseFailed) else PhraseFailed(too_late, f"no answer within {limit_s:.2f} s")
            late = failure.reason in ("timeout", "deadline")
            if not late or limit_s >= _FAIR_S:
                self._breaker.failure(self._clock(), late=late)
            log.warning("sts_failed", status="fallback", reason=failure.reason, message=failure.message)
            raise failure from e
        else:
            self._breaker.success(self._clock(), answer.rtt_ms / 1000, limit_s)
            status = "dubbed" if isinstance(answer, Dubbed) else "no_speech"
            log.info("sts_answered", status=status, sts_rtt_ms=answer.rtt_ms)
            return answer
        finally:
            if self._breaker.state != before:
                log.warning("sts_breaker", state=self._breaker.state)

    async def _with_retries(self, task: _Task, log: Logger) -> Dubbed | NoSpeech:
        for attempt in range(self._settings.retries):
            try:
                return await self._attempt(task)
            except PhraseFailed as e:
                pause_s = max(e.retry_after_s, _BACK_OFF_S * 2**attempt * (0.5 + self._chance()))
                if not e.retryable or self._clock() + pause_s + _LEAST_S > task.ends_at:
                    raise
                log.warning("sts_retry", attempt=attempt + 1, pause_ms=round(pause_s * 1000), message=e.message)
                await asyncio.sleep(pause_s)
        return await self._attempt(task)

    async def _attempt(self, task: _Task) -> Dubbed | NoSpeech:
        started = self._clock()
        try:
            request = self._request(task, task.ends_at - started).model_dump_json().encode()
            status, body, retry_after_s = await self._post(request)
            rtt_ms = round((self._clock() - started) * 1000)
            self._metrics.rtt_ms.observe(rtt_ms)
            if status != httpx2.codes.OK:
                raise _refusal(status, body, retry_after_s)
            return checked(body, task.fragment_id, _longest_ms(task), rtt_ms)
        except Exception as e:
            raise failure_of(e) from e

    def _request(self, task: _Task, left_s: float) -> ProcessRequest:
        return ProcessRequest(
            fragment_id=task.fragment_id,
            stream_id=self._stream_id,
            sequence_number=task.sequence,
            audio=task.audio,
            config=task.languages,
            context=task.context,
            max_duration_ms=min(60_000, max(1, task.room_ms)),
            timeout_ms=min(60_000, max(1, round((left_s - _WAY_BACK_S) * 1000))),
        )

    async def _post(self, request: bytes) -> tuple[int, bytes, float]:
        """Status, body and Retry-After in seconds. The body is refused as soon as it is too large, not after."""
        self._http = self._http or self._connected()
        body = bytearray()
        async with self._http.stream("POST", self._url, content=request) as response:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise PhraseFailed("invalid_output", f"the answer is larger than {MAX_BODY_BYTES} bytes")
            retry_after = response.headers.get("retry-after", "")
            return response.status_code, bytes(body), float(retry_after) if retry_after.isdecimal() else 0.0

    def _connected(self) -> httpx2.AsyncClient:
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if key := self._settings.key.get_secret_value():
            headers["authorization"] = f"Bearer {key}"
        return httpx2.AsyncClient(
            headers=headers,
            timeout=self._settings.timeout_s,  # per read; the deadline of the whole is kept in _watched
            limits=httpx2.Limits(max_connections=self._settings.max_in_flight, keepalive_expiry=_KEEP_ALIVE_S),
            trust_env=False,  # only config.load reads the environment
        )


def _longest_ms(task: _Task) -> int:
    """Speech beyond this is no translation of the phrase."""
    return 3 * max(task.room_ms, task.audio.duration_ms) + 1000


def _refusal(status: int, body: bytes, retry_after_s: float) -> PhraseFailed:
    """What an HTTP status other than 200 means, with the service's words where it has any."""
    code: StsCode = _CODES.get(status, "MODEL_ERROR")
    message, retryable = f"HTTP {status}", status in _TRY_AGAIN
    with suppress(ValidationError):
        error = ProcessError.model_validate_json(body).error
        code, message, retryable = error.code, f"{message} {error.code}: {error.message}", error.retryable
    return PhraseFailed(_REASONS.get(code, "error"), message, retryable=retryable, retry_after_s=retry_after_s)


def failure_of(error: Exception) -> PhraseFailed:
    """What any exception of a request means for its phrase: the one place where foreign exceptions are translated."""
    if isinstance(error, PhraseFailed):
        return error
    text = (str(error) or type(error).__name__).splitlines()[0]
    for kinds, reason, retryable in _MEANING:
        if isinstance(error, kinds):
            return PhraseFailed(reason, f"{type(error).__name__}: {text}", retryable=retryable)
    return PhraseFailed("error", f"{type(error).__name__}: {text}")
