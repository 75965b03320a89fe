"""The clauses about the service as an HTTP server."""

from __future__ import annotations

import io
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any

import httpx2

from dubrelay.sts_check.probe import Answer, Broken, Probe, error_of, json_object
from dubrelay.wire.fragment import ENGINES_PATH, PROCESS_PATH

BODY_BYTES = 50_000_000
ENOUGH_BYTES = 30_000_000
"""Three times what may be read, for what lies in buffers on the way."""
PIECE = b" " * 1_000_000
LOOK_S = 0.01
WAIT_S = 5.0
SERIES = ("sts_requests_total", "sts_stage_seconds", "sts_inflight", "sts_audio_seconds_total")


def health(probe: Probe) -> str:
    answer = probe.ask("GET", "/health", key="")
    if answer.status != 200:
        raise Broken(f"HTTP {answer.status}: {answer.text}")
    return f"200 in {1000 * answer.took_s:.0f} ms"


def engines(probe: Probe) -> str:
    answer = probe.ask("GET", ENGINES_PATH)
    if answer.status != 200:
        raise Broken(f"HTTP {answer.status}: {answer.text}")
    listed = json_object(answer).get("engines")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Broken("there is no list of engines")
    loaded = [one for one in listed if one.get("loaded") is True]
    stages = {one.get("stage") for one in loaded}
    if lacks := {"asr", "mt", "tts"} - stages:
        raise Broken(f"no engine is loaded for {', '.join(sorted(lacks))}")
    for one in loaded:
        for name, kind in (("name", str), ("version", str), ("languages", list)):
            if not isinstance(one.get(name), kind):
                raise Broken(f"{one.get('name')}: {name} = {one.get(name)!r}")
        if one["stage"] == "tts" and not one.get("voices"):
            raise Broken(f"{one['name']}: no voices")
    return ", ".join(dict.fromkeys(one["name"] for one in loaded))


def metrics(probe: Probe) -> str:
    before = _counted(probe)
    body = probe.body(probe.silence)
    probe.post(body)
    if (after := _counted(probe)) <= before:
        raise Broken(f"sts_requests_total stays at {after:g} after a request")
    return ", ".join(SERIES)


def _counted(probe: Probe) -> float:
    answer = probe.ask("GET", "/metrics")
    if answer.status != 200:
        raise Broken(f"HTTP {answer.status}")
    kind = answer.headers.get("content-type", "")
    if not kind.startswith("text/plain"):
        raise Broken(f"as {kind} instead of text/plain")
    lines = [line for line in answer.content.decode("utf-8", "replace").splitlines() if not line.startswith("#")]
    for name in SERIES:
        if not any(line.startswith(name) for line in lines):
            raise Broken(f"there is no {name}")
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("sts_requests_total{"))


def openapi(probe: Probe) -> str:
    answer = probe.ask("GET", "/openapi.json")
    if answer.status != 200:
        raise Broken(f"/openapi.json: HTTP {answer.status}")
    document = json_object(answer)
    operation = document.get("paths", {}).get(PROCESS_PATH, {}).get("post")
    if not str(document.get("openapi", "")).startswith("3.") or not operation:
        raise Broken(f"/openapi.json is not OpenAPI 3 with POST {PROCESS_PATH}")
    if probe.ask("GET", "/docs").status != 200:
        raise Broken("/docs: not there")
    return f"OpenAPI {document['openapi']}"


def methods(probe: Probe) -> str:
    for method, path in [(m, PROCESS_PATH) for m in ("GET", "PUT", "PATCH", "DELETE", "HEAD")] + [("POST", "/health")]:
        answer = probe.ask(method, path)
        if answer.status != 405 or "allow" not in answer.headers:
            allow = answer.headers.get("allow")
            raise Broken(f"{method} {path}: HTTP {answer.status} with Allow: {allow} instead of 405")
        if method != "HEAD":
            error_of(answer, 405, "INVALID_INPUT")
        elif answer.content:
            raise Broken(f"HEAD {path}: answered with a body")
    error_of(probe.ask("GET", "/no-such-path"), 404, "INVALID_INPUT")
    return "405, and 404 for another path"


