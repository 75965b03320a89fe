"""A speech service on a free port that does what a test asks of it: answers, refuses, hangs, drips, lies."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import numpy as np

from certificates import Certificate
from dubrelay.wire.fragment import PROCESS_PATH, Audio, Metadata, ProcessResult
from servers import server_for
from waiting import wait_for

Send = Callable[[dict[str, Any]], Awaitable[None]]
Behaviour = Callable[[dict[str, Any], Send], Awaitable[None]]


async def until(condition: Callable[[], object], what: str, timeout_s: float = 10) -> None:
    """As waiting.wait_for, on an event loop."""
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, f"waited {timeout_s:g} s for {what}"
        await asyncio.sleep(0.01)


async def respond(send: Send, status: int, body: bytes, **headers: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _raw(headers)})
    await send({"type": "http.response.body", "body": body})


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]


def success(request: dict[str, Any], **changes: Any) -> bytes:
    t = np.arange(24_000, dtype=np.float32) / 24_000
    audio = Audio.from_samples(0.2 * np.sin(2 * np.pi * 300 * t).astype(np.float32), 24_000)
    result = ProcessResult(
        fragment_id=request["fragment_id"], status="success", dubbed_audio=audio, transcript="Hi",
        translated_text="Hola", metadata=Metadata(tts_model="tone"),
    )  # fmt: skip
    return result.model_copy(update=changes).model_dump_json().encode()


async def answers(request: dict[str, Any], send: Send) -> None:
    await respond(send, 200, success(request))


def answers_after(seconds: float) -> Behaviour:
    async def answer(request: dict[str, Any], send: Send) -> None:
        await asyncio.sleep(seconds)
        await answers(request, send)

    return answer


async def hangs(_: dict[str, Any], __: Send) -> None:
    await asyncio.Event().wait()


async def drips(request: dict[str, Any], send: Send) -> None:
    """A byte now and then: no single read ever takes long."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for byte in success(request):
        await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
        await asyncio.sleep(0.05)


async def floods(_: dict[str, Any], send: Send) -> None:
    """50 MB and more."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _i in range(500):
        await send({"type": "http.response.body", "body": b"a" * 1_000_000, "more_body": True})


async def lies_about_the_fragment(request: dict[str, Any], send: Send) -> None:
    await respond(send, 200, success(request, fragment_id="another"))


async def says_nonsense(_: dict[str, Any], send: Send) -> None:
    await respond(send, 200, b"<html>It works!</html>")


async def breaks_off(request: dict[str, Any], send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": _raw({"content_length": "100000"})})
    await send({"type": "http.response.body", "body": success(request)[:100], "more_body": True})
    raise ConnectionAbortedError("the test wants the connection to break here")


def refuses(status: int, code: str | None, *, retryable: bool = False, **headers: str) -> Behaviour:
    async def refuse(request: dict[str, Any], send: Send) -> None:
        error = {"code": code, "stage": None, "message": "as the test wishes", "retryable": retryable}
        body = {"fragment_id": request["fragment_id"], "status": "error", "error": error}
        await respond(send, status, json.dumps(body).encode() if code else b"<html>no</html>", **headers)

    return refuse


class Service:
    """`behaviours` are used one request each; the last one stays."""

    def __init__(self) -> None:
        self.behaviours: list[Behaviour] = [answers]
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.gone = 0
        """Requests whose client closed the connection before it had its answer."""
        self.url = ""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Send
    ) -> None:
        if scope["path"] == "/health":
            await respond(send, 200, b"")
            return
        assert scope["path"] == PROCESS_PATH
        body = b""
        while (message := await receive()).get("more_body", False):
            body += message["body"]
        request = json.loads(body + message["body"])
        self.requests.append(request)
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        behaviour = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
        answer = asyncio.ensure_future(behaviour(request, send))
        gone = asyncio.ensure_future(self._gone(receive))
        await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if answer.done():
            answer.result()
        else:
            self.gone += 1
        answer.cancel()

    @staticmethod
    async def _gone(receive: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


@asynccontextmanager
async def serving(certificate: Certificate | None = None) -> AsyncIterator[Service]:
    """With a certificate over https."""
    service = Service()
    server = server_for(service, certificate)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started, "the service to start")
    port = server.servers[0].sockets[0].getsockname()[1]
    service.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
    try:
        yield service
    finally:
        server.should_exit = True
        await task


class Liar:
    """Such a service in a thread of its own, for tests without an event loop.

    with Liar() as liar: liar.service.behaviours[:] = [hangs]
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._service: Service | None = None
        self._thread = threading.Thread(target=self._run, name="liar", daemon=True)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with serving() as service:
            self._service = service
            await self._over.wait()

    @property
    def service(self) -> Service:
        assert self._service is not None
        return self._service

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self._service, 10, "the lying service")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
