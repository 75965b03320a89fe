"""What goes out is recorded by the real MediaMTX: files that players open, captions in step with them, limits kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from alignment import RATE_HZ, sound, tones
from dubrelay import config
from dubrelay.demo.access_units import access_units, match
from dubrelay.demo.programme import make
from dubrelay.ffmpeg import probe
from dubrelay.orchestrator.quota import MB
from dubrelay.orchestrator.segments import folder
from dubrelay.orchestrator.supervisor import WORKER
from dubrelay.wire.streams import RecordedList, RecordedView
from flash_and_beep import flash_and_beep
from media import INTERNAL_SECRET, OPEN, MediaMtx, free_mediamtx_settings, free_port, publish
from running_orchestrator import FAKE_WORKER, RunningOrchestrator
from running_sts import MOCK, RunningSts
from running_worker import state_in
from vtt_grammar import parsed
from waiting import wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

PATIENCE_S = 60


def settings_with(state: Path, **recording: Any) -> config.Settings:
    return config.Settings(
        paths=state_in(state),
        mediamtx=free_mediamtx_settings(),
        orchestrator=config.Orchestrator(port=free_port(), grace_s=1, internal_secret=INTERNAL_SECRET),
        access=OPEN,
        worker=config.Worker(latency_s=6),
        recording=config.validated(config.Recording, {"segment_s": 4, "min_free_mb": 10, **recording}, "test"),
    )


def listed(orchestrator: RunningOrchestrator) -> RecordedList:
    return RecordedList.model_validate(orchestrator.get("/v1/streams/x/recordings"))


def wait_recordings(
    orchestrator: RunningOrchestrator, reached: Callable[[RecordedList], bool], what: str
) -> RecordedList:
    def found() -> RecordedList | None:
        now = listed(orchestrator)
        return now if reached(now) else None

    there = wait_for(found, PATIENCE_S, f"{what}; it is {listed(orchestrator)}")
    assert there is not None
    return there


def older(settings: config.Settings, name: str, size_mb: float) -> Path:
    """A recording of another day, which takes no room on the disk."""
    file = folder(settings.recordings_dir, "x") / f"{name}.mp4"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened:
        opened.truncate(round(size_mb * MB))
    os.utime(file, (0, 0))
    return file


def record(orchestrator: RunningOrchestrator, *, on: bool) -> None:
    answer = orchestrator.http.put("/v1/streams/x/config", json={"record": on})
    assert answer.is_success, answer.text


def whole(now: RecordedList) -> list[RecordedView]:
    """Those that this test recorded and that have ended, the oldest first."""
    return [one for one in reversed(now.recordings) if not one.open and not one.name.startswith("2020")]


def test_a_dubbed_stream_is_recorded_whole_with_captions_in_step_and_goes_on_when_mediamtx_is_killed(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        sts = stack.enter_context(RunningSts(tmp_path, **MOCK))
        settings = settings_with(tmp_path, max_total_mb=30).model_copy(
            update={"sts_client": config.StsClient(urls=[sts.url])}
        )
        oldest = older(settings, "2020-01-01T00-00-00-000000Z", 20)
        kept = older(settings, "2020-01-02T00-00-00-000000Z", 8)
        foreign = oldest.with_name("holiday.mp4")
        foreign.write_bytes(b"somebody's")
        media = stack.enter_context(MediaMtx(tmp_path, settings))
        orchestrator = stack.enter_context(RunningOrchestrator(settings, WORKER))
        programme = make(tmp_path / "programme.mp4", 30)
        stack.enter_context(publish(media.rtmp("live/x/in"), file=programme.path, loop=True))
        media.wait_available("live/x/out", PATIENCE_S)
        assert [one.file for one in listed(orchestrator).recordings] == [kept.name, oldest.name]

        older(settings, oldest.stem, 23)
        record(orchestrator, on=True)
        now = wait_recordings(
            orchestrator, lambda now: sum(bool(one.captions) for one in now.recordings) >= 2, "two with captions"
        )
        assert now.recording.state == "recording"
        assert (oldest.exists(), kept.exists(), foreign.exists()) == (False, True, True)
        record(orchestrator, on=False)
        wait_recordings(orchestrator, lambda now: not any(one.open for one in now.recordings), "all to be whole")
        now = wait_recordings(orchestrator, lambda now: now.recording.state == "off", "it to be off")
        assert media.available("live/x/out")

        recorded = whole(now)
        files = [folder(settings.recordings_dir, "x") / one.file for one in recorded]
        pictures = [unit for file in files for unit in access_units(file)]
        found = match(access_units(programme.path), pictures)
        assert found is not None
        assert found.equal == found.recorded > 150, "one after the other, bit by bit"
        for file in files:
            assert {stream["codec_name"] for stream in probe(file)["streams"]} == {"h264", "aac"}
        assert_captions_in_step(orchestrator, recorded, files)

        record(orchestrator, on=True)
        wait_recordings(orchestrator, lambda now: now.recording.state == "recording", "it to be recorded again")
        wait_recordings(orchestrator, lambda now: any(one.open for one in now.recordings), "one that is written")
        before = {one.name for one in listed(orchestrator).recordings}
        media.kill()
        media.start()
        stack.enter_context(publish(media.rtmp("live/x/in"), file=programme.path, loop=True))
        now = wait_recordings(
            orchestrator, lambda now: bool({one.name for one in now.recordings if one.open} - before), "a new one"
        )
        cut_off = max(before)
        assert not next(one for one in now.recordings if one.name == cut_off).open
        assert probe(folder(settings.recordings_dir, "x") / f"{cut_off}.mp4")["streams"]


def assert_captions_in_step(orchestrator: RunningOrchestrator, recorded: list[RecordedView], files: list[Path]) -> None:
    """The mock's voice is a tone: each cue of the dub begins with one."""
    offsets = []
    for one, file in zip(recorded, files, strict=True):
        start_s, samples = sound(file)
        length_s = start_s + len(samples) / RATE_HZ
        assert one.duration_s == pytest.approx(length_s, abs=0.2)
        named = {captions.language: captions.file for captions in one.captions}
        if not named:
            continue
        assert set(named) == {"en", "es"}
        spanish, english = (orchestrator.http.get(f"/v1/recordings/x/{named[key]}").text for key in ("es", "en"))
        assert "mock phrase" in english
        heard = tones(samples, start_s)
        since = one.started_at
        live = orchestrator.http.get("/v1/streams/x/captions.vtt", params={"lang": "es", "since": since}).text
        for cue in parsed(spanish):
            assert cue.end <= length_s + 0.2
            if cue.start > 0.2:
                offsets.append(min((tone - cue.start for tone, _ in heard), key=abs, default=9.0))
                assert any(abs(other.start - cue.start) < 0.01 and other.text == cue.text for other in parsed(live))
        assert parsed(english)
    assert len(offsets) >= 2
    assert all(abs(offset) < 0.3 for offset in offsets), offsets


