"""Both sounds beside the output: its picture, its dub, and the original as a second track, published to a third path.

    flvmux ! (both: to the output) ! queue ! funnel ! gate ! tail ! [sink]
    appsrc ! (coded as the dub is) ! Python: tags ---^

The output itself has the dub alone: MediaMTX forwards all tracks of a path, and not every destination takes two. What
happens to this one does the output no harm.
"""

from __future__ import annotations

from gi.repository import Gst

from dubrelay.logs import Logger
from dubrelay.worker.aac import DEFAULT_CONFIG
from dubrelay.worker.decoded import PCM, coder
from dubrelay.worker.flv import AUDIO_TAG, VIDEO_TAG, coded_frame, restamped, sequence_start, stamp_of
from dubrelay.worker.pipeline import MediaPipeline
from dubrelay.worker.sink import Sink

_ORIGINAL_TRACK = 1
_WAITING_BYTES = 8_000_000
"""Some seconds, while MediaMTX does not take them; then tags are lost here, and nothing in the output."""
_WAITING_SOUND_BYTES = 500_000


def graph(bitrate_kbps: int) -> str:
    """What MediaPipeline is given as `beside`."""
    return (
        f"both. ! queue name=beside leaky=downstream max-size-bytes={_WAITING_BYTES} max-size-buffers=0 "
        "max-size-time=0 ! funnel name=joined forward-sticky-events=false ! valve name=gate-languages drop=true "
        "! errorignore name=tail-languages ignore-error=true ignore-notlinked=true ignore-eos=true convert-to=ok "
        f"appsrc name=tags format=time is-live=true block=false max-bytes={_WAITING_SOUND_BYTES} leaky-type=downstream "
        "! joined. "
        f"appsrc name=original caps={PCM} format=time is-live=true block=false max-bytes=0 max-buffers=0 max-time=0 "
        f"! {coder(bitrate_kbps)} ! fakesink name=coded sync=false async=false enable-last-sample=false"
    )


class Languages:
    """The third path. `push` is given the original of what goes out."""

    def __init__(self, pipeline: MediaPipeline, url: str, log: Logger) -> None:
        self.sink = Sink(pipeline, url, log, name="languages", vital=False, preamble=self._preamble)
        self._original, self._tags = pipeline.element("original"), pipeline.element("tags")
        self._headers: dict[int, bytes] = {}
        """The muxer's latest, by the type of the tag: how picture and dub are coded."""
        self._changed = False
        """They have not been sent yet."""
        self._began_ns: int | None = None
        """Running time of the stamp 0."""
        muxed, coded = (pipeline.element(name).get_static_pad("sink") for name in ("beside", "coded"))
        muxed.add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, self._on_event)
        muxed.add_probe(Gst.PadProbeType.BUFFER, self._on_muxed)
        coded.add_probe(Gst.PadProbeType.BUFFER, self._on_coded)

    def push(self, at: int, data: bytes, duration: int) -> None:
        """As MediaPipeline.push, in pieces of the same times."""
        buffer = Gst.Buffer.new_wrapped(data)
        buffer.pts, buffer.duration = max(0, at), duration
        self._original.push_buffer(buffer)

    def _on_event(self, _: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        """rtmp2sink would send the headers that are in the caps, stamped 0."""
        caps = info.get_event().type == Gst.EventType.CAPS
        return Gst.PadProbeReturn.DROP if caps else Gst.PadProbeReturn.OK

    def _on_muxed(self, pad: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        """Headers get the stamp of what follows them: by one of 0 MediaMTX would take the first picture to be of
        seconds later, and look for no further track.
        """
        buffer = info.get_buffer()
        if buffer.has_flags(Gst.BufferFlags.HEADER):
            header = buffer.extract_dup(0, buffer.get_size())
            self._headers[header[0]] = header
            self._changed = True
            return Gst.PadProbeReturn.DROP
        if buffer.pts == Gst.CLOCK_TIME_NONE:  # one of those below
            return Gst.PadProbeReturn.OK
        stamp_ms = stamp_of(buffer.extract_dup(0, 8))
        if self._began_ns is None:
            self._began_ns = buffer.pts - stamp_ms * 10**6  # flvmux gives a tag as PTS what its stamp means (sink.py)
        if self._changed:
            self._changed = False
            for header in self._configs(stamp_ms):
                pad.chain(Gst.Buffer.new_wrapped(header))
        return Gst.PadProbeReturn.OK

    def _configs(self, stamp_ms: int) -> list[bytes]:
        return [restamped(self._headers[kind], stamp_ms) for kind in (VIDEO_TAG, AUDIO_TAG) if kind in self._headers]

    def _preamble(self, stamp_ms: int) -> list[bytes]:
        return [*self._configs(stamp_ms), sequence_start(_ORIGINAL_TRACK, stamp_ms, DEFAULT_CONFIG)]

    def _on_coded(self, _: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        """On the encoder's thread. The sink connects within the push of a key frame: what is sent then comes later."""
        buffer = info.get_buffer()
        if self.sink.connection is None or self._began_ns is None or buffer.pts < self._began_ns:
            return Gst.PadProbeReturn.OK
        frame, stamp_ms = buffer.extract_dup(0, buffer.get_size()), (buffer.pts - self._began_ns) // 10**6
        tag = Gst.Buffer.new_wrapped(coded_frame(_ORIGINAL_TRACK, stamp_ms, frame))
        tag.pts = buffer.pts
        self._tags.push_buffer(tag)
        return Gst.PadProbeReturn.OK
