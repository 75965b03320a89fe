"""The orchestrator as a whole: its real application and real child processes; only MediaMTX's list is a test's."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from dubrelay import config
from dubrelay.orchestrator.preview import HLS_JS_PATH
from dubrelay.orchestrator.supervisor import WorkerProcess
from dubrelay.wire.streams import StreamDetails
from fake_mediamtx import FakeMediaMtx, path_item
from media import free_port
from running_orchestrator import RunningOrchestrator
from waiting import wait_for

pytestmark = pytest.mark.service


def settings_for(fake: FakeMediaMtx, **orchestrator: Any) -> config.Settings:
    limits = {"port": free_port(), "poll_interval_s": 0.2, "grace_s": 0.5, **orchestrator}
    return config.Settings(
        mediamtx=config.MediaMtx(api_port=fake.port, hls_port=free_port()),
        orchestrator=config.Orchestrator.model_validate(limits),
    )


@pytest.fixture
def fake() -> Iterator[FakeMediaMtx]:
    with FakeMediaMtx() as server:
        yield server


@pytest.fixture
def orchestrator(fake: FakeMediaMtx) -> Iterator[RunningOrchestrator]:
    with RunningOrchestrator(settings_for(fake)) as running:
        yield running


def event(path: str = "live/x/in", source_id: str = "a1", query: str = "") -> dict[str, str]:
    return {"path": path, "query": query, "sourceType": "rtmpConn", "sourceId": source_id}


def post(orchestrator: RunningOrchestrator, name: str, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
    answer = orchestrator.http.post(f"/v1/mediamtx/events/{name}", json=body, headers=headers)
    return answer.status_code, answer.json()


def pid_of(stream: StreamDetails) -> int:
    assert stream.worker is not None
    return stream.worker.pid


def test_a_listed_stream_gets_a_worker_without_any_hook_and_loses_it_after_the_grace(
    fake: FakeMediaMtx, orchestrator: RunningOrchestrator
) -> None:
    fake.publish("x", "a1", query="lang=fr&key=secret")
    stream = orchestrator.wait_state("x", "running")
    assert (stream.target_language, stream.source_id, stream.input_protocol) == ("fr", "a1", "rtmp")
    assert stream.run_id
    assert psutil.pid_exists(pid_of(stream))
    fake.leave("x")
    idle = orchestrator.wait_state("x", "idle")
    assert (idle.worker, idle.run_id) == (None, "")
    assert not psutil.pid_exists(pid_of(stream))


def test_a_return_within_the_grace_keeps_the_worker(fake: FakeMediaMtx) -> None:
    with RunningOrchestrator(settings_for(fake, grace_s=30)) as orchestrator:
        fake.publish("x", "a1")
        before = orchestrator.wait_state("x", "running")
        fake.leave("x")
        orchestrator.wait_state("x", "grace")
        fake.publish("x", "a2")
        after = orchestrator.wait_state("x", "running")
        assert (pid_of(after), after.run_id, after.source_id) == (pid_of(before), before.run_id, "a2")


def test_another_way_in_gets_another_worker(fake: FakeMediaMtx, orchestrator: RunningOrchestrator) -> None:
    fake.publish("x", "a1")
    before = orchestrator.wait_state("x", "running")
    fake.publish("x", "a2", codecs=("H264", "Opus"))
    after = wait_for(lambda: replaced(orchestrator, pid_of(before)), 10, "another worker")
    assert (after.input_protocol, after.run_id) == ("srt", before.run_id)


def replaced(orchestrator: RunningOrchestrator, pid: int) -> StreamDetails | None:
    stream = orchestrator.stream("x")
    return stream if stream and stream.state == "running" and stream.worker and stream.worker.pid != pid else None


def test_a_hook_is_answered_and_makes_it_look_at_once(fake: FakeMediaMtx) -> None:
    with RunningOrchestrator(settings_for(fake, poll_interval_s=10)) as orchestrator:
        wait_for(lambda: fake.requests, 5, "the first poll")
        fake.publish("x", "a1", query="lang=de")
        status, answer = post(orchestrator, "ready", event(query="lang=fr"))
        assert status == 202
        assert (answer["streamId"], answer["action"]) == ("x", "start")
        assert answer["requestId"]
        stream = orchestrator.wait_state("x", "running", 5)
        assert stream.target_language == "fr", "the hook's own query is used"
        assert post(orchestrator, "ready", event())[1]["action"] == "none"
        assert post(orchestrator, "not-ready", event(source_id="another"))[1]["action"] == "none"
        fake.leave("x")
        assert post(orchestrator, "not-ready", event())[1]["action"] == "stop-scheduled"
        # A list that was asked for before may still come; the next one follows at once.
        wait_for(lambda: orchestrator.stream("x").state in {"grace", "stopping", "idle"}, 5, "its end to be seen")


def test_a_hook_for_what_the_list_does_not_name_starts_nothing(
    fake: FakeMediaMtx, orchestrator: RunningOrchestrator
) -> None:
    assert post(orchestrator, "ready", event())[0] == 202
    polls = len(fake.requests)
    wait_for(lambda: len(fake.requests) > polls + 2, 5, "more polls")
    assert orchestrator.stream("x") is None


def test_the_hook_of_our_own_output_is_taken_and_does_nothing(orchestrator: RunningOrchestrator) -> None:
    for name, place in itertools.product(("ready", "not-ready"), ("out", "languages")):
        status, answer = post(orchestrator, name, event(f"live/x/{place}"))
        assert (status, answer["streamId"], answer["action"]) == (202, "x", "none")


@pytest.mark.parametrize("path", ["live/../etc/in", "live/a;b/in", "live/x", "", "live/x/in/"])
def test_other_paths_are_refused(orchestrator: RunningOrchestrator, path: str) -> None:
    status, answer = post(orchestrator, "ready", event(path))
    assert (status, answer["error"]["code"]) == (400, "INVALID_PATH")
    assert (
        'orchestrator_hook_events_total{event="ready",result="refused"} 1.0' in orchestrator.http.get("/metrics").text
    )


@pytest.mark.parametrize("body", [{}, {"path": 3}, [], "text", None])
def test_a_body_that_is_no_event_is_refused(orchestrator: RunningOrchestrator, body: object) -> None:
    status, answer = post(orchestrator, "ready", body)
    assert (status, answer["error"]["code"]) == (400, "INVALID_INPUT")


def test_the_token_is_asked_for_where_one_is_configured(fake: FakeMediaMtx) -> None:
    with RunningOrchestrator(settings_for(fake, hook_token="secret")) as orchestrator:
        for headers in ({}, {"X-Hook-Token": "other"}, {"Authorization": "Bearer sécret".encode()}):
            status, answer = post(orchestrator, "ready", event(), **headers)
            assert (status, answer["error"]["code"]) == (401, "UNAUTHORIZED")
        assert post(orchestrator, "ready", event(), **{"X-Hook-Token": "secret"})[0] == 202
        assert post(orchestrator, "ready", event(), Authorization="Bearer secret")[0] == 202


def test_phrases_can_be_read_as_they_come(fake: FakeMediaMtx, orchestrator: RunningOrchestrator) -> None:
    fake.publish("x", "a1")
    wait_for(lambda: (s := orchestrator.stream("x")) and s.last_sequence == 3, 10, "three phrases")
    later = StreamDetails.model_validate(orchestrator.get("/v1/streams/x?after=1"))
    assert [(p.sequence, p.phrase.transcript) for p in later.phrases] == [(2, "phrase 1"), (3, "phrase 2")]
    assert orchestrator.http.get("/v1/streams/x?after=-1").status_code == 400
    assert later.cost is None, "there is no price"


def test_what_a_stream_has_cost_so_far_is_shown(fake: FakeMediaMtx) -> None:
    settings = settings_for(fake)
    priced = settings.model_copy(update={"sts_client": config.StsClient(cost_per_hour=3600)})
    with RunningOrchestrator(priced) as orchestrator:
        fake.publish("x", "a1")
        stream = wait_for(lambda: (s := orchestrator.stream("x")) and s.last_sequence == 3 and s, 10, "three phrases")
        (listed,) = orchestrator.get("/v1/streams")["streams"]
        assert 0.9 <= listed["cost"] == stream.cost < 10, "the first phrase, and what lies between the three"


def test_a_stream_nobody_knows_is_404(orchestrator: RunningOrchestrator) -> None:
    answer = orchestrator.http.get("/v1/streams/nope")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NO_SUCH_STREAM")


def test_metrics_show_the_workers_that_run_and_forget_those_that_do_not(
    fake: FakeMediaMtx, orchestrator: RunningOrchestrator
) -> None:
    fake.publish("x", "a1")
    fake.publish("y", "b1")
    orchestrator.wait_state("x", "running")
    orchestrator.wait_state("y", "running")
    answer = orchestrator.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'worker_audio_fragments_total{status="dubbed",stream_id="x"} 7.0' in answer.text
    assert 'worker_inflight_fragments{stream_id="y"} 2.0' in answer.text
    assert 'orchestrator_streams{state="running"} 2.0' in answer.text
    assert "\nprocess_open_fds" not in answer.text
    fake.leave("x")
    orchestrator.wait_state("x", "idle")
    text = orchestrator.http.get("/metrics").text
    assert 'stream_id="x"' not in text
    assert 'stream_id="y"' in text


def test_a_worker_that_fails_is_started_again_and_counted(
    fake: FakeMediaMtx, orchestrator: RunningOrchestrator
) -> None:
    fake.publish("x", "a1")
    before = orchestrator.wait_state("x", "running")
    wait_for(lambda: (s := orchestrator.stream("x")) and s.last_sequence == 3, 5, "the phrases of the first worker")
    psutil.Process(pid_of(before)).kill()
    after = wait_for(lambda: replaced(orchestrator, pid_of(before)), 10, "another worker")
    assert (after.restarts, after.run_id) == (1, before.run_id)
    wait_for(lambda: (s := orchestrator.stream("x")) and s.last_sequence == 6, 5, "the phrases of both workers")
    assert "orchestrator_worker_restarts_total 1.0" in orchestrator.http.get("/metrics").text


def test_another_worker_does_not_wait_for_the_next_poll(fake: FakeMediaMtx) -> None:
    with RunningOrchestrator(settings_for(fake, poll_interval_s=10)) as orchestrator:
        wait_for(lambda: fake.requests, 5, "the first poll")
        fake.publish("x", "a1")
        post(orchestrator, "ready", event())
        before = orchestrator.wait_state("x", "running", 5)
        psutil.Process(pid_of(before)).kill()
        wait_for(lambda: replaced(orchestrator, pid_of(before)), 5, "another worker")


def test_a_bug_in_the_supervisor_costs_a_restart_and_leaves_no_process(
    fake: FakeMediaMtx, orchestrator: RunningOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, begun = WorkerProcess._begin, []

    def fails_once(worker: WorkerProcess, process: Process) -> None:
        begun.append(process.pid)
        if len(begun) == 1:
            raise RuntimeError("a bug")
        begin(worker, process)

    monkeypatch.setattr(WorkerProcess, "_begin", fails_once)
    fake.publish("x", "a1")
    stream = orchestrator.wait_state("x", "running")
    assert (stream.restarts, pid_of(stream)) == (1, begun[1])
    assert not psutil.pid_exists(begun[0])


@pytest.mark.parametrize("stream_id", ["exit2", "exit3"])
def test_a_worker_that_would_fail_again_leaves_a_degraded_stream_that_says_why(
    fake: FakeMediaMtx, orchestrator: RunningOrchestrator, stream_id: str
) -> None:
    fake.publish(stream_id, "a1")
    fake.publish("healthy", "b1")
    stream = orchestrator.wait_state(stream_id, "degraded")
    assert stream.message == f"told to exit with {stream_id[-1]}"
    assert (stream.worker, stream.restarts) == (None, 0)
    orchestrator.wait_state("healthy", "running")


def test_tracks_that_cannot_be_taken_leave_a_degraded_stream_that_says_why(
    fake: FakeMediaMtx, orchestrator: RunningOrchestrator
) -> None:
    fake.publish("x", "a1", codecs=("H265", "MPEG-4 Audio"))
    stream = orchestrator.wait_state("x", "degraded")
    assert "the picture must be H264" in stream.message
    fake.publish("x", "a2", codecs=("H264", "Opus"))
    assert orchestrator.wait_state("x", "running").input_protocol == "srt"


def test_a_stream_beyond_the_places_is_refused_visibly_and_starts_when_one_is_free(fake: FakeMediaMtx) -> None:
    with capture_logs() as said, RunningOrchestrator(settings_for(fake, max_streams=2)) as orchestrator:
        for stream_id in ("x", "y", "z"):
            fake.publish(stream_id, stream_id)
            orchestrator.wait_state(stream_id, "refused" if stream_id == "z" else "running")
        refused = orchestrator.stream("z")
        assert refused is not None
        assert (refused.worker, refused.run_id) == (None, "")
        assert "orchestrator.max_streams" in refused.message
        text = orchestrator.http.get("/metrics").text
        assert 'orchestrator_streams{state="refused"} 1.0' in text
        assert "orchestrator_streams_refused_total 1.0" in text
        fake.leave("x")
        orchestrator.wait_state("z", "running")
        assert orchestrator.stream("x").state == "idle"
        fake.publish("x", "x2")
        orchestrator.wait_state("x", "refused")
        orchestrator.wait_state("y", "running")
    refusals = [line for line in said if line.get("state") == "refused"]
    assert [(line["log_level"], line["streamId"]) for line in refusals] == [("warning", "z"), ("warning", "x")]
    assert all("orchestrator.max_streams" in line["message"] for line in refusals)


def test_health_follows_mediamtx_and_workers_outlive_its_silence(
    fake: FakeMediaMtx, orchestrator: RunningOrchestrator
) -> None:
    fake.publish("x", "a1")
    before = orchestrator.wait_state("x", "running")
    assert orchestrator.http.get("/healthz").json() == {"status": "ok", "streams": 1}
    fake.answer = (500, b"")
    wait_for(lambda: orchestrator.http.get("/healthz").status_code == 503, 5, "health to say so")
    assert "answered 500" in orchestrator.get("/healthz")["reason"]
    assert "answered 500" in orchestrator.get("/v1/streams")["problem"]
    polls = len(fake.requests)
    wait_for(lambda: len(fake.requests) > polls + 5, 10, "polls beyond the grace")
    assert pid_of(orchestrator.wait_state("x", "running")) == pid_of(before)
    fake.answer = None
    wait_for(lambda: orchestrator.http.get("/healthz").status_code == 200, 5, "health to recover")
    assert orchestrator.get("/v1/streams")["problem"] == ""
    assert pid_of(orchestrator.wait_state("x", "running")) == pid_of(before)


def test_the_page_stands_alone(orchestrator: RunningOrchestrator) -> None:
    class References(HTMLParser):
        found: list[str]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [value or "" for name, value in attrs if name in {"src", "href"}]

    answer = orchestrator.http.get("/")
    references = References()
    references.found = []
    references.feed(answer.text)
    own = [reference for reference in references.found if reference != "data:,"]
    assert len(own) >= 4
    for reference in own:
        assert reference.startswith("/console/")
        if reference != HLS_JS_PATH:  # MediaMTX has it, and this one is none
            asset = orchestrator.http.get(reference)
            assert asset.status_code == 200
            assert "innerHTML" not in asset.text
            assert "://" not in asset.text.replace("http://www.w3.org/2000/svg", "").replace("rtmp://${", "")
    assert orchestrator.http.get("/console/no-such-file.js").status_code == 404
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_no_two_scripts_of_the_page_declare_the_same_name() -> None:
    """They share one scope: the second one to do so would not be run at all."""
    declared = Counter(
        name
        for script in resources.files("dubrelay.orchestrator").joinpath("console").iterdir()
        if script.name.endswith(".js")
        for name in re.findall(r"^(?:async )?(?:const|let|var|function|class) (\w+)", script.read_text("utf-8"), re.M)
    )
    assert declared["showAlerts"] == 1
    assert [name for name, count in declared.items() if count > 1] == []


def test_at_the_end_every_worker_is_stopped(fake: FakeMediaMtx) -> None:
    with RunningOrchestrator(settings_for(fake, stop_timeout_s=0.5)) as orchestrator:
        pids = []
        for stream_id in ("x", "y", "deaf"):
            fake.publish(stream_id, stream_id)
            pids.append(pid_of(orchestrator.wait_state(stream_id, "running")))
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


SERVE = """
import sys
from itertools import product
from pathlib import Path
from dubrelay import config, logs
from dubrelay.errors import DubrelayError
from dubrelay.orchestrator.app import serve
logs.setup("orchestrator", style="json")
try:
    serve(config.load(None, {}, {"orchestrator.port": int(sys.argv[1]), "mediamtx.api_port": int(sys.argv[2])}))
