from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx2
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from dubrelay import logs
from dubrelay.errors import StartupError, StsError
from dubrelay.sts.app import build_app
from dubrelay.wire.fragment import MAX_BODY_BYTES, ProcessResult
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
    serving,
    tiny_engines,
)
from waiting import wait_for

pytestmark = pytest.mark.service

PHRASE = request_for(buzz(1.0))


@pytest.fixture(scope="module")
def mock() -> Iterator[Service]:
    with service(mock_settings()) as running:
        yield running


def without(body: dict[str, Any], *path: str, **values: Any) -> dict[str, Any]:
    """A copy of `body` with `values` put into the part at `path`."""
    copy: dict[str, Any] = json.loads(json.dumps(body))
    part = copy
    for key in path:
        part = part[key]
    part.update(values)
    return copy


def test_a_phrase_is_dubbed(mock: Service) -> None:
    answer = mock.post(request_for(buzz(2.48)))
    result = ProcessResult.model_validate_json(answer.content)
    assert (answer.status_code, result.status, result.transcript) == (200, "success", "mock phrase")
    assert result.dubbed_audio is not None and result.dubbed_audio.duration_ms == 2480


def test_silence_is_no_speech(mock: Service) -> None:
    answer = mock.post(request_for(np.zeros(16_000, np.float32)))
    result = ProcessResult.model_validate_json(answer.content)
    assert (answer.status_code, result.status, result.dubbed_audio) == (200, "no_speech", None)


BODY = PHRASE.model_dump()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (without(BODY, "audio", sample_rate_hz=4000), "audio.sample_rate_hz = 4000"),
        (without(BODY, "audio", channels=3), "audio.channels = 3"),
        (without(BODY, "audio", format="mp3"), "audio.format = 'mp3'"),
        (without(BODY, "audio", data_base64="%" * 5000), "audio.data_base64 is not base64"),
        (without(BODY, "audio", duration_ms=5), "audio.duration_ms = 5"),
        (without(BODY, "config", target_language="Spanish!"), "config.target_language = 'Spanish!'"),
        (without(BODY, timeout_ms=0), "timeout_ms = 0"),
        (without(BODY, stream_id="../etc"), "stream_id = '../etc'"),
        (without(BODY, colour="red"), "colour: there is no such field"),
        (without(BODY, sequence_number="7"), "sequence_number = '7'"),
        ({"fragment_id": "f-1"}, "stream_id: Field required"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(mock: Service, body: dict[str, Any], named: str) -> None:
    answer = mock.post(body)
    error = error_of(answer)
    assert (answer.status_code, error.error.code, error.fragment_id) == (400, "INVALID_INPUT", "f-1")
    assert named in error.error.message
    assert len(error.error.message) < 600


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"fragment_id": 5}'])
def test_a_body_that_is_no_request_is_refused(mock: Service, body: bytes) -> None:
    answer = mock.client.post("/api/v1/sts/process", content=body)
    assert answer.status_code == 400
    assert (error_of(answer).error.code, error_of(answer).fragment_id) == ("INVALID_INPUT", "")


def test_more_than_30_s_of_audio_is_refused(mock: Service) -> None:
    answer = mock.post(request_for(buzz(31, 8000), 8000))
    assert (answer.status_code, error_of(answer).error.code) == (400, "INVALID_INPUT")


