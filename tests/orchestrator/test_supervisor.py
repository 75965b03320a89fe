from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from dubrelay.config import Orchestrator
from dubrelay.orchestrator import supervisor as supervisor_module
from dubrelay.orchestrator.supervisor import Exit, Supervisor, WorkerProcess
from dubrelay.wire.control import Control
from dubrelay.wire.status import ControlReport, PhraseReport
from dubrelay.wire.worker import WorkerSettings

pytestmark = pytest.mark.service

FAKE = Path(__file__).with_name("fake_worker.py")
LIMITS = Orchestrator(ready_timeout_s=10, heartbeat_timeout_s=10, stop_timeout_s=5)
SETTINGS = WorkerSettings(stream_id="abc", run_id="run1", input_url="rtmp://h/live/abc/in", output_url="rtmp://h/out")


class Watched:
    """A worker under supervision, and what it made its supervisor do."""

    def __init__(
        self,
        *faults: str,
        limits: Orchestrator = LIMITS,
        command: list[str] | None = None,
        settings: WorkerSettings = SETTINGS,
    ) -> None:
        self.ready = 0
        self.phrases: list[PhraseReport] = []
        supervisor = Supervisor(limits, command or [sys.executable, str(FAKE), *faults])
        self.worker: WorkerProcess = supervisor.worker(settings, self._ready, self.phrases.append)
        self.task: asyncio.Task[Exit] | None = None

    def _ready(self) -> None:
        self.ready += 1

    async def run(self) -> Exit:
        return await asyncio.wait_for(self.worker.run(), 20)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[Exit]]:
        task = asyncio.create_task(self.run())
        await eventually(lambda: self.ready and len(self.phrases) == 3, "the worker to be ready")
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def eventually(condition: Callable[[], object], what: str, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def child_of(captured: str) -> int:
    entries = [json.loads(line) for line in captured.splitlines() if line.startswith("{")]
    return next(entry["child"] for entry in entries if "child" in entry)


async def stopped_after_ready(watched: Watched) -> Exit:
    async with watched.running() as task:
        watched.worker.stop()
        return await task


def test_a_worker_becomes_ready_reports_and_stops_when_asked() -> None:
    async def scene() -> None:
        watched = Watched()
        async with watched.running() as task:
            worker = watched.worker
            assert watched.ready == 1
            assert worker.status is not None
            assert worker.status.delay_ms == 8000
            assert [phrase.transcript for phrase in watched.phrases] == ["phrase 0", "phrase 1", "phrase 2"]
            assert worker.pid is not None
            pid = worker.pid
            assert worker.usage() is not None
            assert worker.usage().rss_bytes > 1_000_000
            assert time.time() - 20 < worker.started_at <= time.time()
            worker.stop()
            assert await task == Exit(0, "")
            assert worker.status is None
            assert worker.usage() is None
            assert gone(pid)

    asyncio.run(scene())


def test_a_worker_is_told_and_its_answer_comes_back() -> None:
    async def scene() -> None:
        watched = Watched()
        assert await watched.worker.tell(Control(programme="bypass"), 10) is None, "it is not running yet"
        async with watched.running() as task:
            both = [watched.worker.tell(Control(programme=programme), 10) for programme in ("silence", "bypass")]
            first, second = await asyncio.gather(*both)
            assert first is not None
            assert second is not None
            assert (first.accepted, second.accepted) == (True, True)
            assert first.id != second.id
            await eventually(lambda: (s := watched.worker.status) and s.programme == "bypass", "it to say so")
            watched.worker.stop()
            await task
        assert await watched.worker.tell(Control(programme="dub"), 10) is None, "it has ended"

    asyncio.run(scene())


def test_a_refusal_comes_back_and_a_worker_that_says_nothing_is_not_waited_for() -> None:
    async def scene(fault: str) -> ControlReport | None:
        watched = Watched(fault)
        async with watched.running():
            return await watched.worker.tell(Control(programme="bypass"), 10 if fault == "refusing" else 0.3)

    refused = asyncio.run(scene("refusing"))
    assert refused is not None
    assert (refused.accepted, refused.message) == (False, "control: not today")
    assert asyncio.run(scene("ignoring")) is None


def test_nobody_waits_for_the_answer_of_a_worker_that_ends() -> None:
    async def scene() -> None:
        watched = Watched("ignoring")
        async with watched.running():
            telling = asyncio.create_task(watched.worker.tell(Control(programme="bypass"), 600))
            await asyncio.sleep(0)
            assert watched.worker.pid is not None
            os.kill(watched.worker.pid, signal.SIGKILL)
            assert await asyncio.wait_for(telling, 20) is None

    asyncio.run(scene())


def test_heartbeats_keep_a_worker_alive_past_its_timeouts() -> None:
    async def scene() -> None:
        limits = Orchestrator(ready_timeout_s=5, heartbeat_timeout_s=0.5)
        watched = Watched(limits=limits)
        async with watched.running() as task:
            first = watched.worker.status
            await asyncio.wait({task}, timeout=1.5)
            assert not task.done()
            assert watched.worker.status is not first

    asyncio.run(scene())


@pytest.mark.parametrize("code", [2, 3, 20, 30, 40, 70])
def test_exit_code_and_last_error_line_are_reported(code: int) -> None:
    assert asyncio.run(Watched(f"exit{code}").run()) == Exit(code, f"told to exit with {code}")


def test_a_plain_line_on_stderr_is_wrapped_and_is_the_error_when_there_is_no_better_one() -> None:
    with capture_logs() as captured:
        assert asyncio.run(Watched("plain").run()) == Exit(2, "dubrelay worker: one plain line")
    wrapped = next(entry for entry in captured if entry["event"] == "worker_stderr")
    assert wrapped["line"] == "dubrelay worker: one plain line"
    assert (wrapped["streamId"], wrapped["runId"]) == ("abc", "run1")


def test_log_lines_of_the_worker_go_through_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(stopped_after_ready(Watched()))
    started = next(line for line in capsys.readouterr().err.splitlines() if "fake_worker_started" in line)
    assert json.loads(started)["stream_id"] == "abc"
    assert json.loads(started)["run_id"] == "run1"


def test_a_crash_is_reported_by_its_signal() -> None:
    assert asyncio.run(Watched("crash").run()).code == -11


def test_one_that_ends_without_reading_its_settings_leaves_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    long = SETTINGS.model_copy(update={"input_url": "rtmp://h/" + "x" * 1_000_000})  # more than a pipe takes
    watched = Watched(command=[sys.executable, "-c", "import sys; sys.exit(40)"], settings=long)
    assert asyncio.run(watched.run()).code == 40
    del watched
    gc.collect()  # asyncio complains when what nobody asked for is thrown away
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


def test_a_worker_that_never_becomes_ready_is_killed() -> None:
    end = asyncio.run(Watched("mute", limits=Orchestrator(ready_timeout_s=0.7)).run())
    assert end.code in {-6, -9}
    assert end.message == "killed: it did not become ready for 0.7 s"


def test_a_worker_that_hangs_is_killed() -> None:
    watched = Watched("hang", limits=Orchestrator(heartbeat_timeout_s=0.7))
    end = asyncio.run(watched.run())
    assert watched.ready == 1
    assert end.message == "killed: it said nothing for 0.7 s"


def test_a_worker_that_does_not_stop_is_killed() -> None:
    end = asyncio.run(stopped_after_ready(Watched("deaf", limits=Orchestrator(stop_timeout_s=0.5))))
    assert end == Exit(-9, "killed: it did not stop within 0.5 s")


def test_a_worker_that_stays_too_large_is_stopped_and_it_is_said_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "TOO_LARGE_S", 0.6)
    end = asyncio.run(Watched("large", limits=Orchestrator(worker_memory_mb=100)).run())
    assert end.code == 0, "it was asked to stop, not killed"
    assert end.message.startswith(
        "stopped: it had more than orchestrator.worker_memory_mb = 100 for 0.6 s, in the end 2"
    )


