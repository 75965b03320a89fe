"""A reader of a live stream in this process: every tag at the moment it comes, nothing kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import table  # noqa: F401 -- puts the tests' modules on the path

from dubrelay.worker.pipeline import Gst, make
from flv_publisher import FILE_HEADER, Tag

TAG_HEADER, TAG_TRAILER = 11, 4

OnTag = Callable[[float, int, Tag], None]
"""(arrival by time.monotonic, number of the connection, tag)"""


class Tags:
    """Cuts the bytes of an FLV file, as they come, into tags."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._skip = len(FILE_HEADER)

    def push(self, data: bytes) -> list[Tag]:
        self._bytes += data
        if len(self._bytes) < self._skip:
            return []
        del self._bytes[: self._skip]
        self._skip = 0
        tags = []
        while (tag := self._next()) is not None:
            tags.append(tag)
        return tags

    def _next(self) -> Tag | None:
        head = self._bytes[:TAG_HEADER]
        end = TAG_HEADER + int.from_bytes(head[1:4], "big")
        if len(head) < TAG_HEADER or len(self._bytes) < end + TAG_TRAILER:
            return None
        tag = Tag(head[0], int.from_bytes(head[4:7], "big") | head[7] << 24, bytes(self._bytes[TAG_HEADER:end]))
        del self._bytes[: end + TAG_TRAILER]
        return tag


class Reader:
    """with Reader(url, on_tag): ... It connects again when it is cut off; `on_tag` runs on its thread."""

    def __init__(self, url: str, on_tag: OnTag) -> None:
        self._url, self._on_tag = url, on_tag
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.connections = 0
        """That brought something."""

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            pipeline = Gst.Pipeline()
            source = make("rtmp2src", location=self._url, timeout=5)
            sink = make("appsink", sync=False, max_buffers=0, **{"async": False})
            pipeline.add(source)
            pipeline.add(sink)
            source.link(sink)
            pipeline.set_state(Gst.State.PLAYING)
            self._follow(pipeline, sink)
            pipeline.set_state(Gst.State.NULL)

    def _follow(self, pipeline: Gst.Pipeline, sink: Gst.Element) -> None:
        tags, number = Tags(), 0
        ends = Gst.MessageType.ERROR | Gst.MessageType.EOS
        while not self._stop.is_set():
            sample = sink.try_pull_sample(Gst.SECOND // 2)
            now = time.monotonic()
            if sample is None:
                if pipeline.get_bus().pop_filtered(ends):
                    return
                continue
            buffer = sample.get_buffer()
            for tag in tags.push(buffer.extract_dup(0, buffer.get_size())):
                if number == 0:
                    number = self.connections = self.connections + 1
                self._on_tag(now, number, tag)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(10)
