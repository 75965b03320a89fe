"""The graph with real elements, without a server: a file plays the input, an appsink the output."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from gi.repository import GLib

from dubrelay.audio import RATE_HZ, Ring, Samples, samples_in
from dubrelay.demo.access_units import access_units, match
from dubrelay.errors import StartupError
from dubrelay.worker import decoded, passed
from dubrelay.worker.decoded import DecodedSound
from dubrelay.worker.flv import is_key_frame
from dubrelay.worker.passed import PassedSound
from dubrelay.worker.pipeline import Gst, MediaPipeline, make
from dubrelay.worker.sound import Codec, Sound
from flash_and_beep import av_offset, flash_and_beep
from waiting import wait_for

pytestmark = pytest.mark.gst

LATENCY_S = 0.6
BITRATE_KBPS = 128


class Kept:
    """A track that gives back what it was fed."""

    queue_ms = 0.0

    def __init__(self) -> None:
        self.blocks: list[tuple[int, Samples]] = []
        self._ring = Ring(samples_in(10))

    def feed(self, at: int, samples: Samples) -> None:
        self.blocks.append((at, samples))
        self._ring.write(at, samples)

    def paused(self) -> None:
        pass

    def render(self, at: int, count: int) -> Samples:
        return self._ring.read(at, count)

    def close(self) -> None:
        pass


@pytest.fixture
def pipeline(request: pytest.FixtureRequest) -> Iterator[MediaPipeline]:
    graph = passed.GRAPH if getattr(request, "param", "") == "passed" else decoded.graph(BITRATE_KBPS, batch_ms=100)
    made = MediaPipeline(round(LATENCY_S * 1e9), graph)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 s, H.264 with 2 B-frames; the sound is a click at each whole second over a soft tone."""
    path = tmp_path_factory.mktemp("clip") / "clip.flv"
    picture = "testsrc2=size=320x180:rate=25,noise=alls=20:allf=t"
    sound = "aevalsrc='if(lt(mod(t,1),0.01),0.8,0.05*sin(2*PI*300*t))':s=48000:d=6"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    video = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p"]
    subprocess.run([*command, "-t", "6", *video, "-c:a", "aac", "-ac", "2", "-b:a", "192k", str(path)], check=True)
    return path


class Output:
    """Everything that leaves the tail of the graph: an FLV file."""

    def __init__(self, pipeline: MediaPipeline) -> None:
        self.data = bytearray()
        self.key_frames = 0
        sink = make("appsink", sync=False, emit_signals=True, **{"async": False})
        sink.connect("new-sample", self._on_sample)
        pipeline.graph.add(sink)
        pipeline.tail.link(sink)
        sink.sync_state_with_parent()
        pipeline.gate.set_property("drop", False)

    def _on_sample(self, sink: Gst.Element) -> Gst.FlowReturn:
        buffer = sink.emit("pull-sample").get_buffer()
        tag = buffer.extract_dup(0, buffer.get_size())
        self.key_frames += is_key_frame(tag[:13])
        self.data += tag
        return Gst.FlowReturn.OK