@pytest.mark.parametrize(("faults", "limit_mb"), [(("large",), 0), (("large",), 1000), ((), 100)])
def test_a_worker_within_its_memory_goes_on(
    monkeypatch: pytest.MonkeyPatch, faults: tuple[str, ...], limit_mb: int
) -> None:
    monkeypatch.setattr(supervisor_module, "TOO_LARGE_S", 0.0)

    async def scene() -> None:
        watched = Watched(*faults, limits=Orchestrator(worker_memory_mb=limit_mb))
        async with watched.running() as task:
            first = watched.worker.status
            await eventually(lambda: watched.worker.status is not first, "another heartbeat")
            await asyncio.wait({task}, timeout=2 * supervisor_module.LOOK_S)
            assert not task.done()

    asyncio.run(scene())


def test_what_the_worker_started_goes_with_it(capfd: pytest.CaptureFixture[str]) -> None:
    end = asyncio.run(stopped_after_ready(Watched("child")))
    assert end.code == 0
    child = child_of(capfd.readouterr().err)
    deadline = time.monotonic() + 5
    while not gone(child):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("kin", ["child", "runaway"])
def test_an_exit_is_noticed_while_something_else_holds_the_pipes(kin: str) -> None:
    before = time.monotonic()
    assert asyncio.run(Watched("leave", kin).run()).code == 40
    assert time.monotonic() - before < 4


def test_cancelling_kills() -> None:
    async def scene() -> int:
        watched = Watched("deaf")
        async with watched.running():
            assert watched.worker.pid is not None
            return watched.worker.pid

    assert gone(asyncio.run(scene()))


def test_a_command_that_does_not_exist_is_a_start_up_failure() -> None:
    end = asyncio.run(Watched(command=["/does/not/exist"]).run())
    assert end.code == 3
    assert "/does/not/exist" in end.message


def test_a_worker_ends_when_its_supervisor_is_killed() -> None:
    """The supervisor runs in a process of its own, which is killed without a chance to clean up."""
    script = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from dubrelay import logs
from test_supervisor import Watched
logs.setup("test")
async def main():
    watched = Watched()
    async with watched.running():
        print(watched.worker.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""

    async def scene() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(FAKE.parent), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        pid = int(await asyncio.wait_for(process.stdout.readline(), 20))
        assert not gone(pid)
        process.kill()
        await process.wait()
        await eventually(lambda: gone(pid), "the worker to end")

    asyncio.run(scene())


def test_a_worker_gets_nobody_s_keys_by_its_environment() -> None:
    says = (
        "import os, sys; sys.exit(3 if 'KEPT' not in os.environ else 4 + any('HUSH' in v for v in os.environ.values()))"
    )
    environ = os.environ | {"KEPT": "1", "DUBRELAY_ORCHESTRATOR__API_TOKEN": "HUSH", "DUBRELAY_STS_CLIENT__KEY": "HUSH"}
    supervisor = Supervisor(LIMITS, [sys.executable, "-c", says], environ)
    end = asyncio.run(supervisor.worker(SETTINGS, lambda: None, lambda _: None).run())
    assert end.code == 4
