"""Settings of streams by API: the orchestrator's real application, real child processes that answer controls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from dubrelay import config
from dubrelay.config import StreamConfig
from dubrelay.wire.streams import AuditList, StreamConfigChanged, StreamConfigView, StreamDetails
from fake_mediamtx import FakeMediaMtx
from media import free_port
from running_orchestrator import RunningOrchestrator
from waiting import wait_for

pytestmark = pytest.mark.service

JSON = {"Content-Type": "application/json"}

GLOSSARY = [{"source": "Bayern", "target": ""}, {"source": "goal", "target": "gol"}]


@pytest.fixture
def fake() -> Iterator[FakeMediaMtx]:
    with FakeMediaMtx() as server:
        yield server


@pytest.fixture
def settings(fake: FakeMediaMtx, tmp_path: Path) -> config.Settings:
    limits = {"port": free_port(), "poll_interval_s": 0.2, "grace_s": 5}
    streams = {"x": {"target_language": "fr", "destinations": [{"name": "a", "url": "rtmp://a.example/SECRET"}]}}
    return config.Settings.model_validate(
        {
            "paths": {"state_dir": str(tmp_path / "state")},
            "mediamtx": {"api_port": fake.port},
            "orchestrator": limits,
            "streams": streams | {"passing": {"mode": "bypass"}, "strict": {"publisher_lang": ["it"]}},
        }
    )


@pytest.fixture
def orchestrator(settings: config.Settings) -> Iterator[RunningOrchestrator]:
    with RunningOrchestrator(settings) as running:
        yield running


def asked(orchestrator: RunningOrchestrator, method: str, path: str, body: Any = None, **headers: str) -> Any:
    return orchestrator.http.request(method, f"/v1/streams/{path}", json=body, headers=headers)


def changed(answer: Any, status: int = 200) -> StreamConfigChanged:
    assert answer.status_code == status, answer.text
    return StreamConfigChanged.model_validate(answer.json())


def problem(answer: Any) -> tuple[int, str, str]:
    error = answer.json()["error"]
    assert set(answer.json()) == {"error"}
    return answer.status_code, error["code"], error["message"]


def pid_of(stream: StreamDetails | None) -> int:
    assert stream is not None
    assert stream.worker is not None
    return stream.worker.pid


class Log:
    """What the fake workers logged."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd, self._text = capfd, ""

    def _lines(self, event: str) -> list[dict[str, Any]]:
        self._text += self._capfd.readouterr().err
        lines = [json.loads(line) for line in self._text.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def told(self) -> list[dict[str, Any]]:
        """The controls that came after the settings."""
        beside = ("level", "event", "pid", "stream_id")
        return [{k: v for k, v in line.items() if k not in beside} for line in self._lines("told")]

    def starts(self) -> list[dict[str, Any]]:
        return self._lines("fake_worker_started")


@pytest.fixture
def log(capfd: pytest.CaptureFixture[str]) -> Log:
    return Log(capfd)


def test_a_stream_that_is_not_there_can_be_configured_and_starts_so(
    fake: FakeMediaMtx, orchestrator: RunningOrchestrator, log: Log
) -> None:
    answer = changed(asked(orchestrator, "PUT", "new/config", {"voice": "heart", "glossary": GLOSSARY}), 202)
    assert (answer.applied, answer.in_force.voice, answer.in_force.target_language) == ("next_start", "heart", "es")
    changed(asked(orchestrator, "POST", "new/bypass"), 202)
    fake.publish("new", "a1")
    stream = orchestrator.wait_state("new", "running")
    assert (stream.voice, stream.programme) == ("heart", "bypass")
    (start,) = log.starts()
    assert (start["dub"]["voice"], start["glossary"]) == ("heart", GLOSSARY)


def test_a_change_reaches_the_running_worker_and_nothing_else_does(
    fake: FakeMediaMtx, orchestrator: RunningOrchestrator, log: Log
) -> None:
    fake.publish("x", "a1")
    before = orchestrator.wait_state("x", "running")
    put = {"target_language": "de", "glossary": GLOSSARY, "floor_gain_db": -6, "fallback": "ducked"}
    answer = changed(asked(orchestrator, "PUT", "x/config", put))
    assert answer.applied == "live"
    assert answer.api == StreamConfig.model_validate(put)
    assert answer.file == StreamConfig(target_language="fr")
    assert (answer.in_force.target_language, answer.in_force.voice) == ("de", "default")
    assert changed(asked(orchestrator, "POST", "x/silence")).applied == "live"
    wait_for(lambda: (s := orchestrator.stream("x")) and s.programme == "silence", 5, "the worker to say so")
    assert changed(asked(orchestrator, "POST", "x/silence")).applied == "live", "once more"
    assert changed(asked(orchestrator, "POST", "x/dub")).applied == "live"
    back = changed(asked(orchestrator, "DELETE", "x/config"))
    assert (back.applied, back.version, back.api) == ("live", 0, StreamConfig())
    after = orchestrator.stream("x")
    assert after is not None
    assert (pid_of(after), after.target_language) == (pid_of(before), "fr")
    assert log.told() == [
        put,
        {"programme": "silence"},
        {"programme": "dub"},
        {"target_language": "fr", "fallback": "original", "floor_gain_db": 0.0, "glossary": []},
    ]


def test_a_break_reaches_the_worker_shows_when_it_began_and_ends_by_itself(
    fake: FakeMediaMtx, orchestrator: RunningOrchestrator, log: Log
) -> None:
    fake.publish("x", "a1")
    orchestrator.wait_state("x", "running")
    began = changed(asked(orchestrator, "POST", "x/break"))
    assert (began.applied, began.in_force.programme) == ("live", "break")
    stream = wait_for(lambda: (s := orchestrator.stream("x")) and s.programme == "break" and s, 5, "the worker to say")
    assert stream
    assert stream.on_break is not None
    assert stream.on_break.until is None
    assert changed(asked(orchestrator, "POST", "x/break", {"minutes": 0.005})).applied == "live"
    ended = wait_for(lambda: (s := orchestrator.stream("x")) and s.programme == "dub" and s, 20, "the end of the break")
    assert ended
    assert ended.on_break is None
    assert log.told() == [{"programme": "break"}, {"programme": "dub"}]
    changed(asked(orchestrator, "POST", "x/break", {"minutes": 240}))
    assert changed(asked(orchestrator, "DELETE", "x/break")).in_force.programme == "dub"
    assert problem(asked(orchestrator, "DELETE", "x/break"))[:2] == (409, "NO_BREAK")
    assert problem(asked(orchestrator, "POST", "x/break", {"minutes": 241}))[:2] == (400, "INVALID_INPUT")
    code, kind, message = problem(asked(orchestrator, "POST", "passing/break"))
    assert (code, kind) == (409, "CONFLICT")
    assert "needs mode = 'dub'" in message


def test_a_destination_is_stopped_and_started(orchestrator: RunningOrchestrator) -> None:
    def state() -> Any:
        (view,) = asked(orchestrator, "GET", "x/destinations").json()["destinations"]
        assert view["url"] == "rtmp://a.example"
        return view["state"]

    assert asked(orchestrator, "POST", "x/destinations/a/stop").status_code == 204
    assert state() == "stopped"
    assert asked(orchestrator, "POST", "x/destinations/a/start").status_code == 204
    assert state() is None
    assert problem(asked(orchestrator, "POST", "x/destinations/b/stop"))[:2] == (404, "NO_SUCH_DESTINATION")
    entries = asked(orchestrator, "GET", "x/audit").json()["entries"]
    assert [entry["action"] for entry in entries] == ["start", "stop"]
    assert "SECRET" not in str(entries)


def test_another_mode_restarts_the_worker(fake: FakeMediaMtx, orchestrator: RunningOrchestrator) -> None:
    fake.publish("x", "a1")
    before = orchestrator.wait_state("x", "running")
    answer = asked(orchestrator, "PUT", "x/config", {"mode": "bypass"})
    assert (answer.status_code, answer.json()["applied"]) == (202, "restart")
    after = wait_for(lambda: replaced(orchestrator, pid_of(before)), 10, "another worker")
    assert (after.mode, after.programme, after.run_id, after.restarts) == ("bypass", "bypass", before.run_id, 0)
    assert changed(asked(orchestrator, "POST", "x/silence")).applied == "live"
    assert problem(asked(orchestrator, "POST", "x/dub"))[:2] == (409, "CONFLICT")


def replaced(orchestrator: RunningOrchestrator, pid: int) -> StreamDetails | None:
    stream = orchestrator.stream("x")
    return stream if stream and stream.state == "running" and stream.worker and stream.worker.pid != pid else None


def test_an_operators_restart_gives_another_worker(fake: FakeMediaMtx, orchestrator: RunningOrchestrator) -> None:
    assert problem(asked(orchestrator, "POST", "x/restart"))[:2] == (409, "NOT_PUBLISHED")
    fake.publish("x", "a1")
    before = orchestrator.wait_state("x", "running")
    assert changed(asked(orchestrator, "POST", "x/restart"), 202).applied == "restart"
    after = wait_for(lambda: replaced(orchestrator, pid_of(before)), 10, "another worker")
    assert (after.run_id, after.restarts) == (before.run_id, 0)
    fake.publish("y", "b1", codecs=("H265",))
    orchestrator.wait_state("y", "degraded")
    status, code, message = problem(asked(orchestrator, "POST", "y/restart"))
    assert (status, code) == (409, "UNSUPPORTED")
    assert "H264" in message
    (entry,) = AuditList.model_validate(asked(orchestrator, "GET", "x/audit").json()).entries
    assert (entry.who, entry.action, entry.changes) == ("local", "restart", [])


def test_all_of_it_outlives_the_worker_and_the_orchestrator(
    fake: FakeMediaMtx, settings: config.Settings, log: Log
) -> None:
    fake.publish("x", "a1")
    with RunningOrchestrator(settings) as orchestrator:
        before = orchestrator.wait_state("x", "running")
        changed(asked(orchestrator, "PUT", "x/config", {"glossary": GLOSSARY, "voice": "heart"}))
        changed(asked(orchestrator, "POST", "x/bypass"))
        psutil.Process(pid_of(before)).kill()
        after = wait_for(lambda: replaced(orchestrator, pid_of(before)), 10, "another worker")
        assert (after.programme, after.voice) == ("bypass", "heart")
    with RunningOrchestrator(settings) as orchestrator:
        again = orchestrator.wait_state("x", "running")
        assert (again.programme, again.voice, again.target_language) == ("bypass", "heart", "fr")
        version = StreamConfigView.model_validate(asked(orchestrator, "GET", "x/config").json()).version
        assert version == 2
    starts = log.starts()
    assert [start["glossary"] for start in starts] == [[], GLOSSARY, GLOSSARY]


def test_a_publisher_chooses_within_what_it_may(
    fake: FakeMediaMtx, orchestrator: RunningOrchestrator, log: Log
) -> None:
    fake.publish("x", "a1", query="lang=de&voice=heart")
    fake.publish("strict", "b1", query="lang=de&src=it")
    before = orchestrator.wait_state("x", "running")
    assert (before.target_language, before.voice) == ("de", "heart"), "over the file's"
    strict = orchestrator.wait_state("strict", "running")
    assert (strict.target_language, strict.source_language) == ("es", "it")
    answer = changed(asked(orchestrator, "PUT", "x/config", {"target_language": "it"}))
    assert answer.publisher == StreamConfig(target_language="de", voice="heart")
    assert answer.in_force.target_language == "de", "over the API's"
    answer = changed(asked(orchestrator, "PUT", "x/config", {"target_language": "it", "publisher_lang": []}))
    assert (answer.applied, answer.in_force.target_language, answer.in_force.voice) == ("live", "it", "heart")
    fake.publish("x", "a2", query="lang=de&voice=b")
    wait_for(lambda: (s := orchestrator.stream("x")) and s.voice == "b", 5, "the next publisher's voice")
    after = orchestrator.stream("x")
    assert after is not None
    assert (pid_of(after), after.target_language) == (pid_of(before), "it")
    wait_for(lambda: {"voice": "b"} in log.told(), 5, "the worker to be told")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"mode": "dubb"}, "config: mode = 'dubb': must be one of dub, bypass"),
        ({"programme": "loud"}, "config: programme = 'loud': must be one of dub, bypass, silence, break"),
        (
            {"voice": "../x"},
            "config: voice = '../x': must be 1 to 64 letters, digits, _ . and -, or two such names with /",
        ),
        ({"floor_gain_db": 3}, "config: floor_gain_db = 3: must be a number from -100 to 0"),
        ({"glossary": [{"target": "x"}]}, "config: glossary.0.source: is missing"),
        ({"volume": 3}, "config: volume: there is no such key"),
        (
            {"mode": "x", "voice": ""},
            "config: mode = 'x': must be one of dub, bypass; config: voice = '': must be 1 to",
        ),
        ({"mode": "bypass", "programme": "dub"}, "config: programme = 'dub' needs mode = 'dub'"),
        ({"destinations": []}, "config: destinations are set one by one: PUT /v1/streams/ID/destinations/NAME"),
        ([], "config: "),
        (None, "config: "),
        ({"glossary": [{"source": "x"}] * 201}, "config: glossary = [{"),
        ({"publisher_lang": ["english"]}, "config: publisher_lang.0 = 'english': must be a language code"),
    ],
)
def test_what_is_wrong_is_said_as_of_the_file(orchestrator: RunningOrchestrator, body: Any, message: str) -> None:
    status, code, said = problem(asked(orchestrator, "PUT", "x/config", body))
    assert (status, code) == (400, "INVALID_INPUT")
    assert said.startswith(message)
    assert "\n" not in said
    assert asked(orchestrator, "GET", "x/config").json()["version"] == 0


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"voice": "a"', b'"\\ud800"', b'{"voice": "\\ud800"}']
)
def test_what_is_no_json_is_refused(orchestrator: RunningOrchestrator, body: bytes) -> None:
    answer = orchestrator.http.put("/v1/streams/x/config", content=body, headers=JSON)
    assert problem(answer)[:2] == (400, "INVALID_INPUT")


