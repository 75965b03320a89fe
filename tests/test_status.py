"""dubrelay status against the real orchestrator, with stand-ins for MediaMTX's list and for the workers."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dubrelay import config, status
from dubrelay.__main__ import main
from dubrelay.wire.status import PhraseReport
from dubrelay.wire.streams import DestinationView, PhraseView, StreamDetails, WorkerView
from fake_mediamtx import FakeMediaMtx
from media import free_port
from running_orchestrator import RunningOrchestrator
from servers import server_for
from waiting import wait_for

pytestmark = pytest.mark.service


def shown(*streams: StreamDetails) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(status.table(streams))
    return console.file.getvalue()  # type: ignore[attr-defined]


def phrase(number: int, **values: Any) -> PhraseView:
    what = {"sequence_number": number, "t0_ms": 0, "started_at": 0.0, "duration_ms": 900, "status": "dubbed", **values}
    return PhraseView(sequence=number, phrase=PhraseReport.model_validate(what))


def test_a_row_says_how_a_stream_is() -> None:
    late = {"status": "fallback", "reason": "deadline", "margin_ms": -200}
    stream = StreamDetails(
        stream_id="news",
        state="running",
        mode="dub",
        programme="dub",
        restarts=2,
        worker=WorkerView(pid=7, started_at=0, cpu_percent=31.4, rss_bytes=201_000_000),
        delay_ms=8012,
        av_sync_ms=-1.24,
        phrases=[
            *(phrase(n, margin_ms=2000 + n) for n in range(1, 4)),
            phrase(4, **late),
            phrase(5, status="no_speech"),
            phrase(6, status="fallback", reason="breaker_open"),
            phrase(7, **late),
        ],
    )
    text = shown(stream)
    for cell in (
        "news", "running", "2 restarts", "8.0 s", "-1.2 ms", "3/6", "2.0 s, least -0.2", "2 deadline, 1 breaker_open",
        "31 %", "201 MB",
    ):  # fmt: skip
        assert f" {cell} " in text, cell


def test_destinations_are_a_column_where_there_are_any() -> None:
    out = DestinationView(
        name="tube", url="rtmp://a/live2", given_by="settings", state="forwarding", bitrate_kbps=2512.0
    )
    bad = out.model_copy(update={"name": "tv", "state": "refused", "last_error": "the key is wrong"})
    text = shown(StreamDetails(stream_id="x", state="running", mode="dub", programme="dub", destinations=[out, bad]))
    assert "tube forwarding 2.5 Mbit/s" in text
    assert "tv refused the key is wrong" in text
    assert "destinations" not in shown(StreamDetails(stream_id="x", state="running", mode="dub", programme="dub"))


def test_a_stream_without_a_worker_says_why_and_nothing_of_it_is_markup() -> None:
    text = shown(
        StreamDetails(stream_id="x", state="degraded", mode="dub", programme="dub", message="[bold]no such file")
    )
    assert "[bold]no such file" in text
    assert "no streams" in shown()


@pytest.fixture
def orchestrator() -> Iterator[RunningOrchestrator]:
    with FakeMediaMtx() as fake:
        settings = config.Settings(
            mediamtx=config.MediaMtx(api_port=fake.port),
            orchestrator=config.Orchestrator(port=free_port(), poll_interval_s=0.2),
        )
        with RunningOrchestrator(settings) as running:
            fake.publish("x", "a1")
            running.wait_state("x", "running")
            wait_for(lambda: (running.stream("x") or running).phrases, 5, "phrases")  # type: ignore[union-attr]
            yield running


def test_it_shows_what_the_orchestrator_says(
    orchestrator: RunningOrchestrator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    url = orchestrator.settings.orchestrator.url
    assert main(["status", "--once", "--url", url]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "running" in line]
    assert [cell.strip() for cell in row.strip("│ ").split("│")][:5] == ["x", "running", "8.0 s", "+0.5 ms", "3/3"]
    assert main(["status", "--json", "--set", f"orchestrator.port={orchestrator.settings.orchestrator.port}"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    (stream,) = json.loads(line)["streams"]
    assert (stream["streamId"], len(stream["phrases"])) == ("x", 3)


def test_on_a_terminal_it_goes_on_until_ctrl_c(orchestrator: RunningOrchestrator) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "dubrelay", "status", "--url", orchestrator.settings.orchestrator.url]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"})
    os.close(theirs)
    seen = b""

    def twice() -> bool:
        nonlocal seen
        seen += os.read(ours, 65536)
        return seen.count(b"running") >= 2

    try:
        wait_for(twice, 30, "a second look at the streams")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(5)
        os.close(ours)


def _complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["status", *arguments])
    (line,) = capsys.readouterr().err.splitlines()
    return code, line


def test_an_orchestrator_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    code, line = _complaint(capsys, "--url", url)
    assert code == 40
    assert line.startswith(f"dubrelay: no orchestrator answers at {url}: ")
    code, line = _complaint(capsys, "--url", "nonsense")
    assert (code, line.partition(": ")[2].partition(": ")[0]) == (40, "no orchestrator answers at nonsense")


@contextmanager
def serving(answer: Callable[[Request], Awaitable[JSONResponse]]) -> Iterator[str]:
    """Something else that listens; its URL."""
    server = server_for(Starlette(routes=[Route("/v1/streams", answer)]))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started, 10, "the server to start")
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


async def _guarded(request: Request) -> JSONResponse:
    allowed = request.headers.get("authorization") == "Bearer the-right-token-0123"
    return JSONResponse({"streams": []} if allowed else {}, 200 if allowed else 401)


def test_the_token_of_the_settings_is_sent_and_never_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(_guarded) as url:
        monkeypatch.setenv("DUBRELAY_ORCHESTRATOR__API_TOKEN", "the-right-token-0123")
        assert main(["status", "--once", "--url", url]) == 0
        capsys.readouterr()
        monkeypatch.setenv("DUBRELAY_ORCHESTRATOR__API_TOKEN", "the-wrong-token-0123")
        assert _complaint(capsys, "--url", url) == (
            2,
            f"dubrelay: orchestrator.api_token: {url} wants another one (401): "
            "`dubrelay keys new NAME --role viewer` makes one",
        )


async def _other(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def test_what_is_no_orchestrator_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(_other) as url:
        code, line = _complaint(capsys, "--url", url)
    assert (code, line) == (40, f"dubrelay: what answers at {url} is no orchestrator of this version")
