"""The graph with real elements, without a server: a file plays the input, an appsink the output."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from dubrelay.audio import RATE_HZ, from_pcm, sample_at, samples_in
from dubrelay.demo.access_units import access_units, match
from dubrelay.errors import StartupError
from dubrelay.worker.pipeline import Block, Gst, MediaPipeline, make
from dubrelay.worker.sink import _is_key_frame
from waiting import wait_for

pytestmark = pytest.mark.gst

LATENCY_S = 0.6


@pytest.fixture
def pipeline() -> Iterator[MediaPipeline]:
    made = MediaPipeline(round(LATENCY_S * 1e9), bitrate_kbps=128)
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
        self.key_frames += _is_key_frame(tag[:13])
        self.data += tag
        return Gst.FlowReturn.OK


def play(pipeline: MediaPipeline, clip: Path) -> None:
    """The file, in real time, as a connection of source.py would deliver it."""
    source, demux = make("filesrc", location=str(clip)), make("flvdemux")
    for element in (source, demux):
        pipeline.graph.add(element)
    source.link(demux)

    def on_pad(_: Gst.Element, pad: Gst.Pad) -> None:
        chain = [make("identity", sync=True)] + ([make("avdec_aac")] if pad.get_name() == "audio" else [])
        target = pipeline.audio_in if pad.get_name() == "audio" else pipeline.video_in
        pad.add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, drop_end)
        pad.set_offset(pipeline.now())
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
    """What the session does: pulls, and pushes the same sound at its time plus latency."""

    def __init__(self, pipeline: MediaPipeline) -> None:
        self.blocks: list[Block] = []
        self._pipeline = pipeline
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        sent = 0
        while not self._stop.wait(0.1):
            self.blocks += self._pipeline.pull()
            due = sample_at(max(0, self._pipeline.now() - self._pipeline.latency_ns))
            while sent < len(self.blocks) and self.blocks[sent].at < due:
                self._pipeline.push(self.blocks[sent].at, self.blocks[sent].pcm)
                sent += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def heard_s(self) -> float:
        return sum(block.count for block in self.blocks) / RATE_HZ


def test_an_element_that_is_not_installed_is_named() -> None:
    with pytest.raises(StartupError, match="no element nosuchthing"):
        make("nosuchthing")


def test_sound_comes_in_without_gap_and_overlap_and_pictures_go_out_as_they_were(
    pipeline: MediaPipeline, clip: Path, tmp_path: Path
) -> None:
    output = Output(pipeline)
    pump = Pump(pipeline)
    try:
        play(pipeline, clip)
        wait_for(lambda: pump.heard_s > 5.8, 20, "6 s of sound")
        wait_for(lambda: output.key_frames == 6, 10, "the key frames of 6 s")
    finally:
        pump.stop()
    steps = [later.at - (block.at + block.count) for block, later in pairwise(pump.blocks)]
    assert set(steps) == {0}
    assert pipeline.pictures_in == 150
    assert click_distances(pump.blocks) == pytest.approx([samples_in(1)] * 4, abs=2)

    (tmp_path / "out.flv").write_bytes(output.data)
    found = match(access_units(clip), access_units(tmp_path / "out.flv"))
    assert found is not None
    assert found.equal == found.recorded > 120


def click_distances(blocks: list[Block]) -> list[int]:
    """Samples between the clicks that lie whole in the blocks."""
    sound = np.concatenate([from_pcm(block.pcm) for block in blocks])[:, 0]
    loud = np.flatnonzero(np.abs(sound) > 0.4)
    begins = loud[np.flatnonzero(np.diff(loud, prepend=-RATE_HZ) > RATE_HZ // 2)]
    return [int(step) for step in np.diff(begins)][:4]


def test_warnings_and_errors_of_elements_are_told_with_their_source(pipeline: MediaPipeline) -> None:
    source = make("filesrc", location="/nonexistent/file")
    source.set_name("input-1-filesrc-0")
    pipeline.graph.add(source)
    source.sync_state_with_parent()
    failed = wait_for(pipeline.errors, 5, "an error on the bus")
    assert failed[0][0].get_name() == "input-1-filesrc-0"
    assert not failed[0][2]


def test_exceptions_inside_onnxruntime_stay_exceptions_beside_gstreamer(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(Exception, match=r"bad\.onnx"):
        onnxruntime.InferenceSession(str(tmp_path / "bad.onnx"))
