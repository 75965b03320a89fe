"""The GStreamer graph of one stream: one pipeline that stays PLAYING for ever.

    [source] --video--> queue ------------------> flvmux ! valve ! errorignore ! [sink]
             --audio--> (heard) ! appsink            |
                           Python: pull ... push     |
                        appsrc ! (said) --------------

The parts in square brackets are replaced inside the running pipeline (source.py, sink.py), those in round ones depend
on the mode (decoded.py, passed.py). Video never reaches Python, but the slate's comes from there (slate.py): into the
same queue, while no source is linked to it.

Audio is the output's clock: flvmux holds the picture until sound of the same time is there, and the session pushes the
sound of running time t at t + latency. No element waits for the clock; a frame's delay is exact by construction. The
muxer's own latency, three seconds more, is only the net under a session that hangs. It counts from what comes first:
from running time zero on, it would be late by then, wait for no other track, and drop that one as going backwards.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

from dubrelay.errors import MediaError, StartupError
from dubrelay.worker.sound import PATIENCE_NS, Block, SoundGraph

# GStreamer brings libunwind, whose symbols are those of libgcc's unwinder: with the wrong one found first, an exception
# inside onnxruntime would abort the process.
ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)
try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstApp", "1.0")
    from gi.repository import GObject, Gst, GstApp  # noqa: F401  (GstApp: makes try_pull_sample appear)
except (ImportError, ValueError) as e:
    raise StartupError(f"GStreamer cannot be used from Python ({e}): run scripts/setup") from e

Gst.init(None)


_SPARE_VIDEO_NS = 10 * Gst.SECOND
_APART_NS = 1_800_000_000
"""Sound and picture that come together may be of times that far from each other: tracks may be interleaved badly, but
flvdemux moves a track by 2 s or more without a word when it leaps or was away."""
_PROMPT_NS = 600_000_000
_BEFORE_NS = 10 * Gst.SECOND
"""Running time of the start: what comes from before it, as pictures that trail their sound do, has one, too."""
AVC = "video/x-h264,stream-format=avc,alignment=au"
_LONG_AGO = -_PROMPT_NS

ELEMENTS = (
    "aacparse",
    "appsink",
    "appsrc",
    "audiobuffersplit",
    "audioconvert",
    "audioresample",
    "avdec_aac",
    "avdec_mp3float",
    "avdec_opus",
    "avenc_aac",
    "capsfilter",
    "errorignore",
    "fakesink",
    "filesrc",
    "flvdemux",
    "flvmux",
    "funnel",
    "h264parse",
    "h264timestamper",
    "identity",
    "matroskademux",
    "mpegaudioparse",
    "opusparse",
    "qtdemux",
    "queue",
    "rtmp2sink",
    "rtmp2src",
    "rtph264depay",
    "rtpmp4gdepay",
    "rtpmpadepay",
    "rtpopusdepay",
    "rtspsrc",
    "srtsrc",
    "tee",
    "tsdemux",
    "valve",
)


def make(element: str, **properties: object) -> Gst.Element:
    """A new element, its properties given as values or as text. StartupError names what is not installed."""
    made = Gst.ElementFactory.make(element)
    if made is None:
        raise StartupError(
            f"GStreamer has no element {element}: run scripts/setup (dubrelay doctor lists what is missing)"
        )
    for name, value in properties.items():
        if isinstance(value, str):
            Gst.util_set_object_arg(made, name.replace("_", "-"), value)
        else:
            made.set_property(name.replace("_", "-"), value)
    return made


def dispose(*elements: Gst.Element) -> None:
    """Sets elements that left the pipeline to NULL, on a thread of its own: rtspsrc may block there."""

    def to_null() -> None:
        for element in elements:
            element.set_state(Gst.State.NULL)

    threading.Thread(target=to_null, name="dispose", daemon=True).start()


class MediaPipeline:
    """The fixed part of the graph, its clock, and the sound that goes out of it and comes back."""

    def __init__(self, latency_ns: int, sound: SoundGraph, beside: str = "") -> None:
        """`beside` is another part of the graph, which takes the muxer's tags from a tee named `both`."""
        for name in ELEMENTS:
            if Gst.ElementFactory.find(name) is None:
                make(name)
        self.latency_ns = latency_ns
        self.graph: Gst.Pipeline = Gst.parse_launch(
            f"queue name=video max-size-bytes=0 max-size-buffers=0 max-size-time={latency_ns + _SPARE_VIDEO_NS} "
            "! mux.video "
            f"{sound.heard} ! appsink name=heard sync=false async=false max-buffers=0 enable-last-sample=false "
            "appsrc name=said format=time is-live=true block=false max-bytes=0 max-buffers=0 max-time=0 "
            f"{'! ' + sound.said if sound.said else ''} ! mux.audio "
            "flvmux name=mux streamable=true skip-backwards-streams=true start-time-selection=first "
            f"latency={latency_ns + PATIENCE_NS} "
            f"{'! tee name=both ' if beside else ''}! valve name=gate-output drop=true "
            "! errorignore name=tail-output ignore-error=true ignore-notlinked=true ignore-eos=true convert-to=ok "
            f"{beside}"
        )
        self.video_in: Gst.Pad = self.element("video").get_static_pad("sink")
        self.video_lock = threading.Lock()
        """Held while `video_in` is linked to a source, or while the slate's pictures are pushed into it."""
        self.before_source: Callable[[int, int], None] = lambda _pts, _dts: None
        """Told the running times of a source's first picture before it is let in; `video_lock` is held."""
        self.audio_in: Gst.Pad = self.element("audio").get_static_pad("sink")
        self.gate, self.tail = self.element("gate-output"), self.element("tail-output")
        self._video_queue, self._heard, self._said = self.element("video"), self.element("heard"), self.element("said")
        heard_pad = self._heard.get_static_pad("sink")
        heard_pad.add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, _drop_end)
        self.warnings = 0
        """Warnings on the bus so far."""
        self.blocks = 0
        """Blocks of sound that have come in so far."""
        self.apart = False
        """Sound came that is not of the time of the picture that came with it."""
        self.picture_at = 0
        """Running time of the picture that came in last; 0 before the first."""
        self._pulled_at = 0
        self._doubtful: list[Block] = []
        self._picture_came_at = _LONG_AGO
        self._latest_picture: int | None = None
        # The muxer's first deadline counts from 0, not from its first buffer: the first picture would go too early.
        self._pictures_out: Gst.Pad = self._video_queue.get_static_pad("src")
        self._held: int | None = self._pictures_out.add_probe(Gst.PadProbeType.BLOCK_DOWNSTREAM, self._hold)
        self._first_picture: int | None = None
        self._clock: Gst.Clock = GObject.new(Gst.SystemClock, name="stream")  # not the one that all share: `follow`
        self._base_ns: int = self._clock.get_time() - _BEFORE_NS
        self.graph.use_clock(self._clock)
        self.graph.set_start_time(Gst.CLOCK_TIME_NONE)
        self.graph.set_base_time(self._base_ns)
        self.graph.set_state(Gst.State.PLAYING)

    def element(self, name: str) -> Gst.Element:
        """Of the fixed part of the graph."""
        return self.graph.get_by_name(name)

    def now(self) -> int:
        """Running time in ns: one clock for everything in this process."""
        return int(self._clock.get_time() - self._base_ns)

    def follow(self, ppm: int) -> None:
        """Lets the clock run that much faster than the machine's from now on."""
        internal, external = self._clock.get_internal_time(), self._clock.get_time()
        self._clock.set_calibration(internal, external, 1_000_000 + ppm, 1_000_000)

    def new_source(self) -> None:
        """What comes from now on has nothing to do with what came."""
        self.apart, self._picture_came_at, self._doubtful = False, _LONG_AGO, []

    def link_video(self, pad: Gst.Pad, pts: int, dts: int) -> Gst.PadLinkReturn:
        """From now on the pictures come from `pad`; the first one has these running times."""
        with self.video_lock:
            self.before_source(pts, dts)
            return pad.link(self.video_in)

    def picture_came(self, at: int, now: int) -> None:
        """A picture of running time `at` came in. Called on GStreamer's threads."""
        self.picture_at, self._picture_came_at, self._latest_picture = at, now, now

    @property
    def still_s(self) -> float:
        """How long no picture has come in, from whatever source; 0 before the first."""
        return 0.0 if self._latest_picture is None else (self.now() - self._latest_picture) / 1e9

    def pull(self) -> list[Block]:
        """All sound that has come in since the last call, in order; none when it is `apart`, or may be.

        A single block may be what the splitter still held of the sound before a pause: the next one tells.
        """
        now = self.now()
        comparable = now - self._pulled_at < _PROMPT_NS and now - self._picture_came_at < _PROMPT_NS
        self._pulled_at = now
        came = self._drained()
        if not came:
            return []
        blocks, self._doubtful = self._doubtful + came, []
        if not comparable or abs(blocks[-1].at - self.picture_at) <= _APART_NS:
            return blocks
        if len(blocks) > 1:
            self.apart = True
        else:
            self._doubtful = blocks
        return []

    def _drained(self) -> list[Block]:
        blocks = []
        while (sample := self._heard.try_pull_sample(0)) is not None:
            self.blocks += 1
            buffer = sample.get_buffer()
            at = sample.get_segment().to_running_time(Gst.Format.TIME, buffer.pts)
            if at != Gst.CLOCK_TIME_NONE:
                blocks.append(Block(at, buffer.extract_dup(0, buffer.get_size())))
        return blocks

    def end_of_input(self) -> None:
        """The source is gone: what the splitter still holds of its sound comes out."""
        self.audio_in.send_event(Gst.Event.new_eos())

    def speak(self, caps: str) -> None:
        """What `push` will be given from now on."""
        self._said.set_caps(Gst.Caps.from_string(caps))

    def push(self, at: int, data: bytes, duration: int) -> None:
        """Sends sound out as that of running time `at`. Must follow what was pushed before."""
        buffer = Gst.Buffer.new_wrapped(data)
        buffer.pts = max(0, at)
        buffer.duration = duration
        self._said.push_buffer(buffer)
        if self._held is not None and self._first_picture is not None and self._first_picture < at + duration:
            self._pictures_out.remove_probe(self._held)
            self._held = None

    def _hold(self, pad: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        """Holds the first picture until sound of its time is pushed."""
        if not info.type & Gst.PadProbeType.BUFFER:
            return Gst.PadProbeReturn.PASS
        segment = pad.get_sticky_event(Gst.EventType.SEGMENT, 0).parse_segment()
        self._first_picture = segment.to_running_time(Gst.Format.TIME, info.get_buffer().pts)
        return Gst.PadProbeReturn.OK

    def errors(self) -> list[tuple[Gst.Element, str, bool]]:
        """Elements that failed since the last call: who, why, and whether it was refused for lack of rights."""
        failed = []
        wanted = Gst.MessageType.ERROR | Gst.MessageType.WARNING | Gst.MessageType.EOS | Gst.MessageType.LATENCY
        while (message := self.graph.get_bus().pop_filtered(wanted)) is not None:
            if message.type == Gst.MessageType.LATENCY:
                self.graph.recalculate_latency()
            elif message.type == Gst.MessageType.ERROR:
                error, _ = message.parse_error()
                refused = error.matches(Gst.ResourceError.quark(), Gst.ResourceError.NOT_AUTHORIZED)
                failed.append((message.src, error.message, refused))
            elif message.type == Gst.MessageType.EOS:
                failed.append((message.src, "end of stream", False))
            else:
                self.warnings += 1
        return failed

    @property
    def video_may_block(self) -> bool:
        """Whether nothing takes the pictures: who pushed on would soon have to wait."""
        return self.video_queue_ms > (self.latency_ns + int(_SPARE_VIDEO_NS) // 2) / 1e6

    @property
    def video_queue_ms(self) -> float:
        return float(self._video_queue.get_property("current-level-time")) / 1e6

    def stop(self, timeout_s: float = 1.0) -> None:
        """Leaves PLAYING; gives up after `timeout_s`, since a network element may block."""
        thread = threading.Thread(target=self.graph.set_state, args=(Gst.State.NULL,), daemon=True)
        thread.start()
        thread.join(timeout_s)


def _drop_end(_: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
    """An element that saw the end of a stream takes no more; the next source begins a new one for those before it."""
    ends = info.get_event().type == Gst.EventType.EOS
    return Gst.PadProbeReturn.DROP if ends else Gst.PadProbeReturn.OK


def unexpected(source: Gst.Element, why: str) -> MediaError:
    """The error of an element that is neither the input nor the output: only a restart helps."""
    return MediaError(f"GStreamer element {source.get_name()}: {why}")
