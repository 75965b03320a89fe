"""The client of the STS services: one phrase in, dubbed speech or a reason out, always before its deadline.

A phrase is sent to one service at a time (replicas.py says which). What is given up is given up on the wire as well:
the connection is closed, so that the service can stop working for nobody.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

import httpx2
import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Gauge, Histogram
from pydantic import ValidationError

from dubrelay import config
from dubrelay.audio import RATE_HZ, time_of
from dubrelay.errors import StsCode, first_line
from dubrelay.logs import Logger
from dubrelay.trust import verification
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
from dubrelay.worker.breaker import STATE_NUMBER
from dubrelay.worker.cut import Span
from dubrelay.worker.replicas import Replica, Replicas

__all__ = ["DubClient", "DubMetrics", "Dubbed", "NoSpeech", "PhraseFailed", "failure_of"]

_LEAST_S = 0.1
"""With less time than this left there is no use in asking."""
_FAIR_S = 1.0
"""A service that does not answer in less than this has not failed."""
_WAY_BACK_S = 0.05
"""What the service is told to leave of the time for the answer's way."""
_BACK_OFF_S = 0.2
"""Before the same service is asked again."""
_CONNECT_S = 2.0
"""A machine that takes no connection within this is not there; one lost packet costs a second."""
_KEEP_ALIVE_S = 60.0
_RTT_MS = (50, 100, 200, 300, 500, 750, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 12000)

Mono = npt.NDArray[np.float32]

_REASONS: dict[StsCode, FallbackReason] = {"TIMEOUT": "timeout", "OVERLOADED": "overload"}
_CODES: dict[int, StsCode] = {
    **{status: code for code, status in HTTP_STATUS.items()},
    413: "INVALID_INPUT",
    429: "OVERLOADED",
}
_TRY_AGAIN = (429, 500, 502, 503, 504)
"""Without an error body of ours: that is of what stands before the service. Ray Serve says 500 where a replica dies."""
_MEANING: list[tuple[tuple[type[Exception], ...], FallbackReason, bool]] = [
    ((ValidationError, httpx2.DecodingError), "invalid_output", False),
    ((httpx2.TimeoutException, TimeoutError), "timeout", True),
    ((httpx2.LocalProtocolError, httpx2.UnsupportedProtocol), "error", False),
    ((httpx2.TransportError, OSError), "error", True),
]
"""Exception, reason, whether to try again; the first that fits."""
_WITHOUT_TLS = ("[SSL: WRONG_VERSION_NUMBER]", "[SSL: RECORD_LAYER_FAILURE]")
"""What OpenSSL says, by its version, of an answer in plain HTTP."""


