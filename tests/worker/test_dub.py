from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import httpx2
import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from pydantic import ValidationError
from structlog.testing import capture_logs

import lying_service as does
from dubrelay import config, logs
from dubrelay.wire.fragment import MAX_BODY_BYTES, Context, Languages, ProcessResult
from dubrelay.wire.status import FallbackReason
from dubrelay.worker.cut import Span
from dubrelay.worker.dub import Dubbed, DubClient, DubMetrics, NoSpeech, PhraseFailed, failure_of
from dubrelay.worker.replicas import AGAIN_S
from lying_service import Service, serving

pytestmark = pytest.mark.service

SPAN = Span(48_000, 96_000, True, 52_000, 100_000)
LANGUAGES = Languages(source_language="en", target_language="es")
SOUND = np.zeros(16_000, np.float32)


class Client:
    """A client with its registry, and a phrase to ask for."""

    def __init__(self, *urls: str, **settings: Any) -> None:
        self.registry = CollectorRegistry()
        self.dub_client = DubClient(
            config.StsClient(urls=list(urls), **settings),
            "abc",
            logs.get(),
            DubMetrics(self.registry),
            clock=lambda: time.monotonic() + self.later_s,
        )
        self.sequence, self.later_s = 0, 0.0

    async def ask(self, left_s: float = 5.0, context: Context | None = None) -> Dubbed | NoSpeech:
        self.sequence += 1
        ends = time.monotonic() + left_s
        return await self.dub_client.dub(
            self.sequence, SPAN, SOUND, 1_300, lambda: ends - time.monotonic(), LANGUAGES, context or Context()
        )

    async def fail(self, left_s: float = 5.0) -> PhraseFailed:
        with pytest.raises(PhraseFailed) as caught:
            await self.ask(left_s)
        return caught.value

    def metric(self, name: str) -> float | None:
        return self.registry.get_sample_value(name)