def test_a_body_without_end_is_refused(orchestrator: RunningOrchestrator) -> None:
    answer = orchestrator.http.put("/v1/streams/x/config", content=b" " * 600_000, headers=JSON)
    assert problem(answer)[:2] == (413, "TOO_LARGE")


@pytest.mark.parametrize("stream_id", ["a.b", "-a", "a b", "a" * 65, "%0a", "a%0a", "é", "..%2f"])
def test_what_is_no_stream_id_is_refused(orchestrator: RunningOrchestrator, stream_id: str) -> None:
    for method, what in (("GET", "config"), ("PUT", "config"), ("POST", "bypass"), ("GET", "audit")):
        answer = asked(orchestrator, method, f"{stream_id}/{what}", {})
        assert answer.status_code in (400, 404)
        if answer.status_code == 400:
            assert problem(answer)[1] == "INVALID_STREAM_ID"


def test_who_changes_what_somebody_else_changed_meanwhile_is_told(orchestrator: RunningOrchestrator) -> None:
    etag = asked(orchestrator, "GET", "x/config").headers["ETag"]
    first = asked(orchestrator, "PUT", "x/config", {"voice": "a"}, **{"If-Match": etag})
    assert first.headers["ETag"] == '"1"'
    assert problem(asked(orchestrator, "PUT", "x/config", {"voice": "b"}, **{"If-Match": etag}))[:2] == (
        412,
        "CHANGED_MEANWHILE",
    )
    assert problem(asked(orchestrator, "DELETE", "x/config", **{"If-Match": "1"}))[:2] == (400, "INVALID_INPUT")
    assert asked(orchestrator, "DELETE", "x/config", **{"If-Match": '"1"'}).headers["ETag"] == '"0"'


