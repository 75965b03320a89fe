"""Connections on which nothing is asked, by the hundred: the next good request is served all the same."""

from __future__ import annotations

import asyncio
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.requests import Request

from dubrelay import connections
from dubrelay.connections import SPARE_FILES, Connection
from dubrelay.errors import StsError
from dubrelay.orchestrator.app import OrchestratorConnection
from dubrelay.sts.app import StsConnection
from dubrelay.sts.body import limited
from dubrelay.wire.fragment import ProcessError
from running_sts import MOCK, RunningSts
from waiting import wait_for

pytestmark = pytest.mark.service

Address = tuple[str, int]
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"


async def answers(scope: Any, receive: Any, send: Any) -> None:
    """`done` once the whole body is there."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"done"})


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    with serving() as there:
        yield there


@contextmanager
def serving(kind: type[Connection] = StsConnection, app: Any = answers) -> Iterator[Address]:
    server = uvicorn.Server(uvicorn.Config(app, interface="asgi3", http=kind, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started, 20, "the server to listen")
        yield server.servers[0].sockets[0].getsockname()
    finally:
        server.should_exit = True
        thread.join(20)


def read(connection: socket.socket) -> bytes:
    """Empty when it was closed."""
    try:
        return connection.recv(4096)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n"], ids=["nothing", "half a head"])
def test_a_connection_on_which_nothing_is_asked_is_closed(address: Address, sent: bytes) -> None:
    with socket.create_connection(address, 5) as connection:
        connection.sendall(sent)
        assert read(connection) == b""


def test_half_a_head_after_an_answer_is_not_waited_for_without_end(address: Address) -> None:
    with socket.create_connection(address, 5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200 OK" in read(connection)
        connection.sendall(b"GET / HTTP")
        while answer := read(connection):
            assert answer in (b"done",)


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", HEAD[:-2] + b"Content-Length: 6\r\n\r\n"],
    ids=["no HTTP", "no host", "two lengths"],
)
def test_what_is_no_http_is_refused_in_the_shape_of_every_error(address: Address, sent: bytes) -> None:
    with socket.create_connection(address, 5) as connection:
        connection.sendall(sent)
        head, _, body = whole(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"connection: close" in head.lower()
    error = ProcessError.model_validate_json(body, strict=True)
    assert (error.fragment_id, error.error.code) == ("", "INVALID_INPUT")


def test_nonsense_after_an_answer_closes_the_connection_and_raises_nothing(tmp_path: Path) -> None:
    with (
        RunningSts(tmp_path, **MOCK) as sts,
        socket.create_connection((sts.settings.host, sts.settings.port), 5) as connection,
    ):
        connection.sendall(b"POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert read(connection).startswith(b"HTTP/1.1 404 ")
        connection.sendall(b"zz\r\n")
        whole(connection)
    assert "Traceback" not in (tmp_path / "sts.log").read_text()


def whole(connection: socket.socket) -> bytes:
    """What comes until it is closed."""
    return b"".join(iter(lambda: read(connection), b""))


def test_a_body_may_take_longer_than_a_head(address: Address) -> None:
    with socket.create_connection(address, 5) as connection:
        connection.sendall(HEAD)
        connection.settimeout(1.5)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.sendall(b"12345")
        assert b"200 OK" in read(connection)


def test_an_answer_that_nobody_takes_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWERED_S", 0.5)
    with serving() as there, socket.create_connection(there, 5) as connection:
        connection.sendall(HEAD)
        assert read(connection) == b""


async def goes_on(scope: Any, receive: Any, send: Any) -> None:
    """An answer without end, for as long as there is a client."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    gone = asyncio.ensure_future(receive())
    while not gone.done():
        sending = asyncio.ensure_future(send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True}))
        await asyncio.wait([gone, sending], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0.01)


def test_an_answer_that_has_begun_may_go_on_where_it_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWERED_S", 0.3)
    for kind, ends in ((OrchestratorConnection, False), (StsConnection, True)):
        with serving(kind, goes_on) as there, socket.create_connection(there, 5) as connection:
            connection.sendall(HEAD + b"12345")
            until = time.monotonic() + 1.0
            while (more := read(connection)) and time.monotonic() < until:
                pass
            assert (more == b"") == ends


def test_what_does_not_begin_is_not_waited_for_where_it_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWERED_S", 0.3)
    with serving(OrchestratorConnection, goes_on) as there, socket.create_connection(there, 5) as connection:
        connection.sendall(HEAD)  # and no body
        assert read(connection) == b""


def test_an_answer_whose_client_takes_nothing_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "TAKEN_S", 0.3)
    gone = threading.Event()

    async def until_gone(scope: Any, receive: Any, send: Any) -> None:
        await goes_on(scope, receive, send)
        gone.set()

    with serving(OrchestratorConnection, until_gone) as there, socket.create_connection(there, 5) as connection:
        connection.sendall(HEAD + b"12345")
        assert gone.wait(20)


def test_a_body_that_does_not_come_is_a_timeout() -> None:
    async def never() -> dict[str, Any]:
        return await asyncio.Event().wait()  # type: ignore[return-value]

    request = Request({"type": "http", "headers": []}, never)
    with pytest.raises(StsError) as caught:
        asyncio.run(limited(request, within_s=0.05))
    assert (caught.value.code, caught.value.message) == ("TIMEOUT", "the body was not there within 0.05 s")


@pytest.mark.parametrize(
    ("files", "expected"), [(resource.RLIM_INFINITY, 1000), (1 << 20, 1000), (1024, 1024 - SPARE_FILES), (256, 64)]
)
def test_there_are_as_many_connections_as_files_are_left(
    files: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert connections.most() == expected


@pytest.mark.parametrize(
    ("limits", "expected"),
    [((1024, 500_000), (8192, 500_000)), ((256, 1024), (1024, 1024)), ((10_000, 20_000), (10_000, 20_000))],
)
def test_as_many_files_may_be_open_as_the_machine_allows_and_no_fewer_than_before(
    limits: tuple[int, int], expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [limits]
    monkeypatch.setattr(resource, "getrlimit", lambda _: now[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, to: now.append(to))
    connections.allow_files()
    assert now[-1] == expected


def test_hundreds_of_idle_connections_keep_nobody_out(tmp_path: Path) -> None:
    with RunningSts(tmp_path, **MOCK) as sts, ExitStack() as held:
        assert sts.process is not None
        resource.prlimit(sts.process.pid, resource.RLIMIT_NOFILE, (SPARE_FILES + 80, SPARE_FILES + 80))
        for _ in range(2 * SPARE_FILES):
            held.enter_context(socket.create_connection((sts.settings.host, sts.settings.port), 5))
        assert httpx2.get(f"{sts.url}/health", timeout=5, trust_env=False).status_code == 200
    assert "out of system resource" not in (tmp_path / "sts.log").read_text()
