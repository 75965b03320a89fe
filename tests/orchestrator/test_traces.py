from __future__ import annotations

import io
import time
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dubrelay import config
from dubrelay.audio import RATE_HZ, samples_in
from dubrelay.orchestrator.traces import trace_routes
from dubrelay.wire import trace
from dubrelay.wire.status import PhraseReport
from dubrelay.wire.trace import PhraseTrace
from dubrelay.worker.trace import Tracer

pytestmark = pytest.mark.service

SECOND = samples_in(1)
AGO_S = (3000, 400, 200, 10)
"""When the phrases began."""


def record(number: int, started_at: float) -> PhraseTrace:
    phrase = PhraseReport(
        sequence_number=number, t0_ms=number * 1000, started_at=started_at, duration_ms=1000, status="dubbed"
    )
    return PhraseTrace(
        stream_id="match", run_id="r", instance_id="abcdef", fragment_id=f"f{number}", source_language="en",
        target_language="es", voice_profile="default", programme="dub", phrase=phrase, voice_ms=number * 1000,
        known_ms=0, decided_ms=0,
    )  # fmt: skip


@pytest.fixture
def paths(tmp_path: Path) -> config.Paths:
    """A trace as the worker writes it; the last phrase came back without a dub."""
    paths = config.Paths(state_dir=tmp_path)
    tracer = Tracer(config.Trace(sounds=True), trace.folder(paths, "match"))
    for number, ago_s in enumerate(AGO_S):
        start = number * SECOND
        sounds = {"original": (np.full((SECOND, 2), 0.25, np.float32), RATE_HZ)}
        if number != len(AGO_S) - 1:
            sounds["dub"] = (np.full(12_000, 0.5, np.float32), 24_000)
        tracer.decided(record(number, time.time() - ago_s), sounds, start, start + SECOND)  # type: ignore[arg-type]
        tracer.went_out(start, np.full((SECOND, 2), 0.75, np.float32))
    tracer.close()
    (tmp_path / "trace/secret.wav").write_bytes(b"nobody's business")
    return paths


@pytest.fixture
def client(paths: config.Paths) -> TestClient:
    app = FastAPI()
    app.include_router(trace_routes(paths))
    return TestClient(app)


def name_of(paths: config.Paths, number: int) -> str:
    return trace.stems(trace.folder(paths, "match"))[number]


def names_in(answer: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(answer)) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def test_each_sound_of_a_phrase_is_heard(client: TestClient, paths: config.Paths) -> None:
    for sound, level, rate_hz in (("original", 0.25, 48_000), ("dub", 0.5, 24_000), ("out", 0.75, 48_000)):
        answer = client.get(f"/v1/streams/match/phrases/{name_of(paths, 0)}/{sound}.wav")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
        with wave.open(io.BytesIO(answer.content)) as file:
            assert file.getframerate() == rate_hz
            loudest = np.abs(np.frombuffer(file.readframes(file.getnframes()), "<i2")).max() / 32767
        assert loudest == pytest.approx(level, abs=0.01)


def test_what_is_not_kept_is_said_in_words(client: TestClient, paths: config.Paths) -> None:
    last, gone = name_of(paths, 3), trace.stem_of(time.time() - 100, "abcdef")
    coming = trace.stem_of(time.time(), "abcdef")
    for path, words in (
        (f"{last}/dub.wav", "has no sound 'dub'; it has original, out"),
        (f"{gone}/out.wav", "no longer kept"),
        (f"{coming}/out.wav", "in some seconds"),
        (f"{coming}/trace.zip", "in some seconds"),
        ("7/out.wav", "there is no phrase '7'"),
    ):
        answer = client.get(f"/v1/streams/match/phrases/{path}")
        assert answer.status_code == 404, path
        assert words in answer.json()["detail"], path
    assert client.get("/v1/streams/other/trace.zip").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/v1/streams/match/phrases/..%2f..%2fsecret/out.wav",
        "/v1/streams/match/phrases/../../trace/secret.wav",
        "/v1/streams/../trace/phrases/secret/out.wav",
        "/v1/streams/..%2ftrace/trace.zip",
        "/v1/streams/%2e%2e/trace.zip",
        "/v1/streams/match%00/trace.zip",
        "/v1/streams/match/phrases/0000000000000001-abcd%00/out.wav",
        "/v1/streams/match/phrases/0000000000000001-abcd/secret.wav",
        "/v1/streams/match/trace.zip?minutes=0",
        "/v1/streams/match/trace.zip?minutes=61",
        "/v1/streams/match/trace.zip?minutes=-1e9",
    ],
)
def test_nothing_else_is_handed_out(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (400, 404, 422)
    assert b"nobody's business" not in answer.content


def test_a_phrase_is_taken_away_with_its_sounds(client: TestClient, paths: config.Paths) -> None:
    name = name_of(paths, 0)
    answer = client.get(f"/v1/streams/match/phrases/{name}/trace.zip")
    assert answer.headers["content-type"] == "application/zip"
    assert f'filename="match-{name}.zip"' in answer.headers["content-disposition"]
    assert names_in(answer.content) == [f"{name}{end}" for end in (".json", ".original.wav", ".dub.wav", ".out.wav")]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert PhraseTrace.model_validate_json(archive.read(f"{name}.json")).fragment_id == "f0"


def test_the_last_minutes_are_taken_away_and_no_more(client: TestClient, paths: config.Paths) -> None:
    recent = names_in(client.get("/v1/streams/match/trace.zip").content)
    assert [name for name in recent if name.endswith(".json")] == [f"{name_of(paths, n)}.json" for n in (1, 2, 3)]
    assert len(recent) == 4 + 4 + 3
    fewer = names_in(client.get("/v1/streams/match/trace.zip", params={"minutes": 1}).content)
    assert [name for name in fewer if name.endswith(".json")] == [f"{name_of(paths, 3)}.json"]


def test_a_sound_that_goes_meanwhile_is_left_out(client: TestClient, paths: config.Paths) -> None:
    trace.sound_file(trace.folder(paths, "match"), name_of(paths, 2), "dub").unlink()
    assert len(names_in(client.get("/v1/streams/match/trace.zip").content)) == 4 + 3 + 3
