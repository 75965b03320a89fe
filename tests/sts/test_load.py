"""The service under load, while it stops, and with engines that fail."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from dubrelay.sts import care, lanes
from dubrelay.sts.app import GRACEFUL_S
from dubrelay.sts.engines import load
from dubrelay.sts.route import Engines
from dubrelay.wire.fragment import ProcessResult
from running_sts import MOCK, RunningSts
from sts_parts import (
    Service,
    TinyAsr,
    TinyTranslator,
    TinyTts,
    buzz,
    error_of,
    mock_settings,
    request_for,
    service,
    tiny_engines,
)
from waiting import wait_for

pytestmark = pytest.mark.service

PHRASE = request_for(buzz(1.0))


def health(running: Service) -> tuple[int, str, list[str]]:
    answer = running.client.get("/health")
    said = answer.json()
    return answer.status_code, said["status"], said["failing"]


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


class Posts:
    """Requests under way, each on a thread of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._threads: list[threading.Thread] = []
        self.answers: list[httpx2.Response] = []

    def post(self, body: dict[str, Any], timeout_s: float = 20.0) -> None:
        def run() -> None:
            with suppress(httpx2.TransportError):
                answer = httpx2.post(f"{self._url}/api/v1/sts/process", json=body, timeout=timeout_s, trust_env=False)
                self.answers.append(answer)

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def finished(self) -> list[httpx2.Response]:
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()
        return self.answers


def test_a_retry_of_a_phrase_is_not_computed_again() -> None:
    asr = TinyAsr()
    with service(mock_settings(), lambda *_: tiny_engines(asr)) as running:
        first, again = running.post(PHRASE), running.post(PHRASE.model_copy(update={"timeout_ms": 3000}))
        assert running.metric("sts_requests_total", status="success") == 2
        assert running.metric("sts_stage_seconds_count", stage="asr") == 1
    assert {**first.json(), "processing_time_ms": 0} == {**again.json(), "processing_time_ms": 0}
    assert len(asr.heard_rates) == 1


def test_a_client_that_leaves_costs_nothing_any_more(let_go: threading.Event) -> None:
    asr = TinyAsr(cost=lambda: let_go.wait(20))
    with service(mock_settings(), lambda *_: tiny_engines(asr)) as running:
        posts = Posts(running.url)
        posts.post(PHRASE.model_dump())
        wait_for(lambda: asr.heard_rates, 5, "the first phrase to be heard")
        with pytest.raises(httpx2.ReadTimeout):
            running.post(request_for(buzz(0.5)), timeout=0.5)
        wait_for(lambda: running.metric("sts_requests_total", status="gone") == 1, 5, "the second to be gone")
        wait_for(lambda: running.metric("sts_inflight") == 1, 5, "only the first to be inside")
        let_go.set()
        assert [answer.status_code for answer in posts.finished()] == [200]
    assert len(asr.heard_rates) == 1


def test_what_cannot_be_in_time_is_refused_before_it_costs_anything(let_go: threading.Event) -> None:
    let_go.set()
    costs = [0.2]  # what the first phrase takes, so that something is known

    def hear() -> None:
        threading.Event().wait(costs.pop()) if costs else let_go.wait(20)

    asr = TinyAsr(cost=hear)
    with service(mock_settings(), lambda *_: tiny_engines(asr)) as running:
        running.post(PHRASE)
        let_go.clear()
        posts = Posts(running.url)
        for number in range(4):
            posts.post(request_for(buzz(1.0), sequence_number=number).model_dump())
        wait_for(lambda: running.metric("sts_inflight") == 4, 5, "four phrases to be inside")
        wait_for(lambda: len(asr.heard_rates) == 2, 5, "the first of them to be heard")
        answer = running.post(request_for(buzz(1.0), sequence_number=9, timeout_ms=500))
        assert answer.status_code == 503
        assert (error_of(answer).error.code, error_of(answer).error.retryable) == ("OVERLOADED", True)
        assert int(answer.headers["retry-after"]) >= 1
        let_go.set()
        assert [each.status_code for each in posts.finished()] == [200] * 4


def breaks(*_: object) -> None:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def broken_until_reloaded(open_: threading.Event, fresh: Any) -> Callable[[str, str], Any]:
    def reload(stage: str, name: str) -> Any:
        if not open_.is_set():
            breaks()
        return fresh

    return reload


