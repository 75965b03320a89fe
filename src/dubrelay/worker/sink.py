"""The output side of the graph: connects on a key frame, notices when the output is gone, and connects again.

Without a sink the valve is shut and everything before it goes on. To connect, a probe looks at the muxer's FLV tags
until the next key frame leaves; that tag creates the sink and opens the valve, so that the output's server gets
metadata, codec headers and a key frame at once and no viewer sees a broken picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gi.repository import Gst

from dubrelay.errors import DestinationRefused, MediaError
from dubrelay.logs import Logger, redact_url
from dubrelay.worker.flv import AUDIO_TAG, VIDEO_TAG, is_key_frame, stamp_of
from dubrelay.worker.pipeline import MediaPipeline, dispose, make

_RETRY_S = (0.25, 4.0)
_BLOCKED_S = 20.0
_WELL_BYTES = 200_000
"""After so many bytes a connection counts as good, and the next retry is quick again."""


class Sink:
    """The replaceable end of a way out of the graph. `tend` drives it, from the session's one thread.

    `name` is that of the way: its elements are gate-NAME and tail-NAME. One that is `vital` ends the session when it is
    refused, or blocked for long; another one is tried again. `preamble` gives the tags that a connection gets before
    the key frame it begins with, for that one's stamp in ms.
    """

    def __init__(
        self,
        pipeline: MediaPipeline,
        url: str,
        log: Logger,
        *,
        name: str = "output",
        vital: bool = True,
        preamble: Callable[[int], list[bytes]] | None = None,
    ) -> None:
        self._pipeline, self._url, self._log = pipeline, url, log
        self._name, self._vital, self._preamble = name, vital, preamble
        self._gate, self._tail = pipeline.element(f"gate-{name}"), pipeline.element(f"tail-{name}")
        self._element: Gst.Element | None = None
        self._armed = False
        self._retry_at = 0.0
        self._retry_s = _RETRY_S[0]
        self._sent = 0
        self._sent_at = 0.0
        self._probe = _SyncProbe(pipeline)
        self.connects = 0
        self.joins = 0
        """Connections that took something."""
        self.lost_ms = 0
        """Of what was ready to be sent, from the end of one connection to the key frame that the next began with."""
        self._lost_from: int | None = None
        self.message = ""

    @property
    def idle(self) -> bool:
        """Whether there is something to do for it at once: to connect."""
        return self._element is None and not self._armed

    @property
    def connection(self) -> int | None:
        """The number of the one that there is, counted from 1."""
        return self.connects if self._element is not None else None

    @property
    def up(self) -> bool:
        """Whether the output takes what is sent."""
        return self._element is not None and self._sent > 0

    @property
    def delay_ms(self) -> float | None:
        """Arrival at the worker -> publish, of the picture looked at last."""
        return self._probe.delay_ms

    @property
    def av_sync_ms(self) -> float | None:
        """How much later than the picture the sound is stamped in what is sent, against their times at arrival."""
        return self._probe.av_sync_ms

    def tend(self) -> None:
        """Looks after the connection; called about once a second."""
        now = time.monotonic()
        if self._element is None:
            if not self._armed and now >= self._retry_at:
                self._armed = True
                self._gate.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, self._connect_on_key_frame)
            return
        stats = self._element.get_property("stats")
        sent = stats.get_uint64("out-bytes-total")[1] if stats else 0
        if sent != self._sent:
            self.joins += self._sent == 0
            self._sent, self._sent_at = sent, now
            if sent > _WELL_BYTES:
                self._retry_s, self.message = _RETRY_S[0], ""
        elif now - self._sent_at > _BLOCKED_S:
            why = f"took nothing for {_BLOCKED_S:g} s"
            if self._vital:
                raise MediaError(f"output {redact_url(self._url)} {why}")
            self._close(why)

    def measure(self) -> None:
        """Takes a new look at delay and sync; a few tags are enough, so it costs next to nothing."""
        if self._element is not None:
            self._probe.look(self._tail.get_static_pad("sink"))

    def owns(self, element: Gst.Element) -> bool:
        return str(element.get_name()).startswith(f"{self._name}-")

    def failed(self, element: Gst.Element, why: str, refused: bool) -> None:
        """An output element posted an error; one of an element given up before is old news."""
        if refused and self._vital:
            raise DestinationRefused(f"output {redact_url(self._url)} refused the publisher: {why}")
        if element is self._element:
            self._close(why)

    def _connect_on_key_frame(self, pad: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        buffer = info.get_buffer()
        age_ns = self._pipeline.now() - buffer.pts
        tag = buffer.extract_dup(0, 13)
        if buffer.has_flags(Gst.BufferFlags.HEADER) or not is_key_frame(tag):
            return Gst.PadProbeReturn.OK
        self.connects += 1
        element = make(
            "rtmp2sink", location=self._url, sync=False, async_connect=False, chunk_size=4096, **{"async": False}
        )
        element.set_name(f"{self._name}-{self.connects}")
        self._pipeline.graph.add(element)
        self._tail.link(element)
        element.sync_state_with_parent()
        self._sent, self._sent_at = 0, time.monotonic()
        self._element = element
        self._gate.set_property("drop", False)
        self._armed = False
        for before in self._preamble(stamp_of(tag)) if self._preamble else ():
            pad.chain(Gst.Buffer.new_wrapped(before))
        lost_ms = 0 if self._lost_from is None else max(0, buffer.pts - self._lost_from) // 10**6
        self.lost_ms += lost_ms
        self._lost_from = None
        self._log.info(
            "output_connecting",
            url=redact_url(self._url),
            attempt=self.connects,
            delay_ms=age_ns // 10**6,
            lost_ms=lost_ms,
        )
        return Gst.PadProbeReturn.REMOVE

    def _close(self, why: str) -> None:
        element, self._element = self._element, None
        assert element is not None
        self._gate.set_property("drop", True)
        self._tail.unlink(element)
        element.set_locked_state(True)
        self._pipeline.graph.remove(element)
        dispose(element)
        self.message = f"output {redact_url(self._url)}: {why}"
        self._lost_from = self._pipeline.now() - self._pipeline.latency_ns  # about what was leaving just now
        self._log.warning("output_lost", url=redact_url(self._url), reason=why)
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(self._retry_s * 2, _RETRY_S[1])


class _SyncProbe:
    """Compares the stamps in FLV tags, which viewers get, with the running times their contents came in at."""

    _TAGS = 12

    def __init__(self, pipeline: MediaPipeline) -> None:
        self._pipeline = pipeline
        self._left = 0
        self._offset_ns: dict[int, int] = {}
        self.delay_ms: float | None = None
        self.av_sync_ms: float | None = None

    def look(self, pad: Gst.Pad) -> None:
        if self._left == 0:
            self._left, self._offset_ns = self._TAGS, {}
            pad.add_probe(Gst.PadProbeType.BUFFER, self._on_tag)

    def _on_tag(self, _: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        buffer = info.get_buffer()
        tag = buffer.extract_dup(0, 13)
        self._left -= 1
        if len(tag) == 13 and buffer.pts != Gst.CLOCK_TIME_NONE and not buffer.has_flags(Gst.BufferFlags.HEADER):
            self._read(tag, buffer.pts)
        if len(self._offset_ns) == 2:
            self.av_sync_ms = (self._offset_ns[AUDIO_TAG] - self._offset_ns[VIDEO_TAG]) / 1e6
            self._left = 0
        return Gst.PadProbeReturn.OK if self._left else Gst.PadProbeReturn.REMOVE

    def _read(self, tag: bytes, decoded_at: int) -> None:
        """flvmux gives its tags the decoding time as PTS, which is what the tag's stamp means, too."""
        stamp_ms = stamp_of(tag)
        if tag[0] == VIDEO_TAG and tag[12] == 1:
            self._offset_ns[VIDEO_TAG] = stamp_ms * 10**6 - decoded_at
            self.delay_ms = (self._pipeline.now() - decoded_at) / 1e6
        elif tag[0] == AUDIO_TAG and tag[12] == 1:
            self._offset_ns[AUDIO_TAG] = stamp_ms * 10**6 - decoded_at
