"""What the recorder makes of what is on disk, on a real disk; MediaMTX's part is played by the test."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dubrelay import config
from dubrelay.orchestrator.captionfiles import JOURNAL, Said
from dubrelay.orchestrator.mediamtx import MediaPath
from dubrelay.orchestrator.recording import GROWS_S, Recorder, in_go
from dubrelay.orchestrator.segments import STALE_S, folder
from dubrelay.wire.status import PhraseReport

pytestmark = pytest.mark.unit

OUT = [MediaPath(name="live/x/out", available=True)]


class Scene:
    """A stream `x` in session."""

    def __init__(self, above: Path, **recording: object) -> None:
        values = {"min_free_mb": 10, "directory": above / "recordings", **recording}
        self.settings = config.Settings(recording=config.validated(config.Recording, values, "test"))
        self.now = 1000.0
        self.wanted = True
        self.deleted = 0
        self.recorder = self.new()
        self.own = folder(self.settings.recordings_dir, "x")

    def new(self) -> Recorder:
        return Recorder(self.settings, lambda _: self.wanted, self.count, clock=lambda: self.now)

    def count(self) -> None:
        self.deleted += 1

    def look(self, paths: list[MediaPath] | None = OUT) -> tuple[str, str]:
        self.recorder.listed(paths, ["x"])
        asyncio.run(self.recorder.look())
        self.recorder.listed(paths, ["x"])
        view = self.recorder.view("x")
        return view.state, view.message

    def write(self, ago_s: float, size: int = 1000, *, changed_ago_s: float = 0) -> str:
        start = time.time() - ago_s
        name = time.strftime("%Y-%m-%dT%H-%M-%S-000000Z", time.gmtime(start))
        self.own.mkdir(parents=True, exist_ok=True)
        file = self.own / f"{name}.mp4"
        with file.open("wb") as opened:
            opened.truncate(size)
        os.utime(file, (time.time() - changed_ago_s,) * 2)
        return name

    def say(self, ago_s: float) -> None:
        """A phrase whose dub was heard so long ago."""
        phrase = PhraseReport(
            sequence_number=0, t0_ms=0, started_at=time.time() - ago_s - 8, duration_ms=2000, status="dubbed",
            dub_t0_ms=0, dubbed_ms=2000, transcript="Hello.", translated_text="Hola.",
        )  # fmt: skip
        self.recorder.said("x", Said(source_language="en", target_language="es", delay_s=8, phrase=phrase))


@pytest.fixture
def scene_in(tmp_path: Path) -> Callable[..., Scene]:
    return lambda **recording: Scene(tmp_path, **recording)


def test_how_it_goes_is_said(scene_in: Callable[..., Scene]) -> None:
    scene = scene_in()
    assert scene.look(None) == ("waiting", "")
    assert scene.look([]) == ("waiting", "")
    assert stat.S_IMODE(scene.settings.recordings_dir.stat().st_mode) == 0o700
    assert scene.look() == ("waiting", "")
    scene.now += 5
    scene.write(2)
    assert scene.look() == ("recording", "")
    assert scene.recorder.states() == ["recording"]
    scene.wanted = False
    assert scene.look() == ("off", "")
    scene.recorder.listed(OUT, [])
    assert scene.recorder.states() == []


def test_when_nothing_is_written_though_it_should_that_is_a_failure(scene_in: Callable[..., Scene]) -> None:
    scene = scene_in()
    scene.look()
    scene.write(60, changed_ago_s=GROWS_S + 1)
    scene.now += GROWS_S + 1
    state, message = scene.look()
    assert (state, str(scene.settings.recordings_dir) in message) == ("failing", True)
    scene.write(1)
    assert scene.look() == ("recording", "")


def test_a_directory_that_cannot_be_made_is_a_failure_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    scene = Scene(tmp_path, directory=tmp_path / "file" / "recordings")
    assert scene.look() == (
        "failing",
        f"nothing can be recorded in {tmp_path}/file/recordings: Not a directory",
    )
    assert not scene.recorder.record_of("x")["record"]


def test_nothing_is_recorded_before_the_disk_was_looked_at_or_when_it_is_full(scene_in: Callable[..., Scene]) -> None:
    scene = scene_in(segment_s=90, min_free_mb=100_000_000)
    assert not scene.recorder.record_of("x")["record"]
    assert scene.look()[0] == "full"
    assert not scene.recorder.record_of("x")["record"]
    scene = scene_in(segment_s=90)
    scene.look()
    record = scene.recorder.record_of("x")
    assert record["record"]
    assert record["recordPath"] == f"{scene.settings.recordings_dir}/%path/%Y-%m-%dT%H-%M-%S-%f%z"
    assert (record["recordSegmentDuration"], record["recordDeleteAfter"]) == ("1m30s", "")


def test_a_stream_that_nobody_records_leaves_no_directory(scene_in: Callable[..., Scene]) -> None:
    scene = scene_in()
    scene.wanted = False
    scene.look()
    assert not scene.settings.recordings_dir.exists()


def test_what_is_too_much_goes_and_is_counted_and_so_do_files_with_nothing_in_them(
    scene_in: Callable[..., Scene],
) -> None:
    scene = scene_in(max_total_mb=2)
    for ago_s in (400, 300, 200):
        scene.write(ago_s, 900_000, changed_ago_s=100)
    scene.write(150, 0, changed_ago_s=100)
    latest = scene.write(2, 10)
    scene.look()
    assert scene.deleted == 1
    left = sorted(file.stem for file in scene.own.iterdir())
    assert (len(left), left[-1]) == (3, latest)
    assert scene.recorder.total_bytes() == 1_800_010


def captions_in(scene: Scene) -> dict[str, str]:
    return {file.name.partition(".")[0]: file.read_text("utf-8") for file in scene.own.glob("*.es.vtt")}


def test_captions_are_there_once_a_recording_has_ended_also_after_a_restart(scene_in: Callable[..., Scene]) -> None:
    scene = scene_in()
    first = scene.write(20)
    scene.say(15)
    scene.say(9)
    scene.look()
    assert captions_in(scene) == {}
    assert (scene.own / JOURNAL).exists()

    scene.recorder = scene.new()
    os.utime(scene.own / f"{first}.mp4", (time.time() - 10,) * 2)
    second = scene.write(10)
    scene.look()
    assert list(captions_in(scene)) == [first]
    assert captions_in(scene)[first].count("Hola.") == 1
    os.utime(scene.own / f"{second}.mp4", (time.time() - STALE_S - 1,) * 2)


def test_captions_that_are_there_are_not_written_again_from_what_is_left(scene_in: Callable[..., Scene]) -> None:
    """The last phrase of one recording is the first of the next, and is still known."""
    scene = scene_in()
    first = scene.write(40, changed_ago_s=10)
    scene.write(10)
    scene.say(30)
    scene.say(11)
    scene.look()
    before = captions_in(scene)[first]
    assert before.count("Hola.") == 2
    scene.recorder = scene.new()
    scene.look()
    assert captions_in(scene) == {first: before}


def test_captions_that_could_not_be_written_are_written_later(scene_in: Callable[..., Scene]) -> None:
    scene = scene_in()
    first = scene.write(40, changed_ago_s=10)
    scene.write(10)
    scene.say(30)
    in_the_way = scene.own / f".{first}.es.vtt.tmp"
    in_the_way.mkdir()
    scene.look()
    assert captions_in(scene) == {}
    assert "Is a directory" in scene.recorder.looked.uncaptioned
    in_the_way.rmdir()
    scene.look()
    assert list(captions_in(scene)) == [first]
    assert scene.recorder.looked.uncaptioned == ""


def test_without_captions_nothing_is_kept(scene_in: Callable[..., Scene]) -> None:
    scene = scene_in(captions=False)
    scene.write(40, changed_ago_s=10)
    scene.write(10)
    scene.say(30)
    scene.look()
    assert {file.suffix for file in scene.own.iterdir()} == {".mp4"}


def test_what_was_said_before_recording_began_and_is_heard_after_has_captions(scene_in: Callable[..., Scene]) -> None:
    scene = scene_in()
    scene.wanted = False
    scene.settings.recordings_dir.mkdir(parents=True)
    scene.say(30)
    scene.say(-3)
    scene.look()
    assert not (scene.own / JOURNAL).exists()
    scene.wanted = True
    scene.look()
    assert (scene.own / JOURNAL).read_text("utf-8").count("Hola.") == 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1s"), (90, "1m30s"), (600, "10m0s"), (3600, "1h0m0s"), (43_200, "12h0m0s")]
)
def test_durations_are_as_mediamtx_says_them_back(seconds: int, text: str) -> None:
    assert in_go(seconds) == text