@contextmanager
def scene(tmp_path: Path, settings: config.Settings, clip: Path) -> Iterator[tuple[MediaMtx, RunningOrchestrator]]:
    """A stream `x` in session whose output is the clip."""
    with ExitStack() as stack:
        media = stack.enter_context(MediaMtx(tmp_path, settings))
        orchestrator = stack.enter_context(RunningOrchestrator(settings, FAKE_WORKER))
        stack.enter_context(publish(media.rtmp("live/x/in"), file=clip, loop=True))
        stack.enter_context(publish(media.output("x"), file=clip, loop=True))
        media.wait_available("live/x/out")
        orchestrator.wait_state("x", "running", PATIENCE_S)
        yield media, orchestrator


def test_told_to_stop_when_full_it_stops_says_so_and_goes_on_when_an_operator_deletes(tmp_path: Path) -> None:
    clip = flash_and_beep(tmp_path / "clip.mp4", 20, 0)
    settings = settings_with(tmp_path, enabled=True, max_total_mb=10, when_full="stop", segment_s=2)
    too_much = older(settings, "2020-01-01T00-00-00-000000Z", 11)
    with scene(tmp_path, settings, clip) as (media, orchestrator):
        now = wait_recordings(orchestrator, lambda now: now.recording.state == "full", "it to be full")
        assert "recording.max_total_mb = 10" in now.recording.message
        assert 'orchestrator_recordings{state="full"} 1.0' in orchestrator.http.get("/metrics").text
        assert [one.file for one in now.recordings] == [too_much.name]
        answer = orchestrator.http.delete(f"/v1/recordings/x/{too_much.name}")
        assert answer.status_code == 204, answer.text
        now = wait_recordings(orchestrator, lambda now: len(whole(now)) >= 2, "two recordings")
        assert now.recording.state == "recording"
        (entry,) = orchestrator.get("/v1/streams/x/audit")["entries"]
        assert (entry["action"], entry["changes"][0]["key"]) == ("recording", f"recordings.{too_much.stem}")

        source = media.api("/v3/paths/get/live/x/out")["source"]["id"]
        older(settings, too_much.stem, 11)
        wait_recordings(orchestrator, lambda now: now.recording.state == "full", "it to be full again")
        assert media.api("/v3/paths/get/live/x/out")["source"]["id"] == source, "the stream notices nothing"


def test_a_disk_without_room_stops_the_recording_and_nothing_else(tmp_path: Path) -> None:
    clip = flash_and_beep(tmp_path / "clip.mp4", 20, 0)
    settings = settings_with(tmp_path, enabled=True, min_free_mb=100_000_000)
    with scene(tmp_path, settings, clip) as (media, orchestrator):
        now = wait_recordings(orchestrator, lambda now: now.recording.state == "full", "it to be full")
        assert "recording.min_free_mb = 100000000 left" in now.recording.message
        assert media.available("live/x/out")
        assert not list(settings.recordings_dir.rglob("*.mp4"))
