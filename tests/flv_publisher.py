"""A publisher whose every tag is in the test's hand: FLV files over RTMP with other stamps, or without a track.

ffmpeg refuses to publish what an encoder in the field may well send: stamps that wrap, jump back or drift.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from dubrelay.worker.pipeline import Gst, make

AUDIO, VIDEO, SCRIPT = 8, 9, 18
FILE_HEADER = b"FLV\x01\x05" + (9).to_bytes(4, "big") + bytes(4)


@dataclass(frozen=True)
class Tag:
    kind: int
    at_ms: int
    data: bytes

    @property
    def is_header(self) -> bool:
        """Metadata, or the configuration of a codec."""
        coded = self.kind == VIDEO or (self.kind == AUDIO and self.data[0] >> 4 == 10)
        return self.kind == SCRIPT or (coded and self.data[1] == 0)

    def to_bytes(self) -> bytes:
        """Source: FLV 10.1, E.4.1; the stamp's lowest 24 bits come first, then the upper 8."""
        stamp = self.at_ms & 0xFFFFFFFF
        head = bytes([self.kind]) + len(self.data).to_bytes(3, "big")
        head += (stamp & 0xFFFFFF).to_bytes(3, "big") + bytes([stamp >> 24]) + bytes(3)
        return head + self.data + (len(head) + len(self.data)).to_bytes(4, "big")


def tags_of(file: Path) -> list[Tag]:
    data = file.read_bytes()
    tags, at = [], 13
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        stamp = int.from_bytes(data[at + 4 : at + 7], "big") | data[at + 7] << 24
        tags.append(Tag(data[at], stamp, data[at + 11 : at + 11 + size]))
        at += 11 + size + 4
    return tags


def write_tags(file: Path, tags: Iterable[Tag]) -> Path:
    file.write_bytes(FILE_HEADER + b"".join(tag.to_bytes() for tag in tags))
    return file


def moved(tags: Iterable[Tag], to: Callable[[int], int]) -> Iterator[tuple[float, Tag]]:
    """(when it is sent, s; the tag with another stamp): sent at the pace of the stamps it had."""
    for tag in tags:
        yield tag.at_ms / 1000, replace(tag, at_ms=to(tag.at_ms))


class FlvPublisher:
    """with FlvPublisher(url, moved(tags_of(clip), lambda ms: ms + 36_000_000)): ..."""

    def __init__(self, url: str, timed: Iterable[tuple[float, Tag]]) -> None:
        self._timed = timed
        self._pipeline = Gst.Pipeline()
        self._source = make("appsrc", caps="video/x-flv", format="time", block=True, max_bytes=1_000_000)
        sink = make("rtmp2sink", location=url, sync=False, async_connect=False, **{"async": False})
        self._pipeline.add(self._source)
        self._pipeline.add(sink)
        self._source.link(sink)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.error: str | None = None

    def _run(self) -> None:
        begun = time.monotonic()
        for at_s, tag in self._timed:
            if self._stop.wait(max(0.0, begun + at_s - time.monotonic())):
                return
            buffer = Gst.Buffer.new_wrapped(tag.to_bytes())
            buffer.pts = buffer.dts = int(at_s * 1e9)
            if tag.is_header:
                buffer.set_flags(Gst.BufferFlags.HEADER)
            if self._source.push_buffer(buffer) != Gst.FlowReturn.OK:
                message = self._pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
                self.error = message.parse_error()[0].message if message else "refused"
                return

    def __enter__(self) -> Self:
        self._pipeline.set_state(Gst.State.PLAYING)
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._stop.set()
        self._pipeline.set_state(Gst.State.NULL)
        self._thread.join(5)
