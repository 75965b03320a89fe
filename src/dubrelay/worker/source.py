"""The input side of the graph: connects, notices when the input is gone, and connects again.

Both tracks of a connection keep their distance: they are moved by the same constant from the source's timeline to
running time (stamps.py). RTMP and SRT have one timeline for both; rtspsrc's buffers come in running time already.
Where the publisher's clock is faster or slower than ours, ours follows.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from itertools import pairwise
from threading import Lock, get_ident
from urllib.parse import urlsplit

from gi.repository import Gst

from dubrelay.errors import DubrelayError
from dubrelay.logs import Logger, redact_url
from dubrelay.worker.pipeline import AVC, MediaPipeline, dispose, make
from dubrelay.worker.sound import Codec, CodecName, Sound, Step
from dubrelay.worker.stamps import Lateness, Stamps, pace_ppm

_SILENT_S = 2.0
_CONNECT_S = 5.0
_RETRY_S = (0.25, 1.0)
_KEY_FRAME_S = 5.5
"""flvdemux takes no picture any more after 6 s of sound alone; a new connection does."""
_BRIEF_S = 10.0
_HOPELESS = 4
"""Connections in a row."""
_RTSP_JITTER_MS = 200
_SRT_LATENCY_MS = 120
_BEHIND_NS = 500_000_000
_REORDERED_NS = 2_000_000_000
"""B-frames put no picture so far from where it is decoded."""
_OK, _DROP = Gst.PadProbeReturn.OK, Gst.PadProbeReturn.DROP
_DISCONT, _NO_TIME = Gst.BufferFlags.DISCONT, Gst.CLOCK_TIME_NONE
_LOCKED = 0
"""PyGILState_LOCKED: whoever calls holds the GIL, before and after."""
_NO_PICTURE = "no key frame came yet"
_NO_KEY_FRAMES = "no key frame comes: the publisher's encoder must send one (IDR, no open GOP) every 2 to 10 s"
_ENDS_AGAIN = (
    "it ends again and again; MediaMTX's log says why (over RTMP it cannot hand on interlaced pictures with B-frames: "
    "set the encoder to progressive)"
)
_OTHER_PACE = (
    "its sound comes at another pace than it is announced with: the publisher changed its format in mid-stream "
    "and MediaMTX hands on the old one; let the publisher connect anew"
)


class Source:
    """The replaceable input. `tend` drives it, from the session's one thread; pads and probes run on GStreamer's."""

    def __init__(self, pipeline: MediaPipeline, sound: Sound, url: str, log: Logger) -> None:
        self._pipeline, self._sound, self._url, self._log = pipeline, sound, url, log
        self._connection: _Connection | None = None
        self._retry_at = 0.0
        self._retry_s = _RETRY_S[0]
        self._last_progress = time.monotonic()
        self._came = 0
        self._without_picture = self._brief = self._ppm = 0
        self.connects = 0
        self.joins = 0
        """Connections that delivered something."""
        self.lost_ms = 0
        """Time without a picture, from one connection to the next, in all."""
        self.message = ""

    @property
    def idle(self) -> bool:
        """Whether there is something to do for it at once: to connect, or to give up what ended."""
        return self._connection is None or bool(self._connection.ended)

    @property
    def up(self) -> bool:
        """Whether the input delivers."""
        return self._connection is not None and self._connection.anchored and not self._connection.ended

    def tend(self) -> None:
        """Looks after the connection; called about once a second."""
        now = time.monotonic()
        if self._connection is None:
            if now >= self._retry_at:
                self._open()
        elif self._connection.ended:
            self._close(self._connection.ended)
        else:
            self._note_progress(self._connection, now)
            self._watch(self._connection, now)

    def _note_progress(self, connection: _Connection, now: float) -> None:
        came = connection.pictures + self._pipeline.blocks
        if came != self._came:
            self._came, self._last_progress = came, now
            self._retry_s = _RETRY_S[0]
        if connection.pictures:
            self._without_picture = 0
            if now - connection.since > _BRIEF_S:
                self._brief = 0
            if self._brief < _HOPELESS:
                self.message = _OTHER_PACE if self._sound.of_other_pace else ""

    def _watch(self, connection: _Connection, now: float) -> None:
        limit_s = _SILENT_S if connection.anchored else _CONNECT_S
        if now - max(self._last_progress, connection.since) > limit_s:
            self._close(f"nothing came for {limit_s:g} s")
        elif not connection.pictures and now - connection.since > _KEY_FRAME_S:
            self._without_picture += 1
            self._close(_NO_PICTURE if self._without_picture < _HOPELESS else _NO_KEY_FRAMES)
        elif self._pipeline.apart:
            self._close("its sound is not of the time of its picture any more")
        elif connection.lateness.grown > _BEHIND_NS:
            self._close(f"it fell {connection.lateness.grown / 1e9:.1f} s behind where its first buffer put it")
        else:
            self._follow(pace_ppm(connection.lateness.grown))

    def _follow(self, ppm: int) -> None:
        if ppm != self._ppm:
            self._ppm = ppm
            self._pipeline.follow(ppm)

    def owns(self, element: Gst.Element) -> bool:
        """Whether the element is, or is inside, the present connection or one that was just given up."""
        while element is not None:
            if element.get_name().startswith("input-"):
                return True
            element = element.get_parent()
        return False

    def failed(self, why: str) -> None:
        """An element of the input posted an error."""
        if self._connection is not None:
            self._connection.end(why)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.remove()

    def _open(self) -> None:
        self.connects += 1
        self._pipeline.new_source()
        first = (self._on_anchor, self._on_first_picture)
        kind = _CONNECTIONS[urlsplit(self._url).scheme]
        self._connection = kind(self._pipeline, self._sound, self._url, self.connects, first)
        self._log.debug("input_connecting", url=redact_url(self._url), attempt=self.connects)

    def _on_anchor(self, running_ns: int) -> None:
        self.joins += 1
        self._sound.begin(running_ns)

    def _on_first_picture(self, at: int) -> None:
        if self._pipeline.picture_at:
            lost_ms = max(0, at - self._pipeline.picture_at) // 10**6
            self.lost_ms += lost_ms
            self._log.info("input_back", url=redact_url(self._url), attempt=self.connects, no_picture_ms=lost_ms)

    def _close(self, why: str) -> None:
        assert self._connection is not None
        level = "warning" if self._connection.anchored else "debug"
        getattr(self._log, level)("input_lost", url=redact_url(self._url), reason=why)
        brief = self._connection.pictures and time.monotonic() - self._connection.since < _BRIEF_S
        self._brief += bool(brief)
        self.message = f"input {redact_url(self._url)}: {why if self._brief < _HOPELESS else _ENDS_AGAIN}"
        self._connection.remove()
        self._connection = None
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(self._retry_s * 2, _RETRY_S[1])


_OnFirst = tuple[Callable[[int], None], Callable[[int], None]]
"""What is told the running time of a connection's first buffer, and of its first picture."""


