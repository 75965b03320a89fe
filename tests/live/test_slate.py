"""The slate in `out` while the publisher is away: it is there, it gives way, and nothing else is any different."""

from __future__ import annotations

import json
import subprocess
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from dubrelay.demo.access_units import access_units
from flash_and_beep import av_offset, flash_and_beep
from media import MediaMtx, publish, recording
from running_worker import RunningWorker
from waiting import wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

ON = "the slate is on"
LATENCY_S = 5.5


@pytest.mark.parametrize(("mode", "protocol"), [("bypass", "rtmp"), ("bypass", "srt"), ("dub", "rtmp")])
def test_the_slate_is_shown_while_the_publisher_is_away(
    media: MediaMtx, tmp_path: Path, mode: str, protocol: str
) -> None:
    clip = flash_and_beep(tmp_path / "clip.mp4", 20, 2)
    slate, out = dark(tmp_path / "slate.mp4"), tmp_path / "out.flv"
    source = {"rtmp": media.rtmp, "srt": media.srt}[protocol]("live/x/in")
    target = media.rtmp("live/x/out")
    with RunningWorker(source, target, mode=mode, latency_s=LATENCY_S, directory=tmp_path, slate=slate) as worker:
        worker.logged("worker_started", 60)
        with publish(media.rtmp("live/x/in"), file=clip, seconds=16.5) as publisher:  # ends between two beeps
            media.wait_available("live/x/out")
            source_id = media.api("/v3/paths/get/live/x/out")["source"]["id"]
            with recording(target, out):
                publisher.wait(30)
                assert seconds_on(worker) == 0
                wait_for(lambda: seconds_on(worker) >= 5, 30, "the slate to be on for a while")
                with publish(media.rtmp("live/x/in"), file=clip, seconds=9.5) as again:
                    back = worker.logged("input_back")
                    wait_for(lambda: worker.statuses()[-1].message == "", 10, "the status to be as before")
                    again.wait(30)
                wait_for(lambda: seconds_on(worker) >= 5 + LATENCY_S + 6, 40, "what came last to be out")
        assert media.api("/v3/paths/get/live/x/out")["source"]["id"] == source_id
        assert worker.metric('worker_reconnects_total{side="output"}') == 0
    shown, pictures, away = access_units(out), digests(clip), digests(slate)
    parts = [(known, [*units]) for known, units in groupby(shown, lambda unit: unit.digest in pictures)]
    assert [known for known, _ in parts] == [True, False, True, False]
    for known, units in parts:
        of = pictures if known else away
        begin = of.index(units[0].digest)
        assert [unit.digest for unit in units] == [of[(begin + n) % len(of)] for n in range(len(units))]
        assert known or begin == 0
        assert len(units) > 100
    before, _, after = (units for _, units in parts[:3])
    held_ms = 0 if protocol == "rtmp" else 200  # h264parse keeps the last picture of a connection
    assert 1000 * (after[0].pts_s - before[-1].pts_s) == pytest.approx(back["no_picture_ms"], abs=2 + held_ms)
    assert pictures.index(after[0].digest) % 50 == 0  # a key frame
    times = decoded_at(out)
    assert all(b > a for a, b in pairwise(times))
    returns = len(before) + len(parts[1][1])
    assert times[returns] - times[returns - 1] < 0.2
    offset = av_offset(out)
    assert offset.pairs >= 8
    assert offset.mismatches == 0
    assert -5 <= offset.min_ms <= offset.max_ms <= 5


def dark(path: Path) -> Path:
    """4 s without sound, of another size than the programme, with B-frames."""
    picture = "testsrc2=size=480x272:rate=25,lutyuv=y=val/3"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", picture, "-t", "4", "-c:v", "libx264"]
    subprocess.run([*command, "-preset", "ultrafast", "-bf", "2", "-g", "50", "-pix_fmt", "yuv420p", path], check=True)
    return path


def digests(file: Path) -> list[str]:
    return [unit.digest for unit in access_units(file)]


def seconds_on(worker: RunningWorker) -> int:
    """Status lines that say so; there is one a second."""
    return sum(ON in status.message for status in worker.statuses())


def decoded_at(file: Path) -> list[float]:
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "v",
        "-show_entries",
        "packet=dts_time",
        "-of",
        "json",
        file,
    ]
    found = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    return [float(packet["dts_time"]) for packet in json.loads(found)["packets"]]
