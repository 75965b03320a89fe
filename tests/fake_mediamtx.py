"""MediaMTX's Control API as far as the orchestrator uses it: a real HTTP server whose list a test writes."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

H264_AAC = ("H264", "MPEG-4 Audio")


class FakeMediaMtx:
    def __init__(self) -> None:
        self.paths: list[dict[str, Any]] = []
        self.queries: dict[str, str] = {}
        """Source id -> what its publisher's connection is said to have asked for."""
        self.kicked: list[str] = []
        self.answer: tuple[int, bytes] | None = None
        """Given to every request instead of the truth."""
        self.requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._responder())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def publish(
        self, stream_id: str, source_id: str, codecs: tuple[str, ...] = H264_AAC, query: str | None = None
    ) -> None:
        self.leave(stream_id)
        self.paths.append(path_item(f"live/{stream_id}/in", source_id, codecs))
        if query is not None:
            self.queries[source_id] = query

    def leave(self, stream_id: str) -> None:
        self.paths = [path for path in self.paths if path["name"] != f"live/{stream_id}/in"]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _reply(self, url: str) -> tuple[int, bytes]:
        self.requests.append(url)
        if self.answer is not None:
            return self.answer
        parts = urlsplit(url)
        name = unquote(parts.path.rsplit("/", 1)[-1])
        found: Any = None
        if parts.path == "/v3/paths/list":
            found = self._page({key: int(values[0]) for key, values in parse_qs(parts.query).items()})
        elif parts.path.startswith("/v3/paths/get/"):
            found = next((path for path in self.paths if path["name"] == name), None)
        elif parts.path.startswith("/v3/rtmpconns/get/") and name in self.queries:
            found = {"id": name, "query": self.queries[name]}
        elif parts.path.startswith("/v3/rtmpconns/kick/") and name in self.queries:
            self.kicked.append(name)
            found = {"status": "ok"}
        if found is None:
            return 404, b'{"status":"error","error":"not found"}'
        return 200, json.dumps(found).encode()

    def _page(self, query: dict[str, int]) -> dict[str, Any]:
        size = query.get("itemsPerPage", 100)
        start = query.get("page", 0) * size
        pages = -(-len(self.paths) // size)
        return {"itemCount": len(self.paths), "pageCount": pages, "items": self.paths[start : start + size]}

    def _responder(fake) -> type[BaseHTTPRequestHandler]:  # noqa: N805 -- the inner class has a self of its own
        class Responder(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = fake._reply(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        return Responder


def path_item(name: str, source_id: str, codecs: tuple[str, ...] = H264_AAC) -> dict[str, Any]:
    return {
        "name": name,
        "available": True,
        "availableTime": "2026-01-01T00:00:00Z",
        "source": {"type": "rtmpConn", "id": source_id},
        "tracks2": [{"codec": codec, "codecProps": {}} for codec in codecs],
        "inboundBytes": 1000,
    }