def test_no_secret_is_shown(orchestrator: RunningOrchestrator) -> None:
    for path in ("x/config", "x/audit"):
        assert "SECRET" not in asked(orchestrator, "GET", path).text


def test_what_the_worker_refuses_is_said_and_kept(fake: FakeMediaMtx, orchestrator: RunningOrchestrator) -> None:
    fake.publish("refusing", "a1")
    orchestrator.wait_state("refusing", "running")
    status, code, message = problem(asked(orchestrator, "POST", "refusing/bypass"))
    assert (status, code) == (409, "WORKER_REFUSED")
    assert message.endswith("control: not today")
    assert asked(orchestrator, "GET", "refusing/config").json()["api"] == {"programme": "bypass"}


def test_a_worker_that_gives_no_answer_is_told_again(
    fake: FakeMediaMtx, orchestrator: RunningOrchestrator, log: Log
) -> None:
    fake.publish("ignoring", "a1")
    orchestrator.wait_state("ignoring", "running")
    answer = orchestrator.http.post("/v1/streams/ignoring/bypass", timeout=20)
    assert changed(answer, 202).applied == "pending"
    wait_for(lambda: log.told().count({"programme": "bypass"}) >= 3, 20, "it to be told again and again")


def test_many_changes_at_once_end_as_the_last_one(fake: FakeMediaMtx, settings: config.Settings, log: Log) -> None:

    fake.publish("x", "a1")
    with RunningOrchestrator(settings) as orchestrator, ThreadPoolExecutor(8) as pool:
        orchestrator.wait_state("x", "running")
        voices = [f"v{n}" for n in range(24)]
        answers = list(pool.map(lambda voice: asked(orchestrator, "PUT", "x/config", {"voice": voice}), voices))
        assert {answer.status_code for answer in answers} == {200}
        kept = asked(orchestrator, "GET", "x/config").json()["api"]["voice"]
        entries = AuditList.model_validate(asked(orchestrator, "GET", "x/audit").json()).entries
    assert entries[0].changes[0].after == kept
    chain = [(entry.changes[0].before, entry.changes[0].after) for entry in reversed(entries)]
    assert [before for before, _ in chain] == [None, *[after for _, after in chain[:-1]]]
    assert log.told()[-1] == {"voice": kept}


def test_the_description_of_the_api_is_whole(orchestrator: RunningOrchestrator) -> None:
    document = orchestrator.get("/openapi.json")
    text = json.dumps(document)
    schemas = document["components"]["schemas"]
    assert {name for name in schemas if f'"#/components/schemas/{name}"' in text} >= {"StreamConfig", "AuditEntry"}
    for part in text.split('"#/components/schemas/')[1:]:
        assert part.split('"')[0] in schemas
    put = document["paths"]["/v1/streams/{stream_id}/config"]["put"]
    assert put["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/StreamConfig"}
    assert {"200", "202", "400", "409", "412", "413"} <= set(put["responses"])
    assert {parameter["name"] for parameter in put["parameters"]} == {"stream_id", "if-match"}