class DubMetrics:
    """What the client counts (contracts, section 5), on the worker's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.in_flight = Gauge("worker_inflight_fragments", "Phrases that are being dubbed", registry=registry)
        self.breaker_state = Gauge(
            "worker_sts_breaker_state", "0 closed, 1 half-open, 2 open: the best of all services", registry=registry
        )
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
    too_late: FallbackReason
    """What it means when that time has come."""


class DubClient:
    """One stream's client; used on one event loop. Nothing that a service does is felt longer than the deadline.

    ConfigError when the CAs that are to be trusted cannot be read.
    """

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
        self._replicas = Replicas(settings.urls, settings.breaker_failures, settings.breaker_open_s)
        self._asking: set[asyncio.Task[object]] = set()
        self._trial: asyncio.Task[None] | None = None
        self._http = self._connections()

    async def close(self) -> None:
        """Nobody waits any more: what is on its way is given up, and every connection is closed."""
        leaving = [*self._asking, *([self._trial] if self._trial else [])]
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        await self._http.aclose()

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

        Returns or raises PhraseFailed within min(timeout_s, time_left_s()), retries included. Cancelling it closes the
        connection.
        """
        if len(self._asking) >= self._settings.max_in_flight:
            raise PhraseFailed("overload", f"{len(self._asking)} phrases are being dubbed already")
        left_s = time_left_s()
        if left_s < _LEAST_S:
            raise PhraseFailed("deadline", f"only {left_s:.2f} s were left when the phrase had been heard")
        service = self._replicas.take(self._clock())
        if service is None:
            raise PhraseFailed("breaker_open", "the speech service failed too often; waiting before it is asked again")
        limit_s = min(self._settings.timeout_s, left_s)
        task = _Task(
            fragment_id or uuid.uuid4().hex,
            sequence,
            Audio.from_samples(samples, fragment.RATE_HZ),
            room_ms,
            languages,
            context,
            self._clock() + limit_s,
            "deadline" if left_s <= limit_s else "timeout",
        )
        log = self._log.bind(
            fragmentId=task.fragment_id,
            sequenceNumber=sequence,
            t0_ms=time_of(span.start) // 10**6,
            duration_ms=len(span) * 1000 // RATE_HZ,
        )
        async with self._counted():
            answer = await self._answer(task, service, log)
        self._try_another(task, limit_s, log)
        return answer

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        asking = asyncio.current_task()
        assert asking is not None
        self._asking.add(asking)
        if self._trial and len(self._asking) >= self._settings.max_in_flight:
            self._trial.cancel()
        self._show()
        try:
            yield
        finally:
            self._asking.discard(asking)
            self._show()

    def _show(self) -> None:
        self._metrics.in_flight.set(len(self._asking))
        self._metrics.breaker_state.set(STATE_NUMBER[self._replicas.state])

    async def _answer(self, task: _Task, service: Replica, log: Logger) -> Dubbed | NoSpeech:
        """Of `service`; when that fails, of another one at once, where one may be asked, or of the same after a pause.

        Each is told once how it went: a failure that a retry at the same service made good is none.
        """
        asked, began, attempt = [service], self._clock(), 1
        while True:
            until = self._wait_until(task, asked, attempt)
            try:
                answer = await self._attempt(task, service, until)
                break
            except PhraseFailed as e:
                following, pause_s = self._following(task, asked, attempt, e)
                why = {"service": service.name, "reason": e.reason, "message": e.message}
                if following is not service:
                    self._tell(service, until - began, e, log)
                if following is None:
                    log.warning("sts_failed", status="fallback", **why)
                    raise
                log.warning("sts_retry", attempt=attempt, pause_ms=round(pause_s * 1000), **why)
                await asyncio.sleep(pause_s)
                if following is not service:
                    asked.append(following)
                    service, began = following, self._clock()
                attempt += 1
        self._tell(service, until - began, answer, log)
        status = "dubbed" if isinstance(answer, Dubbed) else "no_speech"
        log.info("sts_answered", service=service.name, status=status, sts_rtt_ms=answer.rtt_ms)
        return answer

    def _wait_until(self, task: _Task, asked: Sequence[Replica], attempt: int) -> float:
        """Until when an attempt may take: with a retry left, another service may want some of the time."""
        if attempt > self._settings.retries:
            return task.ends_at
        return self._replicas.wait_until(self._clock(), task.ends_at, asked)

    def _following(
        self, task: _Task, asked: Sequence[Replica], attempt: int, failure: PhraseFailed
    ) -> tuple[Replica | None, float]:
        """Who is asked after a failure, and after how long a pause."""
        now = self._clock()
        if attempt > self._settings.retries or not failure.retryable or now + _LEAST_S > task.ends_at:
            return None, 0.0
        if other := self._replicas.take(now, but=asked):
            return other, 0.0
        pause_s = max(failure.retry_after_s, _BACK_OFF_S * 2 ** (attempt - 1) * (0.5 + self._chance()))
        return (asked[-1], pause_s) if now + pause_s + _LEAST_S <= task.ends_at else (None, 0.0)

    def _tell(self, service: Replica, budget_s: float, outcome: Dubbed | NoSpeech | PhraseFailed, log: Logger) -> None:
        """How it went at `service`, which had `budget_s` for it."""
        now, before = self._clock(), service.breaker.state
        if isinstance(outcome, PhraseFailed) and outcome.of_request:
            service.refused(now)
        elif isinstance(outcome, PhraseFailed):
            late = outcome.reason in ("timeout", "deadline")
            if not late or budget_s >= _FAIR_S:
                service.failed(now, late=late)
        else:
            service.answered(now, outcome.rtt_ms / 1000, budget_s)
        if service.breaker.state != before:
            log.warning("sts_breaker", service=service.name, state=service.breaker.state)
        self._show()

    def _try_another(self, task: _Task, limit_s: float, log: Logger) -> None:
        """Sends a copy of an answered phrase to a service that failed before, if it is time to; nobody waits for it."""
        if self._trial and not self._trial.done():
            return
        if service := self._replicas.take_due(self._clock()):
            copy = replace(task, ends_at=self._clock() + limit_s)
            self._trial = asyncio.create_task(self._tried(copy, service, limit_s, log))

    async def _tried(self, copy: _Task, service: Replica, limit_s: float, log: Logger) -> None:
        try:
            answer = await self._attempt(copy, service, copy.ends_at)
        except PhraseFailed as e:
            log.info("sts_tried_again", service=service.name, message=e.message)
            self._tell(service, limit_s, e, log)
        else:
            log.info("sts_tried_again", service=service.name, message="it answers")
            self._tell(service, limit_s, answer, log)

    async def _attempt(self, task: _Task, service: Replica, until: float) -> Dubbed | NoSpeech:
        started = self._clock()
        limit = asyncio.timeout(until - started)
        try:
            with service.asked(started):
                async with limit:
                    # All the time there is, even if another service shall have the last of it: to hurry costs voice.
                    request = self._request(task, task.ends_at - started).model_dump_json(exclude_none=True).encode()
                    status, body, retry_after_s = await self._post(service.url, request, until - started)
            rtt_ms = round((self._clock() - started) * 1000)
            self._metrics.rtt_ms.observe(rtt_ms)
            if status != httpx2.codes.OK:
                raise _refusal(status, body, retry_after_s)
            return checked(body, task.fragment_id, _longest_ms(task), rtt_ms)
        except Exception as e:
            if limit.expired():
                reason = task.too_late if until == task.ends_at else "timeout"
                raise PhraseFailed(reason, f"no answer within {until - started:.2f} s", retryable=True) from e
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

    async def _post(self, url: str, request: bytes, limit_s: float) -> tuple[int, bytes, float]:
        """Status, body and Retry-After in seconds. The body is refused as soon as it is too large, not after."""
        body = bytearray()
        url = url.rstrip("/") + PROCESS_PATH
        # TCP and TLS may each take so long. Half of the time at most: the library forgets a connection that is
        # cancelled in its handshake, instead of closing it.
        timeout = httpx2.Timeout(None, connect=min(_CONNECT_S, limit_s / 2))
        async with self._http.stream("POST", url, content=request, timeout=timeout) as response:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise PhraseFailed("invalid_output", f"the answer is larger than {MAX_BODY_BYTES} bytes")
            retry_after = response.headers.get("retry-after", "")
            return response.status_code, bytes(body), float(retry_after) if retry_after.isdecimal() else 0.0

    def _connections(self) -> httpx2.AsyncClient:
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if key := self._settings.key.get_secret_value():
            headers["authorization"] = f"Bearer {key}"
        most = self._settings.max_in_flight * len(self._settings.urls)  # none is closed to make room for another
        return httpx2.AsyncClient(
            headers=headers,
            verify=verification(self._settings.ca_file),
            limits=httpx2.Limits(max_connections=most, keepalive_expiry=_KEEP_ALIVE_S),
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
    return PhraseFailed(
        _REASONS.get(code, "error"),
        message,
        retryable=retryable,
        retry_after_s=retry_after_s,
        of_request=code in ("INVALID_INPUT", "UNSUPPORTED_LANGUAGE"),
    )


def failure_of(error: Exception) -> PhraseFailed:
    """What any exception of a request means for its phrase: the one place where foreign exceptions are translated."""
    if isinstance(error, PhraseFailed):
        return error
    text = f"{type(error).__name__}: {first_line(error)}"
    if any(words in text for words in _WITHOUT_TLS):
        text = (
            "the service of an https URL answers without TLS: name it with http in sts_client.urls, or have it use TLS"
        )
    for kinds, reason, retryable in _MEANING:
        if isinstance(error, kinds):
            return PhraseFailed(reason, text, retryable=retryable)
    return PhraseFailed("error", text)
