"""The slate: what `out` shows while the input is away, a short file over and over.

It does for the picture what silence does for the sound: it fills the time that the output has come to (or that is
_LAG_NS ago, whichever is later) and in which no picture came in. So it is never ahead of a source that comes back:
its first picture takes `video_in` over once what is missing up to it is filled. Before any picture there is no slate.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dubrelay.errors import ConfigError
from dubrelay.logs import Logger
from dubrelay.worker.pipeline import AVC, MediaPipeline, make

# isort: split
from gi.repository import Gst  # pipeline.py says which version of it

DEMUXERS = {
    ".mp4": "qtdemux",
    ".m4v": "qtdemux",
    ".mov": "qtdemux",
    ".mkv": "matroskademux",
    ".flv": "flvdemux",
    ".ts": "tsdemux",
}
MAX_BYTES = 64_000_000
MAX_NS = 60 * Gst.SECOND
_READ_S = 10.0
_AWAY_NS = Gst.SECOND
"""The output shows its last picture for so long."""
_LATE_NS = 700_000_000
"""A loop that fell behind by more than that begins anew."""
_LAG_NS = 2 * Gst.SECOND
"""A source's first picture may be that much older than what came with it: more than stamps.EARLY_NS."""
_MAX_PICTURES = 15_000
_IDR = 5
_UNREADABLE = "must have an H.264 picture that can be read"


@dataclass(frozen=True)
class AccessUnit:
    """One picture, AVC. Times in ns from the loop's first decoding time."""

    data: bytes
    pts: int
    dts: int
    key: bool


@dataclass(frozen=True)
class Loop:
    """In decoding order, from a key frame on."""

    caps: Gst.Caps
    units: Sequence[AccessUnit]
    length: int
    """ns from one beginning to the next."""


class Slate:
    """Driven by the session's thread; a source takes over on GStreamer's."""

    def __init__(self, pipeline: MediaPipeline, loop: Loop, log: Logger) -> None:
        self._pipeline, self._loop, self._log = pipeline, loop, log
        self._lag_ns = min(pipeline.latency_ns, _LAG_NS)
        self._begun = self._shown = 0
        self.on = False
        pipeline.before_source = self._give_way

    def fill(self) -> None:
        """Pushes the pictures that are due. Called before the sound of the same time is pushed."""
        until = self._pipeline.now() - self._lag_ns
        with self._pipeline.video_lock:
            away = not self._pipeline.video_in.is_linked() and 0 < self._pipeline.picture_at <= until - _AWAY_NS
            if away and not self._pipeline.video_may_block:
                self._go_on(until)
            if away is not self.on:
                self._log.info("slate_on" if away else "slate_off")
            self.on = away

    def _go_on(self, until: int) -> None:
        if not self.on or self._at(self._shown).dts < until - _LATE_NS:
            self._begun, self._shown = until, 0
            segment = Gst.Segment()
            segment.init(Gst.Format.TIME)
            self._pipeline.video_in.send_event(Gst.Event.new_caps(self._loop.caps))
            self._pipeline.video_in.send_event(Gst.Event.new_segment(segment))
        while self._at(self._shown).dts <= until:
            self._push()

    def _give_way(self, pts: int, dts: int) -> None:
        """What is missing up to a source's first picture; it may be of the future of the output."""
        if self.on and dts - self._at(self._shown).dts < 2 * _LAG_NS:
            while (unit := self._at(self._shown)).dts < dts and unit.pts < pts:
                self._push()

    def _push(self) -> None:
        unit = self._at(self._shown)
        self._shown += 1
        buffer = Gst.Buffer.new_wrapped(unit.data)
        buffer.pts, buffer.dts = unit.pts, unit.dts
        if not unit.key:
            buffer.set_flags(Gst.BufferFlags.DELTA_UNIT)
        self._pipeline.video_in.chain(buffer)

    def _at(self, number: int) -> AccessUnit:
        """The picture of that number since it begun, in running time."""
        times, index = divmod(number, len(self._loop.units))
        unit, begun = self._loop.units[index], self._begun + times * self._loop.length
        return AccessUnit(unit.data, begun + unit.pts, begun + unit.dts, unit.key)


