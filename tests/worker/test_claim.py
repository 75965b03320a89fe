"""One worker for an output, with real locks of real processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from dubrelay.config import Paths
from dubrelay.errors import MediaError
from dubrelay.wire.worker import WorkerSettings
from dubrelay.worker import claim
from dubrelay.worker.claim import claimed, lock_file
from waiting import wait_for

pytestmark = pytest.mark.service

HOLDER = """
import sys, threading
from pathlib import Path
from dubrelay.wire.worker import WorkerSettings
from dubrelay.worker.claim import claimed
settings = WorkerSettings.model_validate_json(sys.stdin.readline())
with claimed(settings, threading.Event()):
    print("claimed", flush=True)
    sys.stdin.read()
"""
ORCHESTRATOR = """
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-m", "dubrelay.worker"], stdin=subprocess.PIPE)
worker.stdin.write(sys.stdin.readline().encode())
worker.stdin.flush()
print(worker.pid, flush=True)
time.sleep(600)
"""


def settings_in(state: Path, *, port: int = 1935, stream_id: str = "x") -> WorkerSettings:
    return WorkerSettings(
        stream_id=stream_id,
        run_id="run1",
        input_url=f"rtmp://127.0.0.1:{port}/live/{stream_id}/in",
        output_url=f"rtmp://name:secret@127.0.0.1:{port}/live/{stream_id}/out",
        paths=Paths(state_dir=state),
    )


@contextmanager
def process(script: str, settings: WorkerSettings) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and what it says when it is so far."""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdin is not None
        assert started.stdout is not None
        started.stdin.write(settings.to_json() + "\n")
        started.stdin.flush()
        try:
            yield started, started.stdout.readline().strip()
        finally:
            started.kill()


def test_the_second_worker_waits_until_the_first_was_killed(tmp_path: Path) -> None:
    settings, inside = settings_in(tmp_path), threading.Event()

    def second() -> None:
        with claimed(settings, threading.Event()):
            inside.set()

    with process(HOLDER, settings) as (first, said), ThreadPoolExecutor() as pool:
        assert said == "claimed"
        assert lock_file(settings).read_text() == f"{first.pid}\n"
        waiting = pool.submit(second)
        assert not inside.wait(0.5)
        first.kill()
        waiting.result(10)
        assert inside.is_set()
    assert list((tmp_path / "run").iterdir()) == [], "nothing is left behind"


def test_one_that_does_not_get_the_output_says_who_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "_WAIT_S", 0.2)
    settings = settings_in(tmp_path)
    with process(HOLDER, settings) as (first, _):
        with pytest.raises(MediaError, match=f"another worker has the output: pid {first.pid}, by "):
            claimed(settings, threading.Event()).__enter__()
        for other in (settings_in(tmp_path, port=1936), settings_in(tmp_path, stream_id="y")):
            with claimed(other, threading.Event()):
                pass
        assert first.poll() is None


def test_one_that_is_stopped_while_it_waits_ends_and_takes_nothing(tmp_path: Path) -> None:
    settings, stop = settings_in(tmp_path), threading.Event()
    stop.set()
    with process(HOLDER, settings):
        with claimed(settings, stop):
            pass
        assert lock_file(settings).exists()


def test_there_are_never_two_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes the file away when it ends, so the others may have a file open that is none any more."""
    monkeypatch.setattr(claim, "_LOOK_S", 0.0)
    settings, alone, rounds = settings_in(tmp_path), threading.Lock(), 150

    def come_and_go() -> None:
        for _ in range(rounds):
            with claimed(settings, threading.Event()):
                assert alone.acquire(blocking=False), "two at once"
                alone.release()

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(come_and_go) for _ in range(4)]:
            done.result(60)


def test_a_state_folder_that_cannot_be_written_ends_no_stream(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with capture_logs() as said, claimed(settings_in(tmp_path / "file"), threading.Event()):
        pass
    assert [(line["event"], line["error"]) for line in said] == [("output_not_locked", "Not a directory")]


def test_a_worker_that_hangs_goes_with_the_orchestrator_that_was_killed(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with process(ORCHESTRATOR, settings) as (orchestrator, said):
        worker = psutil.Process(int(said))
        wait_for(lock_file(settings).exists, 30, "the worker to be up")
        worker.suspend()
        orchestrator.kill()
        with claimed(settings, threading.Event()):
            assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
