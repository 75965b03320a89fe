"""Settings of a stream by API with everything real: MediaMTX, orchestrator, worker, the STS service's mock engines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from dubrelay import config
from dubrelay.demo.programme import make
from dubrelay.orchestrator.supervisor import WORKER
from dubrelay.wire import trace
from dubrelay.wire.streams import StreamConfigChanged, StreamDetails
from media import INTERNAL_SECRET, OPEN, MediaMtx, free_mediamtx_settings, free_port, publish
from running_orchestrator import RunningOrchestrator
from running_sts import MOCK, RunningSts
from running_worker import state_in
from waiting import wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]

GLOSSARY = [{"source": "minister", "target": "ministre"}]
SETTINGS = {"target_language": "fr", "glossary": GLOSSARY, "floor_gain_db": -6.0, "programme": "bypass"}


@pytest.fixture
def sts(tmp_path: Path) -> Iterator[RunningSts]:
    with RunningSts(tmp_path, **MOCK) as service:
        yield service


@pytest.fixture
def settings(tmp_path: Path, sts: RunningSts) -> config.Settings:
    return config.Settings(
        paths=state_in(tmp_path),
        mediamtx=free_mediamtx_settings(),
        orchestrator=config.Orchestrator(port=free_port(), hook_token="a token", internal_secret=INTERNAL_SECRET),
        access=OPEN,
        worker=config.Worker(latency_s=6),
        sts_client=config.StsClient(urls=[sts.url]),
    )


def ask(orchestrator: RunningOrchestrator, method: str, what: str, body: Any = None) -> StreamConfigChanged:
    answer = orchestrator.http.request(method, f"/v1/streams/x/{what}", json=body)
    assert answer.is_success, answer.text
    return StreamConfigChanged.model_validate(answer.json())


def on_air(orchestrator: RunningOrchestrator, *, but: int = 0) -> StreamDetails:
    """Once a worker, another one than `but`, publishes."""

    def there() -> StreamDetails | None:
        stream = orchestrator.stream("x")
        fine = stream and stream.worker and stream.worker.pid != but and stream.av_sync_ms is not None
        return stream if fine else None

    found = wait_for(there, 60, f"the stream to be on air; it is {orchestrator.stream('x')}")
    assert found is not None
    return found


def pid_of(stream: StreamDetails) -> int:
    assert stream.worker is not None
    return stream.worker.pid


def logged(captured: str, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in captured.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def test_what_is_set_is_on_air_at_once_and_outlives_worker_and_orchestrator(
    settings: config.Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    programme = make(tmp_path / "programme.mp4", 200)
    with MediaMtx(tmp_path, settings) as media, ExitStack() as publisher:
        with RunningOrchestrator(settings, WORKER) as orchestrator:
            publisher.enter_context(publish(media.rtmp("live/x/in"), file=programme.path))
            first = on_air(orchestrator)
            assert (first.mode, first.programme, first.target_language) == ("dub", "dub", "es")
            assert ask(orchestrator, "POST", "bypass").applied == "live"
            wait_for(lambda: said(orchestrator) == "bypass", 5, "the worker to say so")
            assert ask(orchestrator, "POST", "dub").applied == "live"
            wait_for(lambda: said(orchestrator) == "dub", 5, "the worker to say so")
            assert ask(orchestrator, "PUT", "config", SETTINGS).applied == "live"
            wait_for(
                lambda: heard(settings, "fr", "bypass"), 40, "a phrase in French that bypass kept from being heard"
            )
            assert pid_of(on_air(orchestrator)) == pid_of(first)
            (*_, control) = logged(capfd.readouterr().err, "control")
            assert {key: control[key] for key in SETTINGS} == SETTINGS, "as the worker itself says"

            psutil.Process(pid_of(first)).kill()
            second = on_air(orchestrator, but=pid_of(first))
            assert (second.programme, second.target_language, second.restarts) == ("bypass", "fr", 1)

        with RunningOrchestrator(settings, WORKER) as orchestrator:
            third = on_air(orchestrator, but=pid_of(second))
            assert (third.programme, third.target_language) == ("bypass", "fr")
            assert ask(orchestrator, "POST", "dub").applied == "live"
            assert ask(orchestrator, "PUT", "config", {"mode": "bypass"}).applied == "restart"
            fourth = on_air(orchestrator, but=pid_of(third))
            assert (fourth.mode, fourth.programme, fourth.run_id) == ("bypass", "bypass", third.run_id)
            assert ask(orchestrator, "POST", "silence").applied == "live"
            wait_for(lambda: said(orchestrator) == "silence", 5, "the worker to say so")
    later = logged(capfd.readouterr().err, "control")
    assert [line["programme"] for line in later] == ["dub", "silence"], "else they were started as they are to be"
    assert {frozenset(line) & set(SETTINGS) for line in later} == {frozenset({"programme"})}


def said(orchestrator: RunningOrchestrator) -> str:
    stream = orchestrator.stream("x")
    return stream.programme if stream else ""


def heard(settings: config.Settings, language: str, programme: str) -> bool:
    records = trace.read(trace.folder(settings.paths, "x"))
    return any((record.target_language, record.programme) == (language, programme) for record in records)
