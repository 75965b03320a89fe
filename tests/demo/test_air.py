from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from dubrelay.demo.access_units import access_units, match
from dubrelay.demo.air import publishing, recording
from dubrelay.demo.listening import length_finding
from dubrelay.errors import MediaError
from dubrelay.ffmpeg import duration_s
from flash_and_beep import av_offset, flash_and_beep
from media import MediaMtx
from waiting import wait_for

pytestmark = pytest.mark.service


def test_a_short_programme_is_repeated_and_recorded_bit_by_bit_in_sync(tmp_path: Path) -> None:
    clip = flash_and_beep(tmp_path / "clip.mp4", 4, b_frames=2)
    out = tmp_path / "out.mp4"
    with MediaMtx(tmp_path) as media:
        path = "live/demo/in"
        available = lambda: media.available(path)  # noqa: E731
        with (
            recording(media.rtmp(path), out, available) as recorder,
            publishing(clip, media.rtmp(path), seconds=10, loop=True) as publisher,
        ):
            wait_for(lambda: recorder.recording, 10, "the recording to begin")
            wait_for(publisher.ended, 20, "the programme's end")
    found = match(access_units(clip), access_units(out))
    assert found is not None
    assert found.equal == found.recorded > 100
    offset = av_offset(out)
    assert (abs(offset.median_ms) < 3, offset.mismatches) == (True, 0)


def test_a_recording_that_is_killed_can_be_played(tmp_path: Path) -> None:
    clip = flash_and_beep(tmp_path / "clip.mp4", 4, b_frames=2)
    out = tmp_path / "out.mp4"
    with MediaMtx(tmp_path) as media:
        path = "live/demo/in"
        with (
            recording(media.rtmp(path), out, lambda: media.available(path)) as recorder,
            publishing(clip, media.rtmp(path), seconds=None, loop=True),
        ):
            wait_for(lambda: out.exists() and out.stat().st_size > 300_000, 20, "some seconds of recording")
            assert recorder._process is not None
            os.kill(recorder._process.pid, signal.SIGKILL)
    assert duration_s(out) > 2
    assert len(access_units(out)) >= 50


def test_the_key_travels_and_stands_in_no_argument(tmp_path: Path) -> None:
    clip = flash_and_beep(tmp_path / "clip.mp4", 4, b_frames=0)
    with (
        MediaMtx(tmp_path) as media,
        publishing(clip, media.rtmp("live/demo/in"), None, loop=True, query="key=hush&lang=es") as publisher,
    ):
        media.wait_available("live/demo/in")
        (connection,) = media.api("/v3/rtmpconns/list")["items"]
        assert (connection["path"], connection["query"]) == ("live/demo/in", "key=hush&lang=es")
        assert "hush" not in " ".join(psutil.Process(publisher._process.pid).cmdline())


def test_nobody_to_publish_to_is_an_error_of_one_line(tmp_path: Path) -> None:
    clip = flash_and_beep(tmp_path / "clip.mp4", 2, b_frames=0)

    def publish() -> None:
        with publishing(clip, "rtmp://127.0.0.1:9/live/demo/in", seconds=None, loop=False) as publisher:
            wait_for(publisher.ended, 10, "an error")

    with pytest.raises(MediaError, match=r"could not be published: .*refused") as raised:
        publish()
    assert "\n" not in raised.value.message


def test_a_recording_that_ends_long_before_the_programme_is_found_out(tmp_path: Path) -> None:
    clip = flash_and_beep(tmp_path / "clip.mp4", 4, b_frames=0)
    assert length_finding(clip, published_s=4).good
    assert length_finding(clip, published_s=14).good, "it may begin when the output does"
    assert not length_finding(clip, published_s=30).good
