"""The chain, milestone by milestone (docs/milestones.md has the same commands for people): A, B and C."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx2
import pytest

from dubrelay.demo.access_units import access_units, match
from media import MediaMtx, packet_count, publish, record
from running_worker import RunningWorker
from waiting import wait_for

pytestmark = pytest.mark.live


def test_a_mediamtx_alone_takes_a_stream_and_gives_it_back(media: MediaMtx, tmp_path: Path) -> None:
    with publish(media.rtmp("live/x/in")):
        media.wait_available("live/x/in")
        path = media.api("/v3/paths/get/live%2Fx%2Fin")
        assert path["ready"] is True
        assert {track["codec"] for track in path["tracks2"]} == {"H264", "MPEG-4 Audio"}
        read = record(media.rtsp("live/x/in"), tmp_path / "read.mkv", 3)
        metrics = httpx2.get(f"http://127.0.0.1:{media.settings().metrics_port}/metrics", trust_env=False).text
    assert packet_count(read, "v") > 50
    assert 'paths{name="live/x/in",state="ready"} 1' in metrics


def test_b_a_one_line_pipeline_republishes_in_to_out(media: MediaMtx, tmp_path: Path) -> None:
    line = (
        f"rtmpsrc location={media.rtmp('live/x/in')}\\ live=1 ! flvdemux name=demux demux.video ! queue ! "
        "mux.video demux.audio ! queue ! mux.audio flvmux name=mux streamable=true ! "
        f"rtmp2sink location={media.rtmp('live/x/out')}"
    )
    with publish(media.rtmp("live/x/in")):
        media.wait_available("live/x/in")
        pipeline = subprocess.Popen(["gst-launch-1.0", "-q", *line.split(" ")], stdin=subprocess.DEVNULL)
        try:
            media.wait_available("live/x/out")
            read = record(media.rtmp("live/x/out"), tmp_path / "out.flv", 3)
        finally:
            pipeline.kill()
            pipeline.wait(5)
    assert packet_count(read, "v") > 50
    assert packet_count(read, "a") > 100


@pytest.mark.parametrize("protocol", ["rtmp", "rtsp", "srt"])
def test_c_the_worker_in_bypass_mode_republishes_the_same_pictures(
    media: MediaMtx, tmp_path: Path, protocol: str
) -> None:
    sent = tmp_path / "sent.mp4"
    make_clip(sent, seconds=16)
    source = {"rtmp": media.rtmp, "rtsp": media.rtsp, "srt": media.srt}[protocol]("live/x/in")
    with (
        publish(media.rtmp("live/x/in"), file=sent),
        RunningWorker(source, media.rtmp("live/x/out"), mode="bypass", directory=tmp_path) as worker,
    ):
        media.wait_available("live/x/out")
        read = record(media.rtmp("live/x/out"), tmp_path / "out.flv", 5)
        status = wait_for(worker.running_status, 10, "a status line that says running")
    assert worker.exit_code == 0

    found = match(access_units(sent), access_units(read))
    assert found is not None
    assert found.equal == found.recorded > 75

    assert status.input_protocol == protocol
    assert status.av_sync_ms is not None
    assert abs(status.av_sync_ms) < 20
    assert "worker_av_sync_delta_ms" in status.metrics
    assert 'worker_reconnects_total{side="output"} 0.0' in status.metrics
    started = worker.logged("worker_started")
    assert started["streamId"] == "x"
    assert started["runId"] == worker.run_id
    assert {"ts", "level", "component", "event", "instanceId"} <= started.keys()


def make_clip(path: Path, seconds: float) -> None:
    """Noise in the picture makes every access unit different from all others."""
    picture = "testsrc2=size=320x180:rate=25,noise=alls=20:allf=t"
    sound = "sine=frequency=440:sample_rate=48000"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    video = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p"]
    subprocess.run([*command, "-t", str(seconds), *video, "-c:a", "aac", "-ac", "2", str(path)], check=True)
