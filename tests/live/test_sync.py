"""Sound against picture in `out`, measured where a viewer would see it: flash and beep, read by RTMP."""

from __future__ import annotations

import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dubrelay.audio import RATE_HZ
from dubrelay.demo.access_units import access_units, match
from flash_and_beep import FPS, av_offset, flash_and_beep
from flv_publisher import VIDEO, FlvPublisher, tags_of
from media import MediaMtx, publish, record
from running_worker import RunningWorker
from waiting import wait_for

pytestmark = pytest.mark.live


@pytest.mark.parametrize("b_frames", [0, 2])
def test_sound_and_picture_are_within_5_ms(media: MediaMtx, tmp_path: Path, b_frames: int) -> None:
    clip = flash_and_beep(tmp_path / "clip.mp4", 30, b_frames)
    with (
        publish(media.rtmp("live/x/in"), file=clip),
        RunningWorker(media.rtmp("live/x/in"), media.rtmp("live/x/out"), mode="bypass", directory=tmp_path),
    ):
        media.wait_available("live/x/out")
        offset = av_offset(record(media.rtmp("live/x/out"), tmp_path / "out.flv", 10))
    assert offset.pairs >= 8
    assert offset.mismatches == 0
    assert -5 <= offset.min_ms <= offset.max_ms <= 5


def test_in_dub_mode_so_they_are_and_so_are_both_languages(media: MediaMtx, tmp_path: Path) -> None:
    """A beep is no speech, so it comes through the separation and the mix, not through dubbing: both tracks have it."""
    clip = flash_and_beep(tmp_path / "clip.mp4", 45, 2)
    with (
        publish(media.rtmp("live/x/in"), file=clip),
        RunningWorker(
            media.rtmp("live/x/in"),
            media.rtmp("live/x/out"),
            languages_url=media.rtmp("live/x/languages"),
            latency_s=5.5,
            directory=tmp_path,
        ) as worker,
        ThreadPoolExecutor() as pool,
    ):
        media.wait_available("live/x/languages", 30)
        out = pool.submit(record, media.rtmp("live/x/out"), tmp_path / "out.flv", 10)
        both = record(media.srt("live/x/languages"), tmp_path / "both.ts", 11, every_track=True)
        offsets = [av_offset(out.result()), av_offset(both, 0), av_offset(both, 1)]
        source = media.api("/v3/paths/get/live/x/out")["source"]["id"]
        thrown_out = media.api("/v3/paths/get/live/x/languages")["source"]["id"]
        media.kick(thrown_out)
        back = wait_for(lambda: _other_source(media, thrown_out), 15, "both languages to be back")
        assert [track["codec"] for track in back["tracks2"]] == ["H264", "MPEG-4 Audio", "MPEG-4 Audio"]
        assert media.api("/v3/paths/get/live/x/out")["source"]["id"] == source, "the output notices nothing"
        assert worker.metric('worker_reconnects_total{side="output"}') == 0
    for offset in offsets:
        assert offset.pairs >= 8
        assert offset.mismatches == 0
        assert -5 <= offset.min_ms <= offset.max_ms <= 5
    dub, original = (_decoded(both, track) for track in (0, 1))
    assert len(dub) == len(original) > 9 * RATE_HZ
    assert np.abs(dub - original).max() < 0.001, "sample by sample at the same time"


def test_a_third_path_that_takes_nothing_costs_the_output_nothing(media: MediaMtx, tmp_path: Path) -> None:
    clip = flash_and_beep(tmp_path / "clip.mp4", 30, 2)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        publish(media.rtmp("live/x/in"), file=clip),
        RunningWorker(
            media.rtmp("live/x/in"),
            media.rtmp("live/x/out"),
            languages_url=f"rtmp://127.0.0.1:{silent.getsockname()[1]}/live/x/languages",
            latency_s=5.5,
            directory=tmp_path,
        ) as worker,
    ):
        media.wait_available("live/x/out", 30)
        recording = record(media.rtmp("live/x/out"), tmp_path / "out.flv", 10)
        delays = [status.delay_ms for status in worker.statuses() if status.delay_ms is not None]
    offset = av_offset(recording)
    assert offset.pairs >= 8
    assert -5 <= offset.min_ms <= offset.max_ms <= 5
    found = match(access_units(clip), access_units(recording))
    assert found is not None
    assert found.equal == found.recorded > 7 * FPS, "each picture, one after the other"
    assert max(delays) - min(delays) < 500