def test_a_body_declared_too_large_is_refused_before_it_is_sent(mock: Service) -> None:
    host, port = mock.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 5) as raw:
        head = f"POST /api/v1/sts/process HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n"
        raw.sendall(head.encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_body_of_unknown_length_is_refused_when_it_has_become_too_large(mock: Service) -> None:
    host, port = mock.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 5) as raw:
        raw.sendall(b"POST /api/v1/sts/process HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"x" * 500_000
        for _ in range(MAX_BODY_BYTES // len(chunk) + 1):
            raw.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        assert raw.recv(4096).startswith(b"HTTP/1.1 413")


def test_an_unknown_voice_is_422(mock: Service) -> None:
    answer = mock.post(request_for(buzz(1.0), voice="nobody"))
    error = error_of(answer).error
    assert (answer.status_code, error.code, error.stage) == (422, "UNSUPPORTED_LANGUAGE", "tts")
    assert "'nobody': es has default, tone" in error.message


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/api/v1/sts/process", 405)])
def test_a_route_that_is_not_there_answers_in_our_shape(mock: Service, method: str, path: str, status: int) -> None:
    answer = mock.client.request(method, path)
    assert (answer.status_code, error_of(answer).error.code) == (status, "INVALID_INPUT")


def test_health_names_the_pairs(mock: Service) -> None:
    assert mock.client.get("/health").json() == {
        "status": "ok",
        "pairs": [{"source": "*", "target": "*"}],
        "failing": [],
    }


def test_engines_are_listed(mock: Service) -> None:
    listed = mock.client.get("/api/v1/engines").json()
    loaded = {(engine["stage"], engine["name"]) for engine in listed["engines"] if engine["loaded"]}
    assert loaded == {("asr", "mock"), ("mt", "mock"), ("tts", "mock")}
    assert listed["pairs"] == [{"source": "*", "target": "*"}]
    assert {"whisper-tiny.en", "apertium", "kokoro", "espeak-ng"} <= {engine["name"] for engine in listed["engines"]}


def test_every_error_is_in_the_openapi_document(mock: Service) -> None:
    document = mock.client.get("/openapi.json").json()
    operation = document["paths"]["/api/v1/sts/process"]["post"]
    assert set(operation["responses"]) == {"200", "400", "401", "413", "422", "429", "500", "503", "504"}
    assert {"ProcessRequest", "ProcessResult", "ProcessError", "Audio"} <= set(document["components"]["schemas"])


def test_the_page_of_the_api_is_whole_by_itself(mock: Service) -> None:
    answer = mock.client.get("/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert all(text in answer.text for text in ("POST /api/v1/sts/process", 'id="ProcessRequest"', "sample_rate_hz"))
    assert "<script" not in answer.text and "//" not in answer.text


def test_metrics_count_phrases_stages_and_sound() -> None:
    with service(mock_settings()) as running:
        running.post(request_for(buzz(1.5)))
        running.post(request_for(np.zeros(16_000, np.float32)))
        running.post({})
        assert running.metric("sts_requests_total", status="success") == 1
        assert running.metric("sts_requests_total", status="no_speech") == 1
        assert running.metric("sts_requests_total", status="invalid_input") == 1
        assert running.metric("sts_stage_seconds_count", stage="asr") == 2
        assert running.metric("sts_stage_seconds_count", stage="tts") == 1
        assert running.metric("sts_audio_seconds_total") == pytest.approx(2.5)
        assert running.metric("sts_inflight") == 0


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic k3y"}])
def test_without_the_key_nothing_is_answered(header: dict[str, str]) -> None:
    with service(mock_settings(key="k3y")) as running:
        answer = running.post(PHRASE, headers=header)
        assert (answer.status_code, error_of(answer).error.code) == (401, "UNAUTHORIZED")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert running.client.get("/api/v1/engines", headers=header).status_code == 401
        assert running.client.get("/health").status_code == 200
        assert running.post(PHRASE, headers={"Authorization": "Bearer k3y"}).status_code == 200


def test_health_is_503_until_the_models_are_warm() -> None:
    let_load = threading.Event()

    def load(*_: object) -> Any:
        let_load.wait(20)
        return tiny_engines()

    with service(mock_settings(), load, ready=False) as running:
        health = running.client.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "loading")
        early = running.post(PHRASE)
        assert (early.status_code, error_of(early).error.code) == (503, "OVERLOADED")
        assert error_of(early).error.retryable and early.headers["retry-after"] == "1"
        let_load.set()
        wait_for(lambda: running.client.get("/health").status_code == 200, 10, "the service to be warm")
        assert running.post(PHRASE).status_code == 200


def test_a_language_that_no_engine_has_is_422() -> None:
    with service(mock_settings(), lambda *_: tiny_engines()) as running:
        answer = running.post(request_for(buzz(1.0), target="fr"))
        error = error_of(answer).error
        assert (answer.status_code, error.code) == (422, "UNSUPPORTED_LANGUAGE")
        assert "possible here: en to es" in error.message


def breaks() -> None:
    raise RuntimeError("cannot decode")


def test_an_engine_that_breaks_is_500_and_no_traceback_leaves() -> None:
    with service(mock_settings(), lambda *_: tiny_engines(TinyAsr(cost=breaks))) as running:
        answer = running.post(PHRASE)
    error = error_of(answer).error
    assert (answer.status_code, error.code, error.stage, error.retryable) == (500, "MODEL_ERROR", "asr", True)
    assert "Traceback" not in answer.text and ".py" not in answer.text


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_phrase_that_takes_too_long_is_504(let_go: threading.Event) -> None:
    slow = tiny_engines(TinyAsr(cost=lambda: let_go.wait(20)))
    with service(mock_settings(), lambda *_: slow) as running:
        answer = running.post(request_for(buzz(1.0), timeout_ms=200))
        let_go.set()
    error = error_of(answer)
    assert (answer.status_code, error.error.code, error.error.stage) == (504, "TIMEOUT", "asr")
    assert error.fragment_id == "f-1"


def test_a_full_service_is_503_and_still_answers_health(let_go: threading.Event) -> None:
    slow = tiny_engines(tts=TinyTts(natural_s=4.0, cost=lambda _: let_go.wait(20)))
    with service(mock_settings(max_queue=1), lambda *_: slow) as running:
        first = threading.Thread(target=running.post, args=(request_for(buzz(4.0)),), daemon=True)
        first.start()
        wait_for(lambda: running.metric("sts_inflight") == 1, 5, "the first phrase to be in work")
        answer = wait_for(lambda: refused(running), 5, "the second to be refused")
        assert running.client.get("/health").status_code == 200
        let_go.set()
        first.join(10)
    assert answer
    error = error_of(answer).error
    assert (error.code, error.retryable) == ("OVERLOADED", True)
    assert int(answer.headers["retry-after"]) >= 1


def refused(running: Service) -> httpx2.Response | None:
    answer = running.post(request_for(buzz(0.1), timeout_ms=50))
    return answer if answer.status_code == 503 else None


def test_a_client_that_leaves_is_counted_and_forgotten() -> None:
    with service(mock_settings(faults={"hang_rate": 1.0})) as running:
        with pytest.raises(httpx2.ReadTimeout):
            running.post(PHRASE, timeout=0.3)
        wait_for(lambda: running.metric("sts_requests_total", status="gone") == 1, 5, "the phrase to be given up")
        assert running.metric("sts_inflight") == 0


def test_a_failure_asked_for_is_500_and_retryable() -> None:
    with service(mock_settings(faults={"fail_rate": 1.0})) as running:
        answer = running.post(PHRASE)
        assert (answer.status_code, error_of(answer).error.retryable) == (500, True)


def test_garbage_asked_for_is_200() -> None:
    with service(mock_settings(faults={"garbage_rate": 1.0, "seed": 1})) as running:
        answer = running.post(PHRASE)
        assert (answer.status_code, answer.json()["status"]) == (200, "success")


def test_a_service_whose_models_cannot_be_loaded_says_so() -> None:
    failed = threading.Event()

    def load(*_: object) -> Any:
        raise StartupError("sts.tts: kokoro cannot be used: no model")

    app = build_app(mock_settings(), failed.set, load)
    with service(mock_settings(), load, ready=False) as running:
        wait_for(lambda: running.client.get("/health").json()["status"] == "failed", 5, "loading to fail")
    app.state.running.start()
    assert failed.wait(5)
    assert str(app.state.running.failure) == "sts.tts: kokoro cannot be used: no model"


def operations(url: str) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    found: list[Any] = list(schema.get_all_operations())
    return [result.ok() for result in found]


def test_the_service_keeps_to_its_openapi_document(mock: Service) -> None:
    positive, negative = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
    for operation in operations(mock.url):
        # A route without parameters has no wrong requests.
        for mode in (positive, negative) if operation.body else (positive,):
            keeps_to_its_document(operation.as_strategy(generation_mode=mode), 50 if operation.body else 3)


def keeps_to_its_document(cases: Any, max_examples: int) -> None:
    checks = [content_type_conformance, negative_data_rejection, response_schema_conformance, status_code_conformance]

    @settings(max_examples=max_examples, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=cases)
    def answers_as_promised(case: Any) -> None:
        answer = case.call(timeout=10)
        # 503 and 504 are promised answers: a phrase may ask for 1 ms.
        also = [not_a_server_error] if answer.status_code not in (503, 504) else []
        case.validate_response(answer, checks=[*checks, *also])

    answers_as_promised()


CHILD = """
import json, sys
from dubrelay import logs
from dubrelay.config import Settings
from dubrelay.errors import DubrelayError
from dubrelay.sts.app import serve
logs.setup("sts", style="json")
try:
    serve(Settings.model_validate(json.loads(sys.argv[1])))
except DubrelayError as e:
    print(e.message, file=sys.stderr)
    sys.exit(e.exit_code)
"""


@contextmanager
def child(port: int, **sts: Any) -> Iterator[subprocess.Popen[str]]:
    """The service in a process of its own, started as the command line does."""
    mock = mock_settings().sts.model_dump(mode="json", include={"asr", "mt", "tts", "tts_fast"})
    text = json.dumps({"sts": {**mock, "port": port, **sts}})
    process = subprocess.Popen([sys.executable, "-c", CHILD, text], stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
        if process.stderr:
            process.stderr.close()


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


def healthy(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_asked_to_stop_exits_with_0(number: signal.Signals) -> None:
    port = free_port()
    with child(port) as process:
        wait_for(lambda: healthy(port), 30, "the child to be warm")
        process.send_signal(number)
        _, log = process.communicate(timeout=15)
    assert process.returncode == 0
    assert "Traceback" not in log
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert {"listening", "models are warm"} <= set(events)


def test_a_phrase_is_one_log_line_without_its_words() -> None:
    port = free_port()
    with child(port) as process:
        wait_for(lambda: healthy(port), 30, "the child to be warm")
        answer = httpx2.post(f"http://127.0.0.1:{port}/api/v1/sts/process", json=BODY)
        process.terminate()
        _, log = process.communicate(timeout=15)
    assert answer.json()["transcript"] == "mock phrase"
    (line,) = [entry for entry in map(json.loads, log.splitlines()) if entry["event"] == "phrase"]
    shown = {key: line[key] for key in ("fragmentId", "sequenceNumber", "streamId", "status", "duration_ms")}
    assert shown == {
        "fragmentId": "f-1",
        "sequenceNumber": 7,
        "streamId": "abc",
        "status": "success",
        "duration_ms": 1000,
    }
    assert set(line["stage_ms"]) - {"wait"} == {"asr", "mt", "tts", "fit"}
    assert "mock phrase" not in log


class Quoting(Exception):
    """What an engine raises with the phrase in its words."""


SAID, MEANT = "the secret word is banana", "la palabra secreta es plátano"


def quote() -> None:
    raise Quoting(f"cannot go on after {SAID!r}")


def bug(_: float) -> None:
    raise StsError("MODEL_ERROR", f"cannot say {MEANT!r}", stage="tts")


@pytest.mark.parametrize(
    ("engines", "request_fields"),
    [
        ({}, {}),
        ({"mt": TinyTranslator(MEANT, cost=quote)}, {}),
        ({"tts": TinyTts(cost=bug)}, {}),
        ({}, {"context": {"transcript": SAID, "translated_text": MEANT, "mood": MEANT}}),
        ({}, {"context": {"transcript": [SAID]}}),
        ({}, {"config": {"source_language": "en", "target_language": MEANT}}),
    ],
)
def test_no_line_at_info_has_what_was_said(
    engines: dict[str, Any], request_fields: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    parts = {"asr": TinyAsr(SAID), "mt": TinyTranslator(MEANT), **engines}
    logs.setup("sts", "info", "json")
    with service(mock_settings(), lambda *_: tiny_engines(**parts)) as running:
        answer = running.post({**BODY, **request_fields})
    written = capfd.readouterr()
    assert answer.status_code in (200, 400, 500)
    assert f'"fragmentId": "{PHRASE.fragment_id}"' in written.err
    for words in (SAID, MEANT, "banana", "pl\\u00e1tano", "plátano"):
        assert words not in written.err + written.out


def test_a_bug_of_ours_answers_in_our_shape_and_is_found_by_its_place(capfd: pytest.CaptureFixture[str]) -> None:
    logs.setup("sts", "info", "json")
    app = build_app(mock_settings())

    async def broken(request: Any, arrived: float) -> Any:
        raise ValueError(SAID)

    app.state.running.answer = broken
    with serving(app) as running:
        answer = running.post(PHRASE)
    error = error_of(answer)
    assert (answer.status_code, error.error.code, error.fragment_id) == (500, "MODEL_ERROR", PHRASE.fragment_id)
    log = capfd.readouterr().err
    assert "ValueError at test_app.py:" in log and "banana" not in log


def test_too_much_sound_is_refused_before_it_is_decoded(mock: Service) -> None:
    body = without(BODY, "audio", data_base64="%" * 1_400_000)
    answer = mock.post(body)
    assert answer.status_code == 400
    assert error_of(answer).error.message == "audio.data_base64 holds 32.8 s: at most 30 s a phrase"


def test_a_port_in_use_is_one_line_and_exit_code_3() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with child(port) as process:
            _, log = process.communicate(timeout=30)
    assert process.returncode == 3
    assert log == f"sts: 127.0.0.1:{port} is in use; stop what listens there, or choose another sts.port\n"


def test_an_unknown_engine_is_one_line_and_exit_code_2() -> None:
    with child(free_port(), tts=["kokodo"]) as process:
        _, log = process.communicate(timeout=30)
    assert process.returncode == 2
    allowed = "kokoro, hibari, espeak-ng, mock, or one of sts.engines"
    assert log == f"sts.tts = 'kokodo': there is no such engine; allowed: {allowed}\n"