class _Connection:
    """The elements of one connection, from the network to the two pads of the fixed graph."""

    def __init__(self, pipeline: MediaPipeline, sound: Sound, number: int, on_first: _OnFirst) -> None:
        self._pipeline, self._sound, self._number = pipeline, sound, number
        self._on_first, self._on_first_picture = on_first
        self._elements: list[Gst.Element] = []
        self._handlers: list[tuple[Gst.Element, int]] = []
        self._lock = Lock()
        self.lateness = Lateness()
        self.pictures = 0
        """That have come in so far."""
        self.since = time.monotonic()
        """When it was opened, then when its first buffer came."""
        self.anchored = False
        self.ended = ""
        self._pictures_end: Gst.Pad | None = None
        self._kept_thread: int | None = None

    def end(self, why: str) -> None:
        self.ended = self.ended or why

    def remove(self) -> None:
        """Takes the elements out of the running pipeline; nothing downstream notices but that nothing comes."""
        for element, handler in self._handlers:
            element.disconnect(handler)
        for pad in (self._pipeline.video_in, self._pipeline.audio_in):
            peer = pad.get_peer()
            if peer is not None:
                peer.unlink(pad)
        self._pipeline.end_of_input()
        for element in self._elements:
            element.set_locked_state(True)
            self._pipeline.graph.remove(element)
        dispose(*self._elements)
        self._elements, self._handlers = [], []

    def _add(self, kind: str, **properties: object) -> Gst.Element:
        element = make(kind, **properties)
        element.set_name(f"input-{self._number}-{kind}-{len(self._elements)}")
        self._elements.append(element)
        self._pipeline.graph.add(element)
        return element

    def _chain(self, pad: Gst.Pad, target: Gst.Pad | None, *kinds: Step) -> Gst.Pad:
        """pad ! kinds... ! target; gives the pad that is, or is to be, linked to the target."""
        elements = [self._add(k) if isinstance(k, str) else self._add(k[0], **k[1]) for k in kinds]
        for left, right in pairwise(elements):
            left.link(right)
        end = pad
        if elements:
            end = elements[-1].get_static_pad("src")
            if target is not None:
                end.link(target)
            target = elements[0].get_static_pad("sink")
        for element in reversed(elements):
            element.sync_state_with_parent()
        if target is not None:
            self._check(pad.link(target), pad)
        return end

    def _check(self, result: Gst.PadLinkReturn, pad: Gst.Pad) -> None:
        if result != Gst.PadLinkReturn.OK:
            self.end(f"its {pad.get_name()} track ({_caps_of(pad)}) cannot be used: {result.value_nick}")

    def _show(self, pad: Gst.Pad, *parsed: Step) -> None:
        """pad ! parsed... ! (the fixed graph's video, from the first picture on: until then it may be the slate's)"""
        self._watch(pad, self._on_picture)
        self._pictures_end = self._chain(pad, None, *parsed)

    def _listen(self, pad: Gst.Pad, codec: Codec, *parsed: Step) -> None:
        """pad ! parsed... ! (the way that the sound takes)"""
        self._watch(pad, self._on_first_sound)
        self._chain(pad, self._pipeline.audio_in, *parsed, *self._sound.way_in(codec))

    def _on_pad(self, _: Gst.Element, pad: Gst.Pad) -> None:
        try:
            self._use(pad)
        except DubrelayError as e:  # GStreamer's thread has nobody to raise it to
            self.end(e.message)

    def _use(self, pad: Gst.Pad) -> None:
        raise NotImplementedError

    def _watch(self, pad: Gst.Pad, on_buffer: Callable[[Gst.Pad, Gst.PadProbeInfo], Gst.PadProbeReturn]) -> None:
        pad.add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, self._on_event)
        pad.add_probe(Gst.PadProbeType.BUFFER, on_buffer)

    def _on_event(self, _: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        kind = info.get_event().type
        if kind == Gst.EventType.EOS:
            self.end("the publisher left")
            self._let_thread_go()
        # flvmux would end with an EOS, and write a GAP like a picture, be it of stamps that leapt.
        return _DROP if kind in (Gst.EventType.EOS, Gst.EventType.GAP) else _OK

    def _on_first_sound(self, pad: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        """Only the first: a probe costs more than all else that is done with a frame. `pull` looks at the others."""
        self._anchor(self._placed(pad, info.get_buffer(), self._pipeline.now()))
        return _DROP if self.ended else Gst.PadProbeReturn.REMOVE

    def _on_picture(self, pad: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        now, buffer = self._pipeline.now(), info.get_buffer()
        at = self._placed(pad, buffer, now)
        if not self.ended and not self.pictures:
            ahead = 0 if buffer.dts == _NO_TIME else max(0, buffer.pts - buffer.dts)
            self._check(self._pipeline.link_video(self._pictures_end, at, at - ahead), pad)
            self._on_first_picture(at)
        if not self.ended:
            self._pipeline.picture_came(at, now)
        self.pictures += 1
        if not self.anchored:
            self._anchor(at)
        if self._kept_thread is None:
            self._keep_thread()
        if self.ended:
            self._let_thread_go()
        return _DROP if self.ended else _OK

    def _keep_thread(self) -> None:
        """Makes the thread that brings the pictures known to Python for as long as the connection lasts.

        Otherwise it would get to know it anew with each picture, which costs more than what is done with the picture.
        """
        self._kept_thread = get_ident()
        ctypes.pythonapi.PyGILState_Ensure()

    def _let_thread_go(self) -> None:
        if self._kept_thread == get_ident():
            self._kept_thread = 0
            ctypes.pythonapi.PyGILState_Release(_LOCKED)

    def _anchor(self, at: int) -> None:
        with self._lock:
            first, self.anchored = not self.anchored, True
        if first:
            self.since = time.monotonic()
            self._on_first(at)

    def _placed(self, pad: Gst.Pad, buffer: Gst.Buffer, now: int) -> int:
        """Sees to it that the buffer has its right running time, and gives it."""
        raise NotImplementedError


class _StampedConnection(_Connection):
    """Both tracks bear the publisher's stamps, of one timeline: what lies between the two is exact."""

    def __init__(self, pipeline: MediaPipeline, sound: Sound, number: int, on_first: _OnFirst) -> None:
        super().__init__(pipeline, sound, number, on_first)
        self._stamps = Stamps()
        self._segments: dict[Gst.Pad, int] = {}  # sequence number of the event that each pad was given

    def _read(self, source: str, demuxer: Step, **properties: object) -> None:
        """source ! demuxer, which says what tracks there are."""
        end = self._add(source, **properties)
        demux = self._add(demuxer) if isinstance(demuxer, str) else self._add(demuxer[0], **demuxer[1])
        self._handlers.append((demux, demux.connect("pad-added", self._on_pad)))
        end.link(demux)
        demux.sync_state_with_parent()
        end.sync_state_with_parent()

    def _on_event(self, pad: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        event = info.get_event()
        given = self._segments.get(pad) if event.type == Gst.EventType.SEGMENT else None
        return super()._on_event(pad, info) if given in (None, event.get_seqnum()) else _DROP

    def _leapt(self, pad: Gst.Pad, buffer: Gst.Buffer) -> bool:
        """Whether the demuxer has moved the stamps by itself."""
        return False

    def _placed(self, pad: Gst.Pad, buffer: Gst.Buffer, now: int) -> int:
        pts, dts = buffer.pts, buffer.dts
        stamp = pts if dts == _NO_TIME else dts
        with self._lock:
            fits = self._stamps.place(pad, stamp, now)
        # MediaMTX lets the PTS leap and the DTS crawl after it.
        if not fits or pts - stamp > _REORDERED_NS or self._leapt(pad, buffer):
            self.end("its stamps leapt")
        shift = self._stamps.shift or 0
        if pad in self._segments:  # not for the first of a track: pictures may well come later than their sound
            self.lateness.note(now - stamp - shift, now)
        else:
            # The demuxer's own begins with the sound, which may be before the pictures are, or after.
            event = Gst.Event.new_segment(_segment(shift))
            self._segments[pad] = event.get_seqnum()
            pad.push_event(event)
        return int(pts + shift)


class _RtmpConnection(_StampedConnection):
    def __init__(self, pipeline: MediaPipeline, sound: Sound, url: str, number: int, on_first: _OnFirst) -> None:
        super().__init__(pipeline, sound, number, on_first)
        self._read("rtmp2src", "flvdemux", location=url, timeout=int(_CONNECT_S))

    def _use(self, pad: Gst.Pad) -> None:
        if pad.get_name() == "video":
            self._show(pad)
        elif pad.get_name() == "audio":
            caps = pad.get_current_caps().get_structure(0)
            if caps.get_int("mpegversion")[1] == 1:
                self._listen(pad, Codec("mp3"), "mpegaudioparse")
            else:
                self._listen(pad, Codec("aac", _bytes_of(caps.get_value("codec_data"))))

    def _leapt(self, pad: Gst.Pad, buffer: Gst.Buffer) -> bool:
        """flvdemux moves stamps that leap, each track by its own distance, and says so by DISCONT."""
        return pad in self._segments and bool(buffer.has_flags(_DISCONT))


class _SrtConnection(_StampedConnection):
    """MPEG-TS. Its stamps are taken as they are (ignore-pcr), not by when they arrive."""

    def __init__(self, pipeline: MediaPipeline, sound: Sound, url: str, number: int, on_first: _OnFirst) -> None:
        super().__init__(pipeline, sound, number, on_first)
        self._has_audio = False
        source = {"uri": url, "auto-reconnect": False, "latency": _SRT_LATENCY_MS}
        self._read("srtsrc", ("tsdemux", {"ignore-pcr": True}), **source)

    def _use(self, pad: Gst.Pad) -> None:
        caps = pad.get_current_caps().get_structure(0)
        kind = caps.get_name()
        if kind == "video/x-h264":
            self._show(pad, "h264parse", ("capsfilter", {"caps": AVC}))
        elif kind in ("audio/mpeg", "audio/x-opus") and not self._has_audio:
            self._has_audio = True
            mpeg = "mpegaudioparse" if caps.get_int("mpegversion")[1] == 1 else "aacparse"
            frames = self._add("capsfilter", caps=_FRAMES)
            frames.get_static_pad("src").add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, self._on_format)
            frames.sync_state_with_parent()
            self._chain(pad, frames.get_static_pad("sink"), mpeg if kind == "audio/mpeg" else "opusparse")

    def _on_format(self, pad: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        """What the sound is stands in its first frame; the rest of its way follows from that."""
        event = info.get_event()
        if event.type != Gst.EventType.CAPS:
            return _OK
        caps = event.parse_caps().get_structure(0)
        if caps.get_name() == "audio/x-opus":
            codec = Codec("opus")
        elif caps.get_int("mpegversion")[1] == 1:
            codec = Codec("mp3")
        else:
            codec = Codec("aac", _bytes_of(caps.get_value("codec_data")))
        self._listen(pad, codec)
        return Gst.PadProbeReturn.REMOVE


class _RtspConnection(_Connection):
    def __init__(self, pipeline: MediaPipeline, sound: Sound, url: str, number: int, on_first: _OnFirst) -> None:
        super().__init__(pipeline, sound, number, on_first)
        self._has_audio = False
        source = self._add("rtspsrc", location=url, protocols=4, latency=_RTSP_JITTER_MS, tcp_timeout=5_000_000)
        self._handlers.append((source, source.connect("pad-added", self._on_pad)))
        source.sync_state_with_parent()

    def _use(self, pad: Gst.Pad) -> None:
        caps = pad.get_current_caps().get_structure(0)
        codec = caps.get_string("encoding-name")
        if codec == "H264":
            depay = ("rtph264depay", {"wait_for_keyframe": True})
            self._show(pad, depay, "h264parse", "h264timestamper", ("capsfilter", {"caps": AVC}))
        elif codec in _RTSP_AUDIO and not self._has_audio:
            self._has_audio = True
            name, *parsed = _RTSP_AUDIO[codec]
            self._listen(pad, Codec(name, bytes.fromhex(caps.get_string("config") or "")), *parsed)
        else:
            unused = self._add("fakesink", sync=False, **{"async": False})
            unused.sync_state_with_parent()
            self._chain(pad, unused.get_static_pad("sink"))

    def _placed(self, pad: Gst.Pad, buffer: Gst.Buffer, now: int) -> int:
        return _running(pad, buffer.pts)


_Kind = Callable[[MediaPipeline, Sound, str, int, _OnFirst], _Connection]
_CONNECTIONS: dict[str, _Kind] = {"rtmp": _RtmpConnection, "rtsp": _RtspConnection, "srt": _SrtConnection}
_FRAMES = "audio/mpeg,mpegversion=4,stream-format=raw;audio/mpeg,mpegversion=1;audio/x-opus"
_RTSP_AUDIO: dict[str, tuple[CodecName, str, str]] = {
    "MPEG4-GENERIC": ("aac", "rtpmp4gdepay", "aacparse"),
    "MPA": ("mp3", "rtpmpadepay", "mpegaudioparse"),
    "OPUS": ("opus", "rtpopusdepay", "opusparse"),
}


def _segment(shift: int) -> Gst.Segment:
    """The one in which a buffer's running time is its stamp and `shift`."""
    segment = Gst.Segment()
    segment.init(Gst.Format.TIME)
    segment.start, segment.base = max(0, -shift), max(0, shift)
    return segment


def _running(pad: Gst.Pad, pts: int) -> int:
    """Negative where a track begins before its segment does."""
    segment = pad.get_sticky_event(Gst.EventType.SEGMENT, 0).parse_segment()
    sign, running = segment.to_running_time_full(Gst.Format.TIME, pts)
    return int(sign * running)


def _bytes_of(buffer: Gst.Buffer | None) -> bytes:
    return b"" if buffer is None else bytes(buffer.extract_dup(0, buffer.get_size()))


def _caps_of(pad: Gst.Pad) -> str:
    caps = pad.get_current_caps()
    return caps.get_structure(0).get_name() if caps is not None else "unknown"
