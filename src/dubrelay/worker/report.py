"""Status lines to whoever started the worker, on stdout, never holding up the stream."""

from __future__ import annotations

import os
import queue
import threading

from dubrelay import logs
from dubrelay.wire.status import Line

_WAITING_LINES = 500


class Reporter:
    """Writes lines from a thread of its own: a reader that stops reading costs lines, not sound."""

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._lines: queue.Queue[bytes | None] = queue.Queue(_WAITING_LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="report", daemon=True)
        self._thread.start()

    def send(self, line: Line) -> None:
        try:
            self._lines.put_nowait(logs.scrubbed(line.model_dump_json()).encode() + b"\n")
        except queue.Full:
            self._dropped += 1

    def close(self, timeout_s: float = 1.0) -> None:
        """Writes what is waiting, for at most `timeout_s`."""
        if self._dropped:
            logs.get().warning("status_lines_dropped", count=self._dropped, reason="nobody read them")
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                while line:
                    line = line[os.write(self._fd, line) :]
            except OSError:
                return  # nobody listens any more; the end of stdin says the same
