"""A player of a live stream that comes back when it is cut off, and remembers when everything came."""

from __future__ import annotations

import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from flv_publisher import AUDIO, VIDEO

RATE_HZ = 48_000


@dataclass
class View:
    """What one connection showed."""

    file: Path
    tags: list[tuple[float, int, int]] = field(default_factory=list)
    """(arrival by time.monotonic, kind, stamp in ms), without headers."""

    def arrivals(self, kind: int) -> list[float]:
        return [tag[0] for tag in self.tags if tag[1] == kind]

    @property
    def shown(self) -> bool:
        return any(tag[1] == VIDEO for tag in self.tags)


class Viewer:
    """with Viewer(url, directory) as viewer: ... viewer.views"""

    def __init__(self, url: str, directory: Path) -> None:
        self._url, self._directory = url, directory
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._all: list[View] = []

    @property
    def views(self) -> list[View]:
        """Connections that showed a picture."""
        return [view for view in self._all if view.shown]

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            view = View(self._directory / f"view{len(self._all)}.flv")
            self._all.append(view)
            probe = ["-fflags", "nobuffer", "-analyzeduration", "1000000", "-rw_timeout", "20000000"]
            out = ["-c", "copy", "-flush_packets", "1", "-f", "flv", "pipe:1"]
            self._process = subprocess.Popen(
                ["ffmpeg", "-nostdin", "-v", "quiet", *probe, "-i", self._url, *out], stdout=subprocess.PIPE
            )
            assert self._process.stdout is not None
            with view.file.open("wb") as file:
                _follow(self._process.stdout, file, view)
            self._process.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._stop.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join(5)


def _follow(stream: IO[bytes], file: IO[bytes], view: View) -> None:
    file.write(stream.read(13))
    while len(head := stream.read(11)) == 11:
        data = stream.read(int.from_bytes(head[1:4], "big") + 4)
        now = time.monotonic()
        file.write(head + data)
        stamp = int.from_bytes(head[4:7], "big") | head[7] << 24
        if head[0] in (AUDIO, VIDEO) and data[1] == 1:  # AAC and AVC without their headers
            view.tags.append((now, head[0], stamp))
