"""Recordings by API, over real HTTP; no MediaMTX is needed for what is on disk already."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dubrelay import config
from dubrelay.orchestrator import keys
from dubrelay.orchestrator.segments import folder
from fake_mediamtx import FakeMediaMtx
from media import free_port
from running_orchestrator import RunningOrchestrator

pytestmark = pytest.mark.service

NAME = "2026-11-26T16-50-21-123456Z"
CONTENT = bytes(range(256)) * 40
FILE = f"/v1/recordings/x/{NAME}.mp4"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningOrchestrator]:
    """With a recording of a stream `x` that ended long ago, and one that grows."""
    with FakeMediaMtx() as fake:
        settings = config.Settings(
            mediamtx=config.MediaMtx(api_port=fake.port),
            orchestrator=config.Orchestrator(port=free_port()),
            paths=config.Paths(state_dir=tmp_path / "state"),
        )
        own = folder(settings.recordings_dir, "x")
        own.mkdir(parents=True)
        (own / f"{NAME}.mp4").write_bytes(CONTENT)
        (own / f"{NAME}.es.vtt").write_text("WEBVTT - es\n", "utf-8")
        os.utime(own / f"{NAME}.mp4", (0, 0))
        (own / ".phrases.jsonl").write_text("", "utf-8")
        (tmp_path / "state" / "secret.mp4").write_text("SECRET", "utf-8")
        with RunningOrchestrator(settings) as orchestrator:
            yield orchestrator


def grows(orchestrator: RunningOrchestrator) -> str:
    name = time.strftime("%Y-%m-%dT%H-%M-%S-000000Z", time.gmtime())
    (folder(orchestrator.settings.recordings_dir, "x") / f"{name}.mp4").write_bytes(b"begun")
    return name


def test_they_are_listed_the_latest_first_with_their_captions(running: RunningOrchestrator) -> None:
    growing = grows(running)
    found = running.get("/v1/streams/x/recordings")
    assert [(one["name"], one["open"]) for one in found["recordings"]] == [(growing, True), (NAME, False)]
    last = found["recordings"][1]
    assert last["sizeBytes"] == len(CONTENT) + 12
    assert last["captions"] == [{"language": "es", "file": f"{NAME}.es.vtt"}]
    assert (found["recording"]["state"], found["limitBytes"]) == ("off", 20_000_000_000)
    assert running.get("/v1/streams/nobody/recordings")["recordings"] == []
    described = running.get("/openapi.json")["paths"]["/v1/recordings/{stream_id}/{file_name}"]
    assert set(described) == {"get", "delete"}


def test_a_file_is_fetched_whole_or_in_part(running: RunningOrchestrator) -> None:
    whole = running.http.get(FILE)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["accept-ranges"] == "bytes"
    assert f'filename="x_{NAME}.mp4"' in whole.headers["content-disposition"]
    part = running.http.get(FILE, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, CONTENT[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(CONTENT)}"
    end = running.http.get(FILE, headers={"Range": "bytes=-10"})
    assert (end.status_code, end.content) == (206, CONTENT[-10:])
    assert running.http.get(FILE, headers={"Range": f"bytes={len(CONTENT)}-"}).status_code == 416
    head = running.http.head(FILE)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(CONTENT)))
    captions = running.http.get(f"/v1/recordings/x/{NAME}.es.vtt")
    assert captions.text == "WEBVTT - es\n"
    assert captions.headers["content-type"].startswith("text/vtt")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/recordings/x/../../../../secret.mp4",
        "/v1/recordings/x/..%2f..%2f..%2f..%2fsecret.mp4",
        "/v1/recordings/x/%2e%2e/%2e%2e/secret.mp4",
        "/v1/recordings/x/%252e%252e%252fsecret.mp4",
        "/v1/recordings/..%2fx/" + NAME + ".mp4",
        "/v1/recordings/../recordings/x/../x/.phrases.jsonl",
        "/v1/recordings/x/.phrases.jsonl",
        "/v1/recordings/x/" + NAME + ".mp4%00.txt",
        "/v1/recordings/x/" + NAME + ".mp4%0a",
        "/v1/recordings/x/%2fetc%2fpasswd",
        "/v1/recordings/x//etc/passwd",
        "/v1/recordings/x\\..\\secret.mp4",
        "/v1/recordings/x/",
        "/v1/recordings/x",
        "/v1/recordings//" + NAME + ".mp4",
    ],
)
def test_nothing_else_is_handed_out_or_deleted_however_it_is_written(running: RunningOrchestrator, path: str) -> None:
    """As bytes on the wire: a client would tidy the path up."""
    port = running.settings.orchestrator.port
    for method in ("GET", "DELETE"):
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            request = f"{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            answer = b""
            while received := connection.recv(65536):
                answer += received
        assert answer.split()[1] in {b"400", b"404", b"405"}, answer[:200]
        assert b"SECRET" not in answer
    assert (running.settings.paths.state_dir / "secret.mp4").exists()
    assert running.http.get(FILE).status_code == 200


def test_an_operator_deletes_one_with_its_captions_and_that_is_written_down(running: RunningOrchestrator) -> None:
    own = folder(running.settings.recordings_dir, "x")
    growing = grows(running)
    refused = running.http.delete(f"/v1/recordings/x/{growing}.mp4")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "BEING_WRITTEN")
    assert running.http.delete(f"/v1/recordings/x/{NAME}.es.vtt").status_code == 404, "captions go with their recording"
    assert running.http.delete(FILE).status_code == 204
    assert running.http.delete(FILE).status_code == 404
    assert {file.name for file in own.iterdir()} == {f"{growing}.mp4", ".phrases.jsonl"}
    (entry,) = running.get("/v1/streams/x/audit")["entries"]
    assert (entry["action"], entry["who"]) == ("recording", "local")
    assert entry["changes"] == [{"key": f"recordings.{NAME}", "before": f"{len(CONTENT) + 12} bytes", "after": None}]


def test_a_viewer_may_fetch_and_only_an_operator_delete(running: RunningOrchestrator) -> None:
    file = keys.file_of(running.settings.paths)
    viewer, operator = (keys.new(file, role, "api", role=role) for role in ("viewer", "operator"))
    assert running.http.get(FILE).status_code == 401
    assert running.http.get("/v1/streams/x/recordings").status_code == 401

    def ask(method: str, token: str) -> int:
        return running.http.request(method, FILE, headers={"Authorization": f"Bearer {token}"}).status_code

    assert (ask("GET", viewer), ask("DELETE", viewer)) == (200, 403)
    assert (ask("DELETE", operator), ask("GET", viewer)) == (204, 404)