def play(pipeline: MediaPipeline, sound: Sound, clip: Path) -> None:
    """The file, in real time, as a connection of source.py would deliver it."""
    source, demux = make("filesrc", location=str(clip)), make("flvdemux")
    for element in (source, demux):
        pipeline.graph.add(element)
    source.link(demux)

    begun = pipeline.now()
    sound.begin(begun)

    def on_pad(_: Gst.Element, pad: Gst.Pad) -> None:
        chain = [make("identity", sync=True)]
        target = pipeline.video_in
        if pad.get_name() == "audio":
            config = pad.get_current_caps().get_structure(0).get_value("codec_data")
            steps = sound.way_in(Codec("aac", config.extract_dup(0, config.get_size())))
            chain += [make(step) if isinstance(step, str) else make(step[0], **step[1]) for step in steps]
            target = pipeline.audio_in
        pad.add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, drop_end)
        pad.set_offset(begun)
        for element in chain:
            pipeline.graph.add(element)
        for left, right in pairwise(chain):
            left.link(right)
        chain[-1].get_static_pad("src").link(target)
        for element in reversed(chain):
            element.sync_state_with_parent()
        pad.link(chain[0].get_static_pad("sink"))

    def drop_end(_: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        ends = info.get_event().type == Gst.EventType.EOS
        return Gst.PadProbeReturn.DROP if ends else Gst.PadProbeReturn.OK

    demux.connect("pad-added", on_pad)
    demux.sync_state_with_parent()
    source.sync_state_with_parent()


class Pump:
    """What the session does."""

    def __init__(self, pipeline: MediaPipeline, sound: Sound) -> None:
        self._pipeline, self._sound = pipeline, sound
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self._sound.take_in()
            self._sound.send_out(self._pipeline.now() - self._pipeline.latency_ns)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def test_an_element_that_is_not_installed_is_named() -> None:
    with pytest.raises(StartupError, match="no element nosuchthing"):
        make("nosuchthing")


def test_sound_comes_in_without_gap_and_overlap_and_pictures_go_out_as_they_were(
    pipeline: MediaPipeline, clip: Path, tmp_path: Path
) -> None:
    track = Kept()
    out = played_through(
        pipeline,
        DecodedSound(pipeline, track),
        clip,
        tmp_path / "out.flv",
        until=lambda: sum(len(samples) for _, samples in track.blocks) > samples_in(5.8),
    )
    assert {later - (at + len(samples)) for (at, samples), (later, _) in pairwise(track.blocks)} == {0}
    assert click_distances(np.concatenate([samples for _, samples in track.blocks])) == near_a_second
    found = match(access_units(clip), access_units(out))
    assert found is not None
    assert found.equal == found.recorded > 120


@pytest.mark.parametrize("pipeline", ["passed"], indirect=True)
def test_passed_sound_and_pictures_go_out_as_they_were(pipeline: MediaPipeline, clip: Path, tmp_path: Path) -> None:
    out = played_through(pipeline, PassedSound(pipeline, BITRATE_KBPS), clip, tmp_path / "out.flv")
    found = match(access_units(clip), access_units(out))
    assert found is not None
    assert found.equal == found.recorded > 120
    sent, came = packets(out, "a"), packets(clip, "a")
    first = next(n for n in range(len(sent)) if sent[n] in came)  # silence, until the file's sound was there
    begin = came.index(sent[first])
    assert sent[first:] == came[begin : begin + len(sent) - first]
    assert first < 10
    assert len(sent) > 4.5 * RATE_HZ / 1024


@pytest.mark.parametrize("pipeline", ["passed"], indirect=True)
def test_passed_sound_of_another_format_is_coded_to_the_first_and_stays_in_time(
    pipeline: MediaPipeline, tmp_path: Path
) -> None:
    clip = flash_and_beep(tmp_path / "clip.flv", 14, b_frames=2)
    sound = PassedSound(pipeline, BITRATE_KBPS)
    assert sound.way_in(Codec("aac", bytes.fromhex("1208"))) == ()  # the output is 44.1 kHz mono from here on
    out = played_through(pipeline, sound, clip, tmp_path / "out.flv", key_frames=5)
    assert _shown(out, "a", "stream=sample_rate,channels") == ["44100,1"]
    offset = av_offset(out)
    assert offset.pairs >= 5
    assert -5 <= offset.min_ms <= offset.max_ms <= 5


near_a_second = pytest.approx([samples_in(1)] * 4, abs=50)


def played_through(
    pipeline: MediaPipeline,
    sound: Sound,
    clip: Path,
    out: Path,
    key_frames: int = 6,
    until: Callable[[], bool] = lambda: True,
) -> Path:
    output = Output(pipeline)
    pump = Pump(pipeline, sound)
    try:
        play(pipeline, sound, clip)
        wait_for(lambda: output.key_frames == key_frames and until(), 20, "the last key frame")
    finally:
        pump.stop()
    out.write_bytes(output.data)
    return out


def packets(file: Path, track: str) -> list[str]:
    return _shown(file, track, "packet=data_hash", "-show_data_hash", "md5")


def _shown(file: Path, track: str, entries: str, *options: str) -> list[str]:
    command = ["ffprobe", "-v", "error", "-select_streams", track, *options, "-show_entries", entries, "-of", "csv=p=0"]
    return subprocess.run([*command, str(file)], check=True, capture_output=True, text=True).stdout.split()


def click_distances(sound: Samples) -> list[int]:
    """Samples between the clicks."""
    loud = np.flatnonzero(np.abs(sound[:, 0]) > 0.4)
    clicks = loud[np.flatnonzero(np.diff(loud, prepend=-RATE_HZ) > RATE_HZ // 2)]
    return [int(step) for step in np.diff(clicks)][:4]


def test_warnings_of_elements_are_counted(pipeline: MediaPipeline) -> None:
    source = make("appsrc", format="time")
    pipeline.graph.add(source)
    warning = Gst.Message.new_warning(source, GLib.Error.new_literal(Gst.stream_error_quark(), "odd", 1), "")
    source.post_message(warning)
    assert pipeline.errors() == []
    assert pipeline.warnings == 1


def test_warnings_and_errors_of_elements_are_told_with_their_source(pipeline: MediaPipeline) -> None:
    source = make("filesrc", location="/nonexistent/file")
    source.set_name("input-1-filesrc-0")
    pipeline.graph.add(source)
    source.sync_state_with_parent()
    failed = wait_for(pipeline.errors, 5, "an error on the bus")
    assert failed[0][0].get_name() == "input-1-filesrc-0"
    assert not failed[0][2]


def test_what_was_left_of_the_sound_before_a_pause_is_no_sound_of_another_time(pipeline: MediaPipeline) -> None:
    source = make("appsrc", caps="audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2", format="time")
    pipeline.graph.add(source)
    source.get_static_pad("src").link(pipeline.audio_in)
    source.sync_state_with_parent()
    twentieth = Gst.SECOND // 20
    came: list[int] = []

    def say(at: int, count: int) -> None:
        for n in range(count):
            buffer = Gst.Buffer.new_wrapped(bytes(48_000 // 20 * 4))
            buffer.pts, buffer.duration = at + n * twentieth, twentieth
            source.push_buffer(buffer)

    def looked(picture_at: int) -> int:
        pipeline.picture_came(picture_at, pipeline.now())
        came.extend(block.at for block in pipeline.pull())
        return pipeline.blocks

    before, after = 10 * Gst.SECOND, 14 * Gst.SECOND
    say(before, 5)
    wait_for(lambda: looked(before) == 2, 10, "two blocks")
    say(after, 1)
    wait_for(lambda: looked(after) == 3, 10, "the half one that was left")
    assert len(came) == 2
    say(after + twentieth, 3)
    wait_for(lambda: looked(after) == 5, 10, "the sound after the pause")
    assert not pipeline.apart
    assert came == [before, before + 2 * twentieth, before + 4 * twentieth, after, after + 2 * twentieth]


def test_exceptions_inside_onnxruntime_stay_exceptions_beside_gstreamer(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(Exception, match=r"bad\.onnx"):
        onnxruntime.InferenceSession(str(tmp_path / "bad.onnx"))


@pytest.mark.parametrize("apart_s", [0.0, 0.8, -4.0])
def test_sound_that_is_not_of_the_time_of_its_picture_is_not_let_in(pipeline: MediaPipeline, apart_s: float) -> None:
    """flvdemux moves a track that was away back in time, without a word."""
    source = make("appsrc", caps="audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2", format="time")
    pipeline.graph.add(source)
    source.get_static_pad("src").link(pipeline.audio_in)
    source.sync_state_with_parent()
    at = 10 * Gst.SECOND
    pipeline.pull()  # what comes in before the first look may have waited: nothing is told by it
    for n in range(10):
        buffer = Gst.Buffer.new_wrapped(bytes(48_000 // 10 * 4))
        buffer.pts, buffer.duration = at + int(apart_s * 1e9) + n * Gst.SECOND // 10, Gst.SECOND // 10
        source.push_buffer(buffer)
    came = []

    def looked() -> bool:
        pipeline.picture_came(at, pipeline.now())
        came.extend(pipeline.pull())
        return pipeline.blocks >= 9

    wait_for(looked, 10, "the blocks")
    assert pipeline.apart is (apart_s == -4.0)
    assert bool(came) is not pipeline.apart
    pipeline.new_source()
    assert not pipeline.apart
