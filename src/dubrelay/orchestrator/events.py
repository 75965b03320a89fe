"""Server-sent events: what happens, to whoever listens, while it happens.

    event: streams    all streams, as GET /v1/streams says them, when something about one has changed
    event: phrase     {"streamId", "sequence", "phrase"}
    event: alerts     all alerts, as GET /v1/alerts says them, when something about one has changed

A listener that cannot keep up is let go; it connects anew and asks for what it missed (`?after=`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

from pydantic import BaseModel

WAITING = 200
SIGN_OF_LIFE_S = 10.0
MOST_LISTENERS = 100


class Events:
    """Used on one event loop."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[str | None]] = set()
        self._latest: dict[str, str] = {}

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def streams(self, listed: BaseModel) -> None:
        """To be called whenever it may have changed."""
        self._send_if_new("streams", listed)

    def alerts(self, listed: BaseModel) -> None:
        """To be called whenever it may have changed."""
        self._send_if_new("alerts", listed)

    def phrase(self, stream_id: str, view: BaseModel) -> None:
        data = {"streamId": stream_id, **view.model_dump(by_alias=True, mode="json")}
        self._send(_event("phrase", json.dumps(data)))

    def listen(self) -> AsyncIterator[str]:
        """Events as text, beginning with how streams and alerts are now. ValueError when too many listen already."""
        if len(self._listeners) >= MOST_LISTENERS:
            raise ValueError(f"{MOST_LISTENERS} listen already")
        queue: asyncio.Queue[str | None] = asyncio.Queue(WAITING + 1)
        for text in self._latest.values():
            queue.put_nowait(text)
        self._listeners.add(queue)
        return self._heard(queue)

    async def _heard(self, queue: asyncio.Queue[str | None]) -> AsyncIterator[str]:
        try:
            while True:
                text: str | None = ": still here\n\n"
                with suppress(TimeoutError):
                    text = await asyncio.wait_for(queue.get(), SIGN_OF_LIFE_S)
                if text is None:
                    return
                yield text
        finally:
            self._listeners.discard(queue)

    def _send_if_new(self, name: str, listed: BaseModel) -> None:
        text = _event(name, listed.model_dump_json(by_alias=True))
        if text != self._latest.get(name):
            self._latest[name] = text
            self._send(text)

    def _send(self, text: str) -> None:
        for queue in list(self._listeners):
            if queue.qsize() >= WAITING:
                self._listeners.discard(queue)
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(text)

    def close(self) -> None:
        """Lets all go: their server is to end."""
        for queue in self._listeners:
            with suppress(asyncio.QueueFull):
                queue.put_nowait(None)


def _event(name: str, data: str) -> str:
    """`data` is JSON on one line."""
    return f"event: {name}\ndata: {data}\n\n"