@pytest.fixture
def quick_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(care, "FIRST_S", 0.05)


@pytest.mark.usefixtures("quick_reload")
def test_an_engine_that_breaks_is_loaded_again_and_health_tells_the_truth_meanwhile(let_go: threading.Event) -> None:
    reload = broken_until_reloaded(let_go, TinyAsr())
    with service(mock_settings(), lambda *_: tiny_engines(TinyAsr(cost=breaks)), reload=reload) as running:
        assert health(running) == (200, "ok", [])
        for number in range(care.FAILURES):
            answer = running.post(request_for(buzz(1.0), sequence_number=number))
            error = error_of(answer).error
            assert (answer.status_code, error.code, error.stage, error.retryable) == (500, "MODEL_ERROR", "asr", True)
        assert health(running) == (503, "down", ["asr/tiny-asr"])
        answer = running.post(PHRASE)
        assert (answer.status_code, error_of(answer).error.retryable) == (500, True)
        assert "is being loaded again" in error_of(answer).error.message
        let_go.set()
        wait_for(lambda: health(running) == (200, "ok", []), 10, "the service to be well again")
        assert running.post(PHRASE).status_code == 200


@pytest.mark.usefixtures("quick_reload")
def test_with_a_fast_engine_of_the_stage_the_service_goes_on_degraded(let_go: threading.Event) -> None:
    engines = tiny_engines(tts=TinyTts("neural", cost=breaks), fast=TinyTts("robot"))
    reload = broken_until_reloaded(let_go, TinyTts("neural"))
    with service(mock_settings(), lambda *_: engines, reload=reload) as running:
        for number in range(care.FAILURES):
            assert running.post(request_for(buzz(1.0), sequence_number=number)).status_code == 500
        assert health(running) == (200, "degraded", ["tts/neural"])
        meanwhile = ProcessResult.model_validate_json(running.post(PHRASE).content)
        let_go.set()
        wait_for(lambda: health(running) == (200, "ok", []), 10, "the voice to be back")
        after = ProcessResult.model_validate_json(running.post(request_for(buzz(0.9))).content)
    assert (meanwhile.metadata.tts_model, after.metadata.tts_model) == ("robot/ana", "neural/ana")


def test_an_engine_that_hangs_is_noticed(let_go: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "HUNG_LEAST_S", 0.3)
    engines = tiny_engines(TinyAsr(cost=lambda: let_go.wait(20)))
    with service(mock_settings(), lambda *_: engines) as running:
        assert running.post(request_for(buzz(1.0), timeout_ms=200)).status_code == 504
        wait_for(lambda: health(running) == (503, "down", ["asr/tiny-asr"]), 5, "the hung call to be told of")
        let_go.set()
        wait_for(lambda: health(running) == (200, "ok", []), 5, "the call to come back")


@pytest.mark.usefixtures("quick_reload")
def test_espeak_ng_that_cannot_be_run_any_more_comes_back_when_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = mock_settings(tts=["espeak-ng"])
    path = os.environ["PATH"]
    with service(settings) as running:
        assert running.post(request_for(buzz(1.0))).status_code == 200
        monkeypatch.setenv("PATH", "/nowhere")
        for number in range(10, 10 + care.FAILURES):
            answer = running.post(request_for(buzz(1.0), sequence_number=number))
            assert (answer.status_code, error_of(answer).error.stage) == (500, "tts")
        assert health(running) == (503, "down", ["tts/espeak-ng"])
        monkeypatch.setenv("PATH", path)
        wait_for(lambda: health(running) == (200, "ok", []), 20, "the voice to be back")
        assert running.post(request_for(buzz(1.0), sequence_number=20)).status_code == 200


def test_programs_of_an_engine_that_are_killed_cost_no_phrase() -> None:
    loaded: list[Engines] = []

    def loading(*given: Any) -> Engines:
        loaded.append(load(*given))
        return loaded[0]

    with service(mock_settings(mt=["apertium"]), loading) as running:
        assert running.post(PHRASE).status_code == 200
        translator: Any = loaded[0].mt[0]
        for number in range(3):
            for pid in translator.pids:
                os.kill(pid, signal.SIGKILL)
            assert running.post(request_for(buzz(1.0), sequence_number=number)).status_code == 200
            assert health(running) == (200, "ok", [])