except DubrelayError as e:
    sys.stderr.write(e.message)
    sys.exit(e.exit_code)
"""


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_serves_until_it_is_asked_to_stop(fake: FakeMediaMtx, signal_number: int) -> None:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(port), str(fake.port)], stderr=subprocess.PIPE)
    try:
        wait_for(lambda: fake.requests or process.poll() is not None, 20, "its first poll")
        os.kill(process.pid, signal_number)
        _, log = process.communicate(timeout=15)
    finally:
        process.kill()
    assert process.returncode == 0, log.decode()
    assert b"Traceback" not in log


def test_a_port_in_use_is_one_line_and_exit_code_3(fake: FakeMediaMtx) -> None:
    result = subprocess.run(
        [sys.executable, "-c", SERVE, str(fake.port), str(fake.port)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 3
    taken = f"orchestrator: 127.0.0.1:{fake.port} is in use"
    assert result.stderr == f"{taken}; stop what listens there, or choose another orchestrator.port"


def test_what_happens_is_told_while_it_happens(orchestrator: RunningOrchestrator, fake: FakeMediaMtx) -> None:
    with orchestrator.http.stream("GET", "/v1/events", timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        fake.publish("x", "a1")
        heard: set[str] = set()
        for line in answer.iter_lines():
            if line.startswith("event: "):
                heard.add(line.removeprefix("event: "))
            if line.startswith("data: ") and "phrase" in heard and '"running"' in line:
                break
    assert heard == {"streams", "alerts", "phrase"}


def test_who_asks_without_a_token_is_the_local_admin(orchestrator: RunningOrchestrator) -> None:
    assert orchestrator.get("/v1/me") == {"who": "local", "role": "admin"}


def test_the_last_hour_and_the_captions_of_a_stream(orchestrator: RunningOrchestrator, fake: FakeMediaMtx) -> None:
    fake.publish("x", "a1")
    orchestrator.wait_state("x", "running")
    rows = wait_for(lambda: orchestrator.get("/v1/streams/x/history")["rows"], 20, "a row")
    assert {"at", "state", "marginMs", "stageMs", "loudness", "marks"} <= rows[0].keys()
    captions = orchestrator.http.get("/v1/streams/x/captions.vtt")
    assert captions.headers["content-type"].startswith("text/vtt")
    assert captions.text.startswith("WEBVTT - es\n")
    assert orchestrator.http.get("/v1/streams/x/captions.vtt?lang=en").text.startswith("WEBVTT - en\n")
    refused = orchestrator.http.get("/v1/streams/x/captions.vtt?lang=fr")
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "lang = 'fr': must be es or en")
    for path in ("history", "captions.vtt"):
        assert orchestrator.http.get(f"/v1/streams/nobody/{path}").status_code == 404


def test_a_stream_says_which_of_its_sides_can_be_shown(fake: FakeMediaMtx, orchestrator: RunningOrchestrator) -> None:
    fake.publish("x", "a1")
    stream = orchestrator.wait_state("x", "running")
    assert (stream.input_ready, stream.output_ready) == (True, False)
    fake.paths.append(path_item("live/x/out", "w1"))
    wait_for(lambda: orchestrator.get("/v1/streams/x")["outputReady"], 10, "the output to be ready")
    assert not orchestrator.get("/v1/streams/x")["languagesReady"]
    fake.paths.append(path_item("live/x/languages", "w2"))
    wait_for(lambda: orchestrator.get("/v1/streams/x")["languagesReady"], 10, "both sounds to be ready")
    fake.leave("x")
    wait_for(lambda: not orchestrator.get("/v1/streams/x")["inputReady"], 10, "the input to be gone")


def test_a_preview_of_what_is_not_there_is_refused_in_words(orchestrator: RunningOrchestrator) -> None:
    for path, status in {
        "x/preview/in/index.m3u8": 503,
        "x/preview/in/..%2f..%2fconfig.m3u8": 404,
        "x/preview/else/index.m3u8": 400,
        "x/preview/in/index.html": 400,
        "x.y/preview/in/index.m3u8": 400,
    }.items():
        assert orchestrator.http.get(f"/v1/streams/{path}").status_code == status, path


def test_the_addresses_of_a_stream_are_known_before_it_comes(orchestrator: RunningOrchestrator) -> None:
    found = orchestrator.get("/v1/streams/news/addresses")
    media = orchestrator.settings.mediamtx
    assert found["publish"] == f"rtmp://127.0.0.1:{media.rtmp_port}/live/news/in?key=KEY"
    assert found["watch"] == f"http://127.0.0.1:{media.hls_port}/live/news/out/"
    assert orchestrator.http.get("/v1/streams/a.b/addresses").status_code == 400
