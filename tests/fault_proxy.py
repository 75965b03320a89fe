"""A TCP proxy that does to connections what networks do: refuses, resets, stalls and drips them, one kind at a time."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Literal, Self

Fault = Literal["refuse", "stall", "drip"]
_DRIP_BYTES, _DRIP_S = 64, 0.25


class _Connection:
    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client, self.server = client, client
        self.kind = ""

    def reset(self) -> None:
        for writer in (self.client, self.server):
            handle = writer.get_extra_info("socket")
            if handle is not None and not writer.is_closing():
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


def rtmp_kind(sent: bytes) -> str:
    """`out` for what a client publishes, `in` for what it plays."""
    return "out" if b"publish" in sent else "in" if b"play" in sent else ""


class FaultProxy:
    """with FaultProxy(port) as proxy: connect to proxy.port; proxy.fault("stall", "in"); proxy.heal()

    `kind_of` tells connections apart by the first bytes that the client sends; without it all are of the kind "".
    `upstream` may be changed: new connections go there.
    """

    def __init__(self, upstream: int, kind_of: Callable[[bytes], str] = lambda _: "") -> None:
        self.upstream, self._kind_of = upstream, kind_of
        self._faults: dict[str, Fault] = {}
        self._connections: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._healed: dict[str, asyncio.Event] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    def fault(self, fault: Fault, kind: str = "") -> None:
        """From now on; refusing resets what there is, too."""
        self._call(self._begin(fault, kind))

    def heal(self) -> None:
        self._call(self._heal())

    def reset(self, kind: str = "") -> None:
        """Ends the connections of that kind with a reset."""
        self._call(self._reset(kind))

    async def _begin(self, fault: Fault, kind: str) -> None:
        self._faults[kind] = fault
        self._healed[kind] = asyncio.Event()
        if fault == "refuse":
            await self._reset(kind)

    async def _heal(self) -> None:
        self._faults.clear()
        for event in self._healed.values():
            event.set()

    async def _reset(self, kind: str) -> None:
        for connection in [c for c in self._connections if c.kind == kind]:
            connection.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer)
        self._connections.add(connection)
        try:
            up_reader, connection.server = await asyncio.open_connection("127.0.0.1", self.upstream)
            up = self._pump(connection, reader, connection.server, bytearray())
            down = self._pump(connection, up_reader, writer, None)
            await asyncio.gather(up, down)
        except OSError:
            connection.reset()
        finally:
            self._connections.discard(connection)

    async def _pump(
        self,
        connection: _Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        seen: bytearray | None,
    ) -> None:
        """Until the end, which the other side is told. `seen` collects what tells the connection's kind."""
        while data := await reader.read(16_384):
            if seen is not None and not connection.kind:
                seen += data[: max(0, 8192 - len(seen))]
                connection.kind = self._kind_of(bytes(seen))
            fault = self._faults.get(connection.kind)
            if fault == "refuse":
                connection.reset()
                return
            if fault == "stall":
                await self._healed[connection.kind].wait()
            elif fault == "drip":
                await self._drip(connection.kind, writer, data)
                continue
            writer.write(data)
            await writer.drain()
        if not writer.is_closing():
            writer.close()

    async def _drip(self, kind: str, writer: asyncio.StreamWriter, data: bytes) -> None:
        while data and not self._healed[kind].is_set():
            writer.write(data[:_DRIP_BYTES])
            await writer.drain()
            data = data[_DRIP_BYTES:]
            await asyncio.sleep(_DRIP_S)
        writer.write(data)
        await writer.drain()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    async def _listen(self) -> None:
        handle = socket.socket()
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # or it would take a stall long to be felt
        handle.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._serve, sock=handle, limit=65_536)
        self.port = handle.getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.reset()
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._call(self._heal())
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
