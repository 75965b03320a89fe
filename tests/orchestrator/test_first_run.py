"""For who has no stream yet: addresses without keys, doctor's table, the sample programme on a real MediaMTX."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dubrelay import config
from dubrelay.demo.programme import Programme, make
from dubrelay.orchestrator import keys
from dubrelay.orchestrator.needed import Needed
from dubrelay.orchestrator.refused import Refused
from dubrelay.orchestrator.sample import PUBLISHER
from dubrelay.wire.sample import LOOP_S, SampleOrder, SampleReport, sample_file
from flash_and_beep import flash_and_beep
from media import INTERNAL_SECRET, MediaMtx, free_mediamtx_settings, free_port
from running_orchestrator import RunningOrchestrator
from waiting import wait_for

pytestmark = pytest.mark.service

COUNTING = """
import sys
from pathlib import Path
with Path(sys.argv[1]).open("a") as runs:
    runs.write("run\\n")
print('{"rows": [{"name": "disk", "ok": false, "found": "full", "remedy": "make room"}]}')
"""


@pytest.fixture
def settings(tmp_path: Path) -> config.Settings:
    return config.Settings(
        paths=config.Paths(state_dir=tmp_path),
        mediamtx=free_mediamtx_settings(),
        orchestrator=config.Orchestrator(port=free_port(), internal_secret=INTERNAL_SECRET, poll_interval_s=0.2),
    )


@pytest.fixture
def orchestrator(settings: config.Settings) -> Iterator[RunningOrchestrator]:
    with RunningOrchestrator(settings) as running:
        yield running


def test_where_to_send_a_stream_is_said_and_no_key(orchestrator: RunningOrchestrator) -> None:
    port = orchestrator.settings.mediamtx.rtmp_port
    assert orchestrator.get("/v1/addresses") == {
        "streamId": "main",
        "obsServer": f"rtmp://127.0.0.1:{port}/live",
        "obsStreamKey": "main/in?key=KEY",
        "ffmpeg": "ffmpeg -re -i FILE -c:v libx264 -g 50 -pix_fmt yuv420p -c:a aac -f flv "
        f"'rtmp://127.0.0.1:{port}/live/main/in?key=KEY'",
        "needsKey": True,
        "newKey": "dubrelay keys new NAME --publish main",
    }


def test_where_no_key_is_needed_none_is_asked_for(settings: config.Settings) -> None:
    with RunningOrchestrator(settings.model_copy(update={"access": config.Access(publishers="open")})) as orchestrator:
        said = orchestrator.get("/v1/addresses")
    assert (said["needsKey"], said["obsStreamKey"]) == (False, "main/in")
    assert "KEY" not in json.dumps(said)


def test_doctor_says_what_is_there_of_the_running_system(orchestrator: RunningOrchestrator) -> None:
    rows = orchestrator.http.get("/v1/doctor", timeout=100).json()["rows"]
    by_name = {row["name"]: row for row in rows}
    assert by_name["Python"]["ok"]
    port = orchestrator.settings.orchestrator.port
    own = by_name[f"orchestrator.port {port}/tcp"]
    assert own["found"] == "in use", "it is not healthy without MediaMTX"
    assert own["remedy"]
    assert INTERNAL_SECRET.get_secret_value() not in json.dumps(rows)


def test_doctor_is_asked_once_for_all_who_look(settings: config.Settings, tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    async def looked() -> list[str]:
        needed = Needed(settings, {}, (sys.executable, "-c", COUNTING, str(runs)))
        tables = [*await asyncio.gather(*(needed.table() for _ in range(3))), await needed.table()]
        return [table.rows[0].found for table in tables]

    assert asyncio.run(looked()) == ["full"] * 4
    assert runs.read_text() == "run\n"


def test_a_doctor_without_an_answer_is_said(settings: config.Settings) -> None:
    needed = Needed(settings, {}, (sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(Refused, match=r"gave no answer \(exit code 3\)"):
        asyncio.run(needed.table())


def test_the_sample_goes_on_air_with_a_key_of_its_own_and_off_again(settings: config.Settings, tmp_path: Path) -> None:
    ready_made(tmp_path)
    file = keys.file_of(settings.paths)
    with MediaMtx(tmp_path, settings) as media, RunningOrchestrator(settings) as orchestrator:
        assert orchestrator.get("/v1/sample")["state"] == "off"
        assert orchestrator.http.post("/v1/sample").json()["state"] == "making"
        media.wait_available("live/demo/in", 60)
        wait_for(lambda: orchestrator.get("/v1/sample")["state"] == "publishing", 10, "it to say so")
        orchestrator.http.post("/v1/sample")  # a second time is nothing
        assert len(keys.read(file).keys) == 1
        assert len(publishers(tmp_path)) == 1
        orchestrator.wait_state("demo", "running")
        assert orchestrator.http.delete("/v1/sample", timeout=20).json()["state"] == "off"
        wait_for(lambda: not media.available("live/demo/in"), 10, "it to be off the air")
        assert keys.read(file).keys == ()
        assert publishers(tmp_path) == []
        orchestrator.http.post("/v1/sample")
        wait_for(lambda: publishers(tmp_path), 60, "it to be back")
    assert publishers(tmp_path) == [], "it ends with the orchestrator"
    assert keys.read(file).keys == ()


def test_a_sample_that_cannot_be_published_says_why(orchestrator: RunningOrchestrator, tmp_path: Path) -> None:
    ready_made(tmp_path)
    orchestrator.http.post("/v1/sample")
    said = wait_for(lambda: failed(orchestrator), 60, "it to have failed")
    assert "could not be published" in said["message"]
    assert "key=" not in said["message"]
    assert orchestrator.http.post("/v1/sample").json()["state"] == "making", "it may be tried again"


def test_a_stream_of_that_name_is_left_alone(settings: config.Settings, tmp_path: Path) -> None:
    clip = flash_and_beep(tmp_path / "clip.mp4", 4, b_frames=0)
    key = keys.new(keys.file_of(settings.paths), "mine", "publish", stream="demo")
    with MediaMtx(tmp_path, settings) as media, RunningOrchestrator(settings) as orchestrator:
        order = SampleOrder(file=str(clip), seconds=4, url=media.rtmp("live/demo/in"), query=f"key={key}")
        listed(clip, 4)
        with started(order) as process:
            orchestrator.wait_state("demo", "running", 60)
            refused = orchestrator.http.post("/v1/sample")
            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "STREAM_IN_USE")
            assert process.poll() is None


def test_the_programme_is_made_in_words_and_nothing_outlives_its_process(tmp_path: Path) -> None:
    file = tmp_path / "new.mp4"
    with MediaMtx(tmp_path) as media:
        order = SampleOrder(file=str(file), seconds=3, url=media.rtmp("live/demo/in"), query="key=very-secret-key")
        with started(order) as process:
            assert process.stdout is not None
            reports = []
            while not reports or reports[-1].state == "making":
                reports.append(SampleReport.model_validate_json(process.stdout.readline()))
            assert [report.percent for report in reports if report.state == "making"] == [33, 66, 100]
            assert reports[-1].state == "publishing"
            media.wait_available("live/demo/in", 20)
            (publisher,) = publishers(tmp_path)
            assert "very-secret-key" not in " ".join(map(str, publisher.cmdline()))
            process.kill()
            wait_for(lambda: not publishers(tmp_path), 10, "ffmpeg to end with whoever started it")
        with started(order) as process:
            wait_for(lambda: publishers(tmp_path), 20, "it to be published")
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(20) == 0
            assert publishers(tmp_path) == []


def ready_made(state: Path) -> None:
    """A short clip where the sample programme is looked for."""
    file = sample_file(state)
    file.parent.mkdir()
    flash_and_beep(file, 4, b_frames=0)
    listed(file, LOOP_S)


def listed(file: Path, seconds: float) -> None:
    """As one that is made already."""
    file.with_suffix(".json").write_text(Programme(path=file, seconds=seconds).model_dump_json())
    assert make(file, seconds).path == file


class started:  # noqa: N801 -- a context manager
    """The process that publishes it, as the orchestrator starts it."""

    def __init__(self, order: SampleOrder) -> None:
        self._order = order

    def __enter__(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            PUBLISHER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdin is not None
        self._process.stdin.write(self._order.model_dump_json() + "\n")
        self._process.stdin.flush()
        return self._process

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()


def publishers(state: Path) -> list[psutil.Process]:
    """The ffmpeg processes that send something of a state folder."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        words = process.info["cmdline"] or []
        if process.info["name"] == "ffmpeg" and "-re" in words and any(str(state) in word for word in words):
            found.append(process)
    return found


def failed(orchestrator: RunningOrchestrator) -> dict[str, str] | None:
    said: dict[str, str] = orchestrator.get("/v1/sample")
    return said if said["state"] == "failed" else None
