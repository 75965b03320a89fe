"""A real HTTP server with model files, for tests: it can break off, know no ranges, and serve other bytes."""

from __future__ import annotations

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class ModelHost:
    """with ModelHost({"/a.bin": b"..."}) as host: ... host.url"""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[tuple[str, str]] = []
        """(path, Range) of each request."""
        self.break_off_after: int | None = None
        """Bytes of a body."""
        self.hold = threading.Event()
        """While it is clear nothing is answered."""
        self.hold.set()
        self.ranges = True
        self.status = 200
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="model-host")
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _handler(host) -> type[BaseHTTPRequestHandler]:  # noqa: N805  `self` is the request's
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append((self.path, self.headers.get("Range", "")))
                host.hold.wait(20)
                if self.path.startswith("/moved/"):
                    self.send_response(302)
                    self.send_header("Location", self.path.removeprefix("/moved"))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                body = host.files.get(self.path.partition("?")[0])
                if body is None or host.status != 200:
                    self.send_error(host.status if body is not None else 404)
                    return
                self._send(body)

            def _send(self, body: bytes) -> None:
                begin = 0
                if host.ranges and (asked := self.headers.get("Range")):
                    begin = int(asked.removeprefix("bytes=").rstrip("-"))
                if begin > len(body):
                    self.send_error(416)
                    return
                self.send_response(206 if begin else 200)
                if begin:
                    self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
                self.send_header("Content-Length", str(len(body) - begin))
                self.end_headers()
                with suppress(ConnectionError):  # the client may leave when it has seen how long it is
                    self.wfile.write(body[begin:][: host.break_off_after])
                if host.break_off_after is not None:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        return Handler