def read_slate(path: Path) -> Loop:
    """The picture of a file. ConfigError when it is not there, too much, or no H.264 that begins with a key frame."""
    try:
        size = path.stat().st_size
        if not path.is_file() or not 0 < size <= MAX_BYTES:
            raise _refused(path, f"must be a file with something in it, of at most {MAX_BYTES // 10**6} MB")
        path.open("rb").close()
    except OSError as e:
        raise _refused(path, f"cannot be read: {e.strerror}") from e
    if path.suffix.lower() not in DEMUXERS:
        raise _refused(path, f"its name must end in {' '.join(DEMUXERS)}")
    buffers, caps = _coded(path)
    decoded, length = decoding_times([buffer.pts for buffer in buffers], buffers[-1].duration)
    if length > MAX_NS:
        raise _too_long(path)
    units = [
        AccessUnit(
            data=buffer.extract_dup(0, buffer.get_size()),
            pts=buffer.pts - decoded[0],
            dts=dts - decoded[0],
            key=not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT),
        )
        for buffer, dts in zip(buffers, decoded, strict=True)
    ]
    if not units[0].key or _IDR not in nal_types(units[0].data, (_config(caps)[4] & 3) + 1):
        raise _refused(path, "must begin with a key frame (IDR)")
    return Loop(caps, units, length)


def decoding_times(shown: Sequence[int], last_ns: int) -> tuple[list[int], int]:
    """(when each picture is decoded, how long all take), ns, of when they are shown, in decoding order.

    None is decoded after it is shown. `last_ns` is how long the last one is shown; when that makes no sense (0,
    unknown), as long as the others, or 1 s.
    """
    in_order = sorted(shown)
    ahead = max(in_turn - at for in_turn, at in zip(in_order, shown, strict=True))
    lasted = in_order[-1] - in_order[0]
    if not 0 < last_ns <= MAX_NS:
        last_ns = lasted // (len(shown) - 1) if lasted else Gst.SECOND
    return [at - ahead for at in in_order], lasted + last_ns


def nal_types(unit: bytes, length_bytes: int) -> Iterator[int]:
    """Of each NAL unit in an access unit in AVC form. Source: ISO/IEC 14496-15, 5.3.3; H.264, table 7-1."""
    at = 0
    while at + length_bytes < len(unit):
        yield unit[at + length_bytes] & 31
        at += length_bytes + int.from_bytes(unit[at : at + length_bytes], "big")


def _coded(path: Path) -> tuple[list[Gst.Buffer], Gst.Caps]:
    """A file's access units, in AVC form, and their caps."""
    pipeline = Gst.Pipeline()
    source, demux = make("filesrc", location=str(path)), make(DEMUXERS[path.suffix.lower()])
    parse, form, sink = make("h264parse"), make("capsfilter", caps=AVC), make("appsink", sync=False, max_buffers=50)
    for element in (source, demux, parse, form, sink):
        pipeline.add(element)
    for left, right in ((source, demux), (parse, form), (form, sink)):
        left.link(right)
    way_in = parse.get_static_pad("sink")

    def on_pad(_: Gst.Element, pad: Gst.Pad) -> None:
        if not way_in.is_linked():
            pad.link(way_in)  # which refuses what is not H.264

    demux.connect("pad-added", on_pad)
    pipeline.set_state(Gst.State.PLAYING)
    try:
        return _pulled(path, pipeline.get_bus(), sink)
    finally:
        pipeline.set_state(Gst.State.NULL)


def _pulled(path: Path, bus: Gst.Bus, sink: Gst.Element) -> tuple[list[Gst.Buffer], Gst.Caps]:
    buffers: list[Gst.Buffer] = []
    times: set[int] = set()
    caps, deadline = None, time.monotonic() + _READ_S
    while not sink.get_property("eos"):
        sample = sink.try_pull_sample(Gst.SECOND // 10)
        if sample is None:
            if bus.pop_filtered(Gst.MessageType.ERROR) is not None or time.monotonic() > deadline:
                raise _refused(path, _UNREADABLE)
            continue
        if caps is not None and _config(caps) != _config(sample.get_caps()):
            raise _refused(path, "must be coded in one go: its parameters change on the way")
        buffer, caps = sample.get_buffer(), sample.get_caps()
        if buffer.pts in times or buffer.pts == Gst.CLOCK_TIME_NONE:
            raise _refused(path, "its pictures must each have a time of their own")
        buffers.append(buffer)
        times.add(buffer.pts)
        if len(buffers) > _MAX_PICTURES or buffer.pts - buffers[0].pts > MAX_NS:
            raise _too_long(path)
    if not buffers:
        raise _refused(path, _UNREADABLE)
    return buffers, caps


def _config(caps: Gst.Caps) -> bytes:
    """AVCDecoderConfigurationRecord."""
    config = caps.get_structure(0).get_value("codec_data")
    return bytes(config.extract_dup(0, config.get_size()))


def _refused(path: Path, why: str) -> ConfigError:
    return ConfigError(f"worker.slate = '{path}': {why}")


def _too_long(path: Path) -> ConfigError:
    return _refused(path, f"must not be longer than {MAX_NS // Gst.SECOND} s")
