"""HTTP connections of our servers. One on which nothing is asked, or whose answer nobody takes, is closed, so that it
does not keep others out.
"""

from __future__ import annotations

import asyncio
import json
import resource
from contextlib import suppress
from math import inf

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0
"""The head of a request is there so soon after the connection was opened or the answer before was sent."""
ANSWERED_S = 300.0
"""And so soon after it the answer is sent: body, work and faults may take a minute each."""
TAKEN_S = 60.0
"""So soon its client takes what waits to be sent: 64 kB, beside what the kernels of both sides hold."""
LEAST, MOST = 64, 1000
FILES = 8192
BACKLOG = 64
"""So many connections are accepted in one turn of the loop; they are looked at a few turns later."""
SPARE_FILES = 100 + 4 * BACKLOG
"""Files that are no connections yet, or none at all: models, pipes of engines, logs."""


def allow_files() -> None:
    """Raises what the process may have open, as far as it may. With TLS a connection is seen here only after its
    handshake, for which a minute is given to it: those before are no small number under attack."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most() -> int:
    """Connections at once. Beyond, the one that has been idle for longest makes room for the new one."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if files == resource.RLIM_INFINITY else max(LEAST, min(MOST, files - SPARE_FILES))


class Connection(H11Protocol):
    streams = False
    """An answer that has begun may go on without end, as events do."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since: float | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._watch()
        if len(self.connections) > most():
            self._idlest().transport.abort()

    def handle_events(self) -> None:
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """In the shape of every other error; nothing where there was an answer already, for uvicorn would raise."""
        body = self.bad_request(msg)
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        answer = h11.Response(status_code=400, headers=headers, reason="Bad Request")
        with suppress(h11.LocalProtocolError):
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def bad_request(self, message: str) -> bytes:
        """The body of the answer to what is no HTTP, JSON."""
        return json.dumps({"error": {"code": "INVALID_INPUT", "message": message}}).encode()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._taking is None:
            self._taking = self.loop.call_later(TAKEN_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taken()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unlimited()
        self._taken()

    @property
    def idle_since(self) -> float | None:
        """By the loop's clock; None while a request is answered."""
        return self._idle_since

    def _idlest(self) -> Connection:
        """The one that has been idle for longest of those that are not being closed: itself, if no other."""
        open_ones = (one for one in self.connections if isinstance(one, Connection) and not one.transport.is_closing())
        return min(open_ones, key=lambda one: inf if one.idle_since is None else one.idle_since)

    def _watch(self) -> None:
        """Begins to wait for a head, or for an answer, when the other one has come."""
        idle = self.cycle is None or self.cycle.response_complete
        if self._limit is not None and idle == (self._idle_since is not None):
            return
        self._unlimited()
        self._idle_since = self.loop.time() if idle else None
        self._limit = self.loop.call_later(HEAD_S if idle else ANSWERED_S, self._over)

    def _over(self) -> None:
        answers = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if not (self.streams and answers):
            self.transport.abort()

    def _unlimited(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _taken(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
