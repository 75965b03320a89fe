"""An OpenAI-compatible server on a free port, which answers as a test wishes and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import HTTP
from typing import Any, Self

from certificates import Certificate
from servers import server_for
from waiting import wait_for

Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Asked:
    """One request: `body` of a JSON request, `fields` and `files` (name: content) of a form."""

    path: str
    headers: dict[str, str]
    body: Any = None
    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


Answer = Callable[[Asked, Send], Awaitable[None]]


async def respond(send: Send, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


def says(content: object, status: int = 200) -> Answer:
    """`content` as it is when it is bytes, else as JSON."""

    async def answer(_: Asked, send: Send) -> None:
        await respond(send, status, content if isinstance(content, bytes) else json.dumps(content).encode())

    return answer


def refuses(status: int, code: str = "", message: str = "no") -> Answer:
    return says({"error": {"message": message, "type": "", "code": code}}, status)


async def hangs(_: Asked, __: Send) -> None:
    await asyncio.Event().wait()


async def drips(_: Asked, send: Send) -> None:
    """Without end, and no single read takes long."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b" ", "more_body": True})
        await asyncio.sleep(0.02)


async def floods(_: Asked, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _i in range(60):
        await send({"type": "http.response.body", "body": b" " * 1_000_000, "more_body": True})


async def breaks_off(_: Asked, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
    await send({"type": "http.response.body", "body": b"{", "more_body": True})
    raise ConnectionAbortedError("the test wants the connection to break here")


class OpenAiServer:
    """with OpenAiServer(says({"text": "hi"})) as server: ... server.url, server.asked

    The answers are used one request each; the last one stays.
    """

    def __init__(self, *answers: Answer, certificate: Certificate | None = None) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.connections: set[Any] = set()
        self._tls = certificate
        self._server = server_for(self._app, certificate)
        self._thread = threading.Thread(target=self._server.run, name="openai", daemon=True)

    @property
    def url(self) -> str:
        host, port = self._server.servers[0].sockets[0].getsockname()[:2]
        return f"{'https' if self._tls else 'http'}://{host}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self._server.started, 10, "the OpenAI-compatible server")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    async def _app(self, scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Send) -> None:
        content = b""
        while (message := await receive()).get("more_body", False):
            content += message["body"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        asked = _asked(scope["path"], headers, content + message.get("body", b""))
        self.connections.add(tuple(scope["client"]))
        self.asked.append(asked)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answering = asyncio.ensure_future(answer(asked, send))
        leaving = asyncio.ensure_future(_gone(receive))
        await asyncio.wait([answering, leaving], return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if answering.done():
            answering.result()
        answering.cancel()


async def _gone(receive: Callable[[], Awaitable[dict[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _asked(path: str, headers: dict[str, str], content: bytes) -> Asked:
    kind = headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        return Asked(path, headers, json.loads(content) if content else None)
    form = message_from_bytes(f"content-type: {kind}\r\n\r\n".encode() + content, policy=HTTP)
    fields, files = {}, {}
    for part in form.iter_parts():
        name, value = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if part.get_filename():
            files[name] = value
        else:
            fields[name] = value.decode()
    return Asked(path, headers, None, fields, files)