def keep_alive(probe: Probe) -> str:
    """Also after an error."""
    good, bad = json.dumps(probe.body(probe.silence)).encode(), b"{}"
    statuses = []
    with _connected(probe) as connection:
        connection.connect()
        own = connection.sock
        for content in (good, bad, good):
            connection.request("POST", PROCESS_PATH, content, _headers(probe))
            answer = connection.getresponse()
            answer.read()
            statuses.append(str(answer.status))
            if connection.sock is not own:
                raise Broken(f"the connection is closed after {answer.status}")
    return f"{', '.join(statuses)} on one connection"


def too_large_declared(probe: Probe) -> str:
    """The length says it all: the answer has to come before the body does."""
    with _connected(probe) as connection:
        _begin(connection, probe, f"Content-Length: {BODY_BYTES}")
        connection.sock.sendall(PIECE)
        begun = _received(connection, WAIT_S)
        if not begun:
            raise Broken(f"no answer within {WAIT_S:g} s: it waits for all of {BODY_BYTES} bytes")
        error_of(_answer(connection, begun), 413, "INVALID_INPUT")
    return f"413 after {len(PIECE)} of {BODY_BYTES} bytes"


def too_large_chunked(probe: Probe) -> str:
    """No length is told."""
    sent, begun = 0, b""
    with _connected(probe) as connection:
        _begin(connection, probe, "Transfer-Encoding: chunked")
        while not begun:
            if sent > ENOUGH_BYTES:
                raise Broken(f"no answer after {sent} bytes")
            with suppress(BrokenPipeError, ConnectionResetError):  # the answer may be there all the same
                connection.sock.sendall(b"%x\r\n%s\r\n" % (len(PIECE), PIECE))
            sent += len(PIECE)
            begun = _received(connection, LOOK_S)
        error_of(_answer(connection, begun), 413, "INVALID_INPUT")
    return f"413 after {sent} bytes"


def _received(connection: HTTPConnection, wait_s: float) -> bytes:
    """What has come, waiting so long for it; b"" when nothing has. Over TLS `select` would not tell."""
    connection.sock.settimeout(wait_s)
    try:
        received: bytes = connection.sock.recv(65_536)
    except TimeoutError:
        return b""
    finally:
        connection.sock.settimeout(WAIT_S)
    if not received:
        raise ConnectionResetError("closed without an answer")
    return received


def _headers(probe: Probe) -> dict[str, str]:
    key = {"Authorization": f"Bearer {probe.key}"} if probe.key else {}
    return {"Content-Type": "application/json", **key}


def _begin(connection: HTTPConnection, probe: Probe, length: str) -> None:
    """The head of a request whose body is still to come."""
    connection.putrequest("POST", _path(probe))
    for name, value in _headers(probe).items():
        connection.putheader(name, value)
    name, _, value = length.partition(": ")
    connection.putheader(name, value)
    connection.endheaders()


def _path(probe: Probe) -> str:
    return probe.client.base_url.path.rstrip("/") + PROCESS_PATH


@contextmanager
def _connected(probe: Probe) -> Iterator[HTTPConnection]:
    """A connection that nobody mends. Broken where it breaks."""
    url = probe.client.base_url
    if url.scheme == "https":
        context = probe.verify if isinstance(probe.verify, ssl.SSLContext) else ssl.create_default_context()
        connection: HTTPConnection = HTTPSConnection(url.host, url.port or 443, timeout=WAIT_S, context=context)
    else:
        connection = HTTPConnection(url.host, url.port or 80, timeout=WAIT_S)
    try:
        yield connection
    except (OSError, HTTPException) as e:
        raise Broken(f"the connection broke: {str(e) or type(e).__name__}") from e
    finally:
        connection.close()


def _answer(connection: HTTPConnection, begun: bytes) -> Answer:
    """The answer that begins with these bytes."""
    began = time.monotonic()
    response = HTTPResponse(_Begun(connection.sock, begun), method="POST")  # type: ignore[arg-type]
    response.begin()
    content = response.read()
    return Answer(response.status, httpx2.Headers(response.getheaders()), content, time.monotonic() - began)


class _Begun:
    """A socket of which the beginning was read already."""

    def __init__(self, sock: socket.socket, begun: bytes) -> None:
        self._sock, self._begun = sock, begun

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Rest(self._sock, self._begun))


class _Rest(io.RawIOBase):
    def __init__(self, sock: socket.socket, begun: bytes) -> None:
        self._sock, self._begun = sock, begun

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if not self._begun:
            return self._sock.recv_into(view)
        taken, self._begun = self._begun[: len(view)], self._begun[len(view) :]
        view[: len(taken)] = taken
        return len(taken)