def with_service(scenario: Callable[[Service, Client], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        async with serving() as service:
            client = Client(service.url, **settings)
            try:
                await scenario(service, client)
            finally:
                await client.dub_client.close()

    asyncio.run(run())


def with_services(scenario: Callable[[Client, Service, Service], Awaitable[None]], **settings: Any) -> None:
    """As with_service, with two of them."""

    async def run() -> None:
        async with serving() as first, serving() as second:
            client = Client(first.url, second.url, **settings)
            try:
                await scenario(client, first, second)
            finally:
                await client.dub_client.close()

    asyncio.run(run())


def test_an_answer_comes_back_with_all_that_is_known_of_it() -> None:
    async def scenario(service: Service, client: Client) -> None:
        with capture_logs() as lines:
            answer = await client.ask(context=Context(transcript="before", translated_text="antes", sequence_number=6))
        assert isinstance(answer, Dubbed)
        assert (answer.rate_hz, len(answer.samples), answer.translated_text) == (24_000, 24_000, "Hola")
        (request,) = service.requests
        assert request["audio"]["duration_ms"] == 1000
        assert request["max_duration_ms"] == 1_300
        assert request["context"] == {"transcript": "before", "translated_text": "antes", "sequence_number": 6}
        assert 4_000 < request["timeout_ms"] < 5_000
        assert service.headers[0]["authorization"] == "Bearer a-secret"
        assert client.metric("worker_sts_rtt_ms_count") == 1
        assert client.metric("worker_inflight_fragments") == 0
        (line,) = [x for x in lines if x["event"] == "sts_answered"]
        assert line["fragmentId"] == request["fragment_id"]
        assert (line["sequenceNumber"], line["t0_ms"], line["duration_ms"], line["status"]) == (1, 1000, 1000, "dubbed")
        assert not any("Hola" in str(x) or "a-secret" in str(x) for x in lines)

    with_service(scenario, key="a-secret")


def test_no_speech_is_an_answer() -> None:
    async def nothing_said(request: dict[str, Any], send: does.Send) -> None:
        await does.respond(
            send, 200, ProcessResult(fragment_id=request["fragment_id"], status="no_speech").model_dump_json().encode()
        )

    async def scenario(service: Service, client: Client) -> None:
        service.behaviours = [nothing_said]
        assert isinstance(await client.ask(), NoSpeech)

    with_service(scenario)


@pytest.mark.parametrize(
    ("behaviour", "reason", "requests"),
    [
        (does.refuses(503, "OVERLOADED", retryable=True), "overload", 2),
        (does.refuses(504, "TIMEOUT", retryable=True), "timeout", 2),
        (does.refuses(500, "MODEL_ERROR", retryable=True), "error", 2),
        (does.refuses(500, "MODEL_ERROR"), "error", 1),
        (does.refuses(400, "INVALID_INPUT"), "error", 1),
        (does.refuses(401, "UNAUTHORIZED"), "error", 1),
        (does.refuses(422, "UNSUPPORTED_LANGUAGE"), "error", 1),
        (does.refuses(500, None), "error", 2),
        (does.refuses(502, None), "error", 2),
        (does.refuses(429, None), "overload", 2),
        (does.refuses(404, None), "error", 1),
        (does.refuses(302, None, location="http://127.0.0.1:1/"), "error", 1),
        (does.says_nonsense, "invalid_output", 1),
        (does.lies_about_the_fragment, "invalid_output", 1),
        (does.floods, "invalid_output", 1),
        (does.breaks_off, "error", 2),
    ],
)
def test_each_failure_has_its_reason_and_is_retried_only_where_that_may_help(
    behaviour: does.Behaviour, reason: FallbackReason, requests: int
) -> None:
    async def scenario(service: Service, client: Client) -> None:
        service.behaviours = [behaviour]
        failure = await client.fail()
        assert (failure.reason, len(service.requests)) == (reason, requests), failure.message
        assert len({r["fragment_id"] for r in service.requests}) == 1

    with_service(scenario)


def test_a_retry_that_succeeds_is_a_success_and_is_logged() -> None:
    async def scenario(service: Service, client: Client) -> None:
        service.behaviours = [does.refuses(503, "OVERLOADED", retryable=True), does.answers]
        with capture_logs() as lines:
            assert isinstance(await client.ask(), Dubbed)
        assert [x["event"] for x in lines] == ["sts_retry", "sts_answered"]
        first, second = service.requests
        assert second["timeout_ms"] < first["timeout_ms"]

    with_service(scenario)


def test_no_retry_when_the_service_wants_more_time_than_is_left() -> None:
    async def scenario(service: Service, client: Client) -> None:
        service.behaviours = [does.refuses(503, "OVERLOADED", retryable=True, retry_after="30")]
        began = time.monotonic()
        assert (await client.fail()).reason == "overload"
        assert time.monotonic() - began < 2
        assert len(service.requests) == 1

    with_service(scenario)


@pytest.mark.parametrize("behaviour", [does.hangs, does.drips])
@pytest.mark.parametrize(("left_s", "timeout_s", "reason"), [(0.5, 8, "deadline"), (30, 0.5, "timeout")])
def test_neither_silence_nor_dripping_bytes_pass_the_deadline(
    behaviour: does.Behaviour, left_s: float, timeout_s: float, reason: FallbackReason
) -> None:
    async def scenario(service: Service, client: Client) -> None:
        service.behaviours = [behaviour]
        began = time.monotonic()
        assert (await client.fail(left_s)).reason == reason
        assert 0.4 < time.monotonic() - began < 1.5

    with_service(scenario, timeout_s=timeout_s, retries=0)


def test_a_phrase_that_is_too_late_already_is_not_asked_for() -> None:
    async def scenario(service: Service, client: Client) -> None:
        assert (await client.fail(left_s=0.05)).reason == "deadline"
        assert service.requests == []

    with_service(scenario)


def test_more_than_may_be_in_flight_are_refused_at_once() -> None:
    async def scenario(service: Service, client: Client) -> None:
        service.behaviours = [does.hangs]
        tasks = [asyncio.create_task(client.fail(left_s=1)) for _ in range(6)]
        await does.until(lambda: len(service.requests) == 4, "four requests")
        assert client.metric("worker_inflight_fragments") == 4
        reasons = [(await task).reason for task in tasks]
        assert reasons == ["deadline"] * 4 + ["overload"] * 2
        assert len(service.requests) == 4
        assert client.metric("worker_inflight_fragments") == 0

    with_service(scenario)


def test_answers_may_overtake_one_another() -> None:
    async def scenario(service: Service, client: Client) -> None:
        held = asyncio.Event()

        async def waits(request: dict[str, Any], send: does.Send) -> None:
            await held.wait()
            await does.answers(request, send)

        service.behaviours = [waits, does.answers]
        slow = asyncio.create_task(client.ask())
        await does.until(lambda: service.requests, "a request")
        assert isinstance(await client.ask(), Dubbed)
        assert not slow.done()
        held.set()
        assert isinstance(await slow, Dubbed)

    with_service(scenario)


def test_a_service_that_says_what_is_wrong_with_the_request_is_well() -> None:
    async def scenario(service: Service, client: Client) -> None:
        service.behaviours = 8 * [does.refuses(422, "UNSUPPORTED_LANGUAGE")] + [does.answers]
        for _ in range(8):
            assert (await client.fail()).reason == "error"
        assert client.metric("worker_sts_breaker_state") == 0
        assert isinstance(await client.ask(), Dubbed)

    with_service(scenario, breaker_failures=5)


def test_the_breaker_opens_after_five_failures_and_one_probe_closes_it() -> None:
    async def scenario(service: Service, client: Client) -> None:
        service.behaviours = [does.refuses(500, "MODEL_ERROR")]
        for _ in range(5):
            assert (await client.fail()).reason == "error"
        assert client.metric("worker_sts_breaker_state") == 2
        assert (await client.fail()).reason == "breaker_open"
        assert len(service.requests) == 5
        service.behaviours = [does.answers]
        async with asyncio.timeout(5):
            while True:
                try:
                    await client.ask()
                    break
                except PhraseFailed as e:
                    assert e.reason == "breaker_open"
                    await asyncio.sleep(0.02)
        assert len(service.requests) == 6
        assert client.metric("worker_sts_breaker_state") == 0

    with_service(scenario, breaker_open_s=0.5)


def test_a_service_that_is_not_there_fails_at_once_and_is_tried_twice() -> None:
    async def run() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            client = Client(f"http://127.0.0.1:{unused.getsockname()[1]}")
            began = time.monotonic()
            with capture_logs() as lines:
                assert (await client.fail()).reason == "error"
            assert time.monotonic() - began < 2
            assert [x["event"] for x in lines] == ["sts_retry", "sts_failed"]
            await client.dub_client.close()

    asyncio.run(run())


def test_a_service_that_comes_back_is_used_again_over_a_new_connection() -> None:
    async def scenario(service: Service, client: Client) -> None:
        service.behaviours = [does.answers, does.breaks_off, does.answers]
        for _ in range(2):
            assert isinstance(await client.ask(), Dubbed)
        assert len(service.requests) == 3

    with_service(scenario)


def test_a_flood_is_refused_while_it_comes_in() -> None:
    async def scenario(service: Service, client: Client) -> None:
        sent = 0

        async def counted(request: dict[str, Any], send: does.Send) -> None:
            async def count(message: dict[str, Any]) -> None:
                nonlocal sent
                await send(message)
                sent += len(message.get("body", b""))

            await does.floods(request, count)

        service.behaviours = [counted]
        assert (await client.fail(left_s=20)).reason == "invalid_output"
        assert sent < 3 * MAX_BODY_BYTES

    with_service(scenario)


@pytest.mark.parametrize("behaviour", [does.hangs, does.drips])
def test_a_request_is_given_up_on_the_wire_when_its_deadline_has_passed(behaviour: does.Behaviour) -> None:
    async def scenario(service: Service, client: Client) -> None:
        service.behaviours = [behaviour, does.answers]
        assert (await client.fail(left_s=2.0)).reason == "deadline"
        await does.until(lambda: service.gone == 1, "the service to notice")
        assert isinstance(await client.ask(), Dubbed)

    with_service(scenario)


def test_closing_gives_up_what_is_in_flight() -> None:
    async def scenario(service: Service, client: Client) -> None:
        service.behaviours = [does.hangs]
        asked = [asyncio.create_task(client.ask(left_s=40)) for _ in range(3)]
        await does.until(lambda: len(service.requests) == 3, "three requests")
        await client.dub_client.close()
        assert all(task.cancelled() for task in asked)
        await does.until(lambda: service.gone == 3, "the service to notice")
        assert client.metric("worker_inflight_fragments") == 0

    with_service(scenario, timeout_s=40)


def test_services_share_the_phrases_and_the_bound_is_over_all() -> None:
    async def scenario(client: Client, first: Service, second: Service) -> None:
        first.behaviours = second.behaviours = [does.hangs]
        asked = [asyncio.create_task(client.ask()) for _ in range(4)]
        await does.until(lambda: len(first.requests) == len(second.requests) == 2, "two requests each")
        assert (await client.fail()).reason == "overload"
        await client.dub_client.close()
        assert all(task.cancelled() for task in asked)

    with_services(scenario, key="a-secret")


def test_a_retry_goes_to_another_service_at_once() -> None:
    async def scenario(client: Client, first: Service, second: Service) -> None:
        first.behaviours = [does.refuses(503, "OVERLOADED", retryable=True, retry_after="30")]
        with capture_logs() as lines:
            assert isinstance(await client.ask(), Dubbed)
        assert [x["event"] for x in lines] == ["sts_retry", "sts_answered"]
        assert (lines[0]["pause_ms"], lines[0]["service"]) == (0, first.url + "/")
        assert [r["fragment_id"] for r in first.requests] == [r["fragment_id"] for r in second.requests]
        assert [h["authorization"] for h in (*first.headers, *second.headers)] == ["Bearer a-secret"] * 2

    with_services(scenario, key="a-secret")


def test_a_service_that_is_not_there_costs_no_phrase() -> None:
    async def run() -> None:
        async with serving() as service:
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                client = Client(f"http://127.0.0.1:{unused.getsockname()[1]}", service.url)
                with capture_logs() as lines:
                    for _ in range(5):
                        assert isinstance(await client.ask(), Dubbed)
                assert [x["event"] for x in lines].count("sts_retry") == 1
                await client.dub_client.close()

    asyncio.run(run())


def test_a_machine_that_does_not_even_refuse_costs_no_phrase() -> None:
    async def run() -> None:
        async with serving() as service:
            with socket.socket() as full, socket.socket() as waiting:
                full.bind(("127.0.0.1", 0))
                full.listen(0)
                waiting.connect(full.getsockname())  # from now on the kernel drops who knocks
                client = Client(f"http://127.0.0.1:{full.getsockname()[1]}", service.url)
                assert isinstance(await client.ask(), Dubbed)
                await client.dub_client.close()

    asyncio.run(run())


def test_a_phrase_that_hangs_moves_to_another_service_while_there_is_time() -> None:
    async def scenario(client: Client, first: Service, second: Service) -> None:
        first.behaviours, second.behaviours = [does.answers, does.hangs], [does.answers_after(0.2)]
        for _ in range(2):  # now it is known how quick they are
            assert isinstance(await client.ask(), Dubbed)
        with capture_logs() as lines:
            assert isinstance(await client.ask(left_s=2), Dubbed)
        (retry,) = [x for x in lines if x["event"] == "sts_retry"]
        assert (retry["service"], retry["reason"]) == (first.url + "/", "timeout")
        await does.until(lambda: first.gone == 1, "the first one to notice")
        assert isinstance(await client.ask(), Dubbed)
        assert len(first.requests) == 2

    with_services(scenario)


def test_a_service_that_failed_is_tried_with_a_copy_that_nobody_waits_for() -> None:
    async def scenario(client: Client, first: Service, second: Service) -> None:
        first.behaviours = [does.refuses(500, "MODEL_ERROR", retryable=True), does.hangs, does.answers]
        said: list[str] = []
        for copies in range(3):
            with capture_logs() as lines:
                assert isinstance(await client.ask(left_s=1.5), Dubbed)
                await does.until(partial(told, lines, copies), "what became of the copy")
            said += [x["message"] for x in tried(lines)]
            client.later_s += AGAIN_S
        assert said == ["no answer within 1.50 s", "it answers"]
        assert (len(first.requests), first.gone) == (3, 1)
        assert [r["fragment_id"] for r in first.requests] == [r["fragment_id"] for r in second.requests]
        first.behaviours = second.behaviours = [does.hangs]
        asked = [asyncio.create_task(client.ask()) for _ in range(2)]
        await does.until(lambda: len(first.requests) == len(second.requests) == 4, "one request each")
        await client.dub_client.close()
        assert all(task.cancelled() for task in asked)

    def tried(lines: list[Any]) -> list[Any]:
        return [x for x in lines if x["event"] == "sts_tried_again"]

    def told(lines: list[Any], copies: int) -> bool:
        return len(tried(lines)) == min(copies, 1)

    with_services(scenario)


def test_a_copy_makes_room_for_a_phrase() -> None:
    async def scenario(client: Client, first: Service, second: Service) -> None:
        first.behaviours = [does.refuses(500, "MODEL_ERROR", retryable=True), does.hangs]
        assert isinstance(await client.ask(left_s=40), Dubbed)
        client.later_s = AGAIN_S
        assert isinstance(await client.ask(left_s=40), Dubbed)
        await does.until(lambda: len(first.requests) == 2, "the copy")
        second.behaviours = [does.hangs]
        asked = asyncio.create_task(client.ask(left_s=40))
        await does.until(lambda: first.gone == 1, "the copy to be given up")
        assert not asked.done()
        await client.dub_client.close()

    with_services(scenario, max_in_flight=1, timeout_s=40)


def test_the_breakers_are_apart_named_in_the_log_and_the_best_one_is_shown() -> None:
    async def scenario(client: Client, first: Service, second: Service) -> None:
        first.behaviours = second.behaviours = [does.refuses(500, "MODEL_ERROR")]
        with capture_logs() as lines:
            states = []
            for _ in range(5):
                await client.fail()
                states.append(client.metric("worker_sts_breaker_state"))
            second.behaviours = [does.answers]
            assert isinstance(await client.ask(), Dubbed)
            second.behaviours = [does.refuses(500, "MODEL_ERROR")]
            for _ in range(3):
                await client.fail()
        opened = [x["service"] for x in lines if x["event"] == "sts_breaker" and x["state"] == "open"]
        assert states == [0, 0, 0, 0, 0]
        assert opened == [first.url + "/", second.url + "/"]
        assert client.metric("worker_sts_breaker_state") == 2
        assert (await client.fail()).reason == "breaker_open"

    with_services(scenario, breaker_failures=3)


def every(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(every(sub) for sub in kind.__subclasses__()))


def made(kind: type[Exception]) -> Exception:
    """An exception of that kind, whatever its constructor wants."""
    error = kind.__new__(kind)
    Exception.__init__(error, "words")
    return error


FOREIGN = sorted(
    every(httpx2.HTTPError) | every(httpx2.StreamError) | {httpx2.InvalidURL, httpx2.CookieConflict},
    key=lambda kind: kind.__name__,
)
EXPECTED: dict[str, tuple[FallbackReason, bool]] = {
    **dict.fromkeys(
        ["TimeoutException", "ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout"], ("timeout", True)
    ),
    **dict.fromkeys(
        ["TransportError", "NetworkError", "ConnectError", "ReadError", "WriteError", "CloseError", "ProxyError"],
        ("error", True),
    ),
    **dict.fromkeys(["ProtocolError", "RemoteProtocolError", "SSEError"], ("error", True)),
    **dict.fromkeys(["LocalProtocolError", "UnsupportedProtocol", "TooManyRedirects"], ("error", False)),
    **dict.fromkeys(["HTTPError", "RequestError", "HTTPStatusError", "InvalidURL", "CookieConflict"], ("error", False)),
    **dict.fromkeys(
        ["StreamError", "StreamConsumed", "StreamClosed", "ResponseNotRead", "RequestNotRead"], ("error", False)
    ),
    "DecodingError": ("invalid_output", False),
}


@pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: kind.__name__)
def test_every_exception_of_the_http_client_is_translated(kind: type[Exception]) -> None:
    failure = failure_of(made(kind))
    assert (failure.reason, failure.retryable) == EXPECTED[kind.__name__]


def test_exceptions_from_elsewhere_are_translated() -> None:
    with pytest.raises(ValidationError) as caught:
        ProcessResult.model_validate_json(b"{}")
    assert failure_of(caught.value).reason == "invalid_output"
    assert failure_of(TimeoutError()).reason == "timeout"
    assert failure_of(ConnectionResetError("gone")).retryable
    assert failure_of(UnicodeError("odd host")).reason == "error"
    same = PhraseFailed("overload", "x")
    assert failure_of(same) is same