def _other_source(media: MediaMtx, than: str) -> dict[str, Any] | None:
    """live/x/languages, once somebody else publishes it."""
    found: dict[str, Any] = media.api("/v3/paths/get/live/x/languages")
    source = found.get("source")
    return found if found.get("available") and source and source["id"] != than else None


def _decoded(file: Path, track: int) -> npt.NDArray[np.float32]:
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(file), "-map", f"0:a:{track}", "-ac", "1", "-f", "f32le"]
    return np.frombuffer(subprocess.run([*command, "-"], check=True, capture_output=True).stdout, np.float32)


def test_opus_over_srt_is_as_exact(media: MediaMtx, tmp_path: Path) -> None:
    """What RTMP cannot carry. Against what comes in: Opus begins with some ms of nothing."""
    clip = flash_and_beep(tmp_path / "clip.mkv", 30, 2, audio=("-c:a", "libopus"))
    with (
        publish(media.srt("live/x/in", action="publish"), file=clip),
        RunningWorker(media.srt("live/x/in"), media.rtmp("live/x/out"), mode="bypass", directory=tmp_path),
        ThreadPoolExecutor() as pool,
    ):
        media.wait_available("live/x/out")
        recordings = pool.map(
            record,
            (media.srt("live/x/in"), media.rtmp("live/x/out")),
            (tmp_path / "in.mkv", tmp_path / "out.flv"),
            (10, 10),
        )
        there, here = map(av_offset, recordings)
    assert here.pairs >= 8
    assert here.mismatches == 0
    assert -5 <= here.min_ms - there.median_ms <= here.max_ms - there.median_ms <= 5


def test_sync_holds_after_the_publisher_left_and_came_back_and_the_output_never_stopped(
    media: MediaMtx, tmp_path: Path
) -> None:
    clip = flash_and_beep(tmp_path / "clip.mp4", 40, 2)
    with RunningWorker(media.rtmp("live/x/in"), media.rtmp("live/x/out"), mode="bypass", directory=tmp_path) as worker:
        with publish(media.rtmp("live/x/in"), file=clip):
            media.wait_available("live/x/out")
            source_id = media.api("/v3/paths/get/live/x/out")["source"]["id"]
        worker.logged("input_lost")
        with publish(media.rtmp("live/x/in"), file=clip):
            wait_for(lambda: worker.metric('worker_reconnects_total{side="input"}') == 1, 15, "the input to be back")
            media.wait_available("live/x/out")
            offset = av_offset(record(media.rtmp("live/x/out"), tmp_path / "out.flv", 13))
        assert media.api("/v3/paths/get/live/x/out")["source"]["id"] == source_id
        assert worker.metric('worker_reconnects_total{side="output"}') == 0
    assert offset.pairs >= 7
    assert offset.mismatches == 0
    assert -5 <= offset.min_ms <= offset.max_ms <= 5


@pytest.mark.parametrize(("mode", "late_s"), [("bypass", 1.3), ("dub", 0.5)])
def test_pictures_that_trail_their_sound_from_the_start_come_out_in_sync(
    media: MediaMtx, tmp_path: Path, mode: str, late_s: float
) -> None:
    """An encoder's pictures may take longer than its sound: they come later, by the same clock."""
    tags = tags_of(flash_and_beep(tmp_path / "clip.flv", 30, 2))
    sent = sorted(((tag.at_ms / 1000 + late_s * (tag.kind == VIDEO), tag) for tag in tags), key=lambda timed: timed[0])
    with (
        FlvPublisher(media.rtmp("live/x/in"), sent) as publisher,
        RunningWorker(media.rtmp("live/x/in"), media.rtmp("live/x/out"), mode=mode, latency_s=5.5, directory=tmp_path),
    ):
        media.wait_available("live/x/out")
        offset = av_offset(record(media.rtmp("live/x/out"), tmp_path / "out.flv", 12))
        assert not publisher.error
    assert offset.pairs >= 8
    assert offset.mismatches == 0
    assert -5 <= offset.min_ms <= offset.max_ms <= 5
