"""A webhook's other side: a real HTTP server that keeps what it is sent and answers as a test wants."""

from __future__ import annotations

import json
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class WebhookServer:
    """`answers` are given one after the other, the last one again and again: a status, or `hang`, `drip`, `cut`."""

    def __init__(self, *answers: int | str, **headers: str) -> None:
        self.answers = list(answers) or [200]
        self.headers = headers
        self.bodies: list[Any] = []
        self.paths: list[str] = []
        self.ending = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._responder())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/services/T0000/SECRET-OF-THE-URL?sig=ANOTHER-SECRET-OF-IT"

    def speak_tls(self, context: ssl.SSLContext) -> None:
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def alerts(self) -> list[tuple[str, str]]:
        """Name and status of each that was told, in order."""
        return [(alert["name"], alert["status"]) for body in self.bodies for alert in body["alerts"]]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()

    def _responder(served) -> type[BaseHTTPRequestHandler]:  # noqa: N805 -- the inner class has a self of its own
        class Responder(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                served.paths.append(self.path)
                served.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                answer = served.answers.pop(0) if len(served.answers) > 1 else served.answers[0]
                if answer == "hang":
                    served.ending.wait(30)
                elif answer == "drip":
                    with suppress(OSError):
                        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                        while not served.ending.wait(0.2):
                            self.wfile.write(b"X-More: 1\r\n")
                elif isinstance(answer, int):
                    self.send_response(answer)
                    for name, value in served.headers.items():
                        self.send_header(name.replace("_", "-"), value)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        return Responder
