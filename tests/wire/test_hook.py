from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from dubrelay.wire import hook

EVENT = {
    "MTX_PATH": "live/abc/in",
    "MTX_QUERY": "lang%3Des%26voice%3Da%252Bb",
    "MTX_SOURCE_TYPE": "rtmpConn",
    "MTX_SOURCE_ID": "84cc",
}


@pytest.mark.unit
def test_the_query_is_decoded_once() -> None:
    assert hook.event_from(EVENT) == hook.HookEvent("live/abc/in", "lang=es&voice=a%2Bb", "rtmpConn", "84cc")


@dataclass
class Listener:
    status: int = 202
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def listener() -> Iterator[Listener]:
    heard = Listener()

    class Responder(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.requests.append((self.path, dict(self.headers), json.loads(body)))
            self.send_response(heard.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Responder) as server:
        heard.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield heard
        server.shutdown()


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """As MediaMTX runs it: isolated, without site packages, nothing but the event in the environment."""
    return subprocess.run(
        [sys.executable, "-I", "-S", hook.__file__, *arguments],
        env={"PATH": os.environ["PATH"], **EVENT, **environment},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )


@pytest.mark.service
@pytest.mark.parametrize("name", ["ready", "not-ready"])
def test_the_script_posts_the_event_with_its_token(listener: Listener, name: str) -> None:
    result = run(name, DUBRELAY_HOOK_URL=listener.url, DUBRELAY_HOOK_TOKEN="secret")
    assert (result.returncode, result.stderr) == (0, "")
    [(path, headers, body)] = listener.requests
    assert path == f"/v1/mediamtx/events/{name}"
    assert headers["X-Hook-Token"] == "secret"
    assert body == {
        "path": "live/abc/in",
        "query": "lang=es&voice=a%2Bb",
        "sourceType": "rtmpConn",
        "sourceId": "84cc",
    }


@pytest.mark.service
def test_without_a_token_none_is_sent(listener: Listener) -> None:
    assert run("ready", DUBRELAY_HOOK_URL=listener.url).returncode == 0
    assert "X-Hook-Token" not in listener.requests[0][1]


@pytest.mark.service
@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_refusal_is_one_line_and_exit_code_1(listener: Listener, status: int) -> None:
    listener.status = status
    result = run("ready", DUBRELAY_HOOK_URL=listener.url)
    assert (result.returncode, result.stderr) == (1, f"hook ready: OSError: the orchestrator answered {status}\n")


@pytest.mark.service
@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ((), {}),
        (("other",), {}),
        (("ready", "ready"), {}),
        (("ready",), {"DUBRELAY_HOOK_URL": "http://127.0.0.1:1"}),
        (("ready",), {"DUBRELAY_HOOK_URL": "http://127.0.0.1:port"}),
        (("ready",), {"DUBRELAY_HOOK_URL": "ftp://127.0.0.1"}),
        (("ready",), {"DUBRELAY_HOOK_URL": "nonsense"}),
    ],
)
def test_every_failure_is_one_line_and_exit_code_1(arguments: tuple[str, ...], environment: dict[str, str]) -> None:
    result = run(*arguments, **environment)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.service
def test_an_orchestrator_that_drips_does_not_hold_it_longer_than_three_seconds() -> None:
    """A byte now and then keeps a socket's own timeout from ever coming."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                for byte in b"HTTP/1.1 202 Accepted\r\nX: " + b"y" * 100:
                    try:
                        connection.sendall(bytes([byte]))
                    except OSError:
                        return
                    time.sleep(0.2)

        threading.Thread(target=drip, daemon=True).start()
        before = time.monotonic()
        result = run("ready", DUBRELAY_HOOK_URL=f"http://127.0.0.1:{server.getsockname()[1]}")
        took_s = time.monotonic() - before
    assert result.returncode == 1
    assert "no answer within 3 s" in result.stderr
    assert 2.5 < took_s < 4.5


@pytest.mark.service
def test_the_script_imports_the_standard_library_only() -> None:
    code = f"import runpy, sys; runpy.run_path({hook.__file__!r}); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    imported = {name.split(".")[0] for name in result.stdout.split()}
    assert imported <= sys.stdlib_module_names | {"__main__", "__mp_main__"}