def test_what_it_costs_is_told_busy_and_idle() -> None:
    with service(mock_settings(cost_per_hour=3.6)) as running:
        for number in range(3):
            running.post(request_for(buzz(1.0), sequence_number=number))
        assert running.metric("sts_dubbed_seconds_total") == pytest.approx(3.0)
        assert running.metric("sts_streams") == 1
        assert 0 < running.metric("sts_busy_seconds_total") < running.metric("sts_wall_seconds_total")
        for series in ("sts_cost_per_stream_hour", "sts_cost_per_dubbed_minute"):
            assert running.metric(series, part="busy") > 0
            assert running.metric(series, part="idle") > 0
        wall_s, per_minute = running.metric("sts_wall_seconds_total"), cost(running, "sts_cost_per_dubbed_minute")
        assert per_minute == pytest.approx(3.6 / 3600 * wall_s / (3.0 / 60), rel=0.2)


def cost(running: Service, series: str) -> float:
    return sum(running.metric(series, part=part) for part in ("busy", "idle"))


def stopping(sts: RunningSts) -> Callable[[], bool]:
    return lambda: httpx2.get(f"{sts.url}/health", trust_env=False).json()["status"] == "draining"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_asked_to_stop_finishes_what_is_inside_and_takes_no_more(
    tmp_path: Path, number: signal.Signals
) -> None:
    with RunningSts(tmp_path, **MOCK, faults={"delay_ms": 2000}, drain_s=15.0) as sts:
        posts, process = Posts(sts.url), sts.process
        assert process is not None
        posts.post(PHRASE.model_dump())
        wait_for(lambda: inside(sts) == 1, 5, "the phrase to be inside")
        process.send_signal(number)
        wait_for(stopping(sts), 2, "the service to drain")
        refused = httpx2.post(f"{sts.url}/api/v1/sts/process", json=PHRASE.model_dump(), trust_env=False)
        unwell = httpx2.get(f"{sts.url}/health", trust_env=False)
        assert [answer.status_code for answer in posts.finished()] == [200]
        assert process.wait(10) == 0
    assert (refused.status_code, error_of(refused).error.code) == (503, "OVERLOADED")
    assert int(refused.headers["retry-after"]) >= 1
    assert unwell.status_code == 503


def inside(sts: RunningSts) -> float:
    text = httpx2.get(f"{sts.url}/metrics", trust_env=False).text
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith("sts_inflight ")))


def test_what_is_not_finished_in_time_does_not_keep_the_service_from_ending(tmp_path: Path) -> None:
    with RunningSts(tmp_path, **MOCK, faults={"hang_rate": 1.0}, drain_s=0.3) as sts:
        posts, process = Posts(sts.url), sts.process
        assert process is not None
        posts.post(PHRASE.model_dump())
        wait_for(lambda: inside(sts) == 1, 5, "the phrase to be inside")
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        (answer,) = posts.finished()
        assert (answer.status_code, error_of(answer).error.code) == (503, "OVERLOADED")
    assert "Traceback" not in (tmp_path / "sts.log").read_text()


def test_a_second_signal_ends_the_service_without_waiting_for_what_is_inside(tmp_path: Path) -> None:
    with RunningSts(tmp_path, **MOCK, faults={"hang_rate": 1.0}, drain_s=300.0) as sts:
        posts, process = Posts(sts.url), sts.process
        assert process is not None
        posts.post(PHRASE.model_dump())
        wait_for(lambda: inside(sts) == 1, 5, "the phrase to be inside")
        process.send_signal(signal.SIGTERM)
        wait_for(stopping(sts), 2, "the service to drain")
        process.send_signal(signal.SIGTERM)
        assert process.wait(GRACEFUL_S - 1) == 0
        posts.finished()


def test_a_translator_that_fails_once_in_a_while_stays() -> None:
    calls = iter(range(100))

    def now_and_then() -> None:
        if next(calls) % 2:
            breaks()

    with service(mock_settings(), lambda *_: tiny_engines(mt=TinyTranslator(cost=now_and_then))) as running:
        codes = [running.post(request_for(buzz(1.0), sequence_number=number)).status_code for number in range(8)]
        assert codes == [200, 500] * 4
        assert health(running) == (200, "ok", [])
