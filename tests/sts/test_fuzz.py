"""Requests that nobody should send: each is answered in the contract's shape, and the next good one is served."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dubrelay.wire.fragment import MAX_BODY_BYTES, PROCESS_PATH, ProcessError, ProcessResult
from running_sts import MOCK, RunningSts
from sts_parts import Service, buzz, mock_settings, request_for, service

pytestmark = pytest.mark.service

GOOD = request_for(buzz(0.2)).model_dump()
BIG = 7_000_000
GROWTH_BYTES = 25_000_000
"""Less than four of the requests that are sent by the dozen."""


@pytest.fixture(scope="module")
def mock() -> Iterator[Service]:
    with service(mock_settings()) as running:
        yield running


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def post(running: Service, body: object) -> httpx2.Response:
    """As JSON, with NaN and Infinity as Python writes them."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return running.client.post(PROCESS_PATH, content=content)


def is_refused(answer: httpx2.Response, status: int = 400) -> ProcessError:
    assert answer.status_code == status, answer.text[:500]
    error = ProcessError.model_validate_json(answer.content, strict=True)
    assert error.error.code == "INVALID_INPUT" and not error.error.retryable
    assert 0 < len(error.error.message) < 1000
    assert "Traceback" not in error.error.message
    return error


def is_served(running: Service) -> None:
    answer = post(running, GOOD)
    assert (answer.status_code, answer.json()["status"]) == (200, "success")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NO_NUMBER = JSON.filter(lambda value: not isinstance(value, int) or isinstance(value, bool))
ODD = st.integers(0, 500).map(lambda n: encoded(bytes(2 * n + 1)))
RUBBISH = st.text(min_size=1, max_size=200).filter(lambda text: not text.isascii() or not text.isalnum())
CUT = st.integers(1, 3).map(lambda n: encoded(bytes(3000))[:-n]).filter(lambda text: len(text) % 4)
WRONG: dict[str, st.SearchStrategy[Any]] = {
    "format": JSON.filter(lambda value: value != "pcm_s16le"),
    "sample_rate_hz": NO_NUMBER | st.integers().filter(lambda rate: not 8000 <= rate <= 48_000),
    "channels": NO_NUMBER | st.integers().filter(lambda channels: channels not in (1, 2)),
    "duration_ms": NO_NUMBER | st.integers().filter(lambda ms: not 100 <= ms <= 300),
    "data_base64": JSON.filter(lambda value: not isinstance(value, str)) | ODD | RUBBISH | CUT,
    "colour": JSON,
}


@settings(max_examples=200, derandomize=True)
@given(st.sampled_from(sorted(WRONG)).flatmap(lambda name: st.tuples(st.just(name), WRONG[name])))
def test_wrong_sound_is_refused_and_named(mock: Service, change: tuple[str, Any]) -> None:
    name, value = change
    error = is_refused(post(mock, {**GOOD, "audio": {**GOOD["audio"], name: value}}))
    assert "audio" in error.error.message
    assert error.fragment_id == GOOD["fragment_id"]


@settings(max_examples=40, derandomize=True)
@given(rate_hz=st.integers(8000, 48_000), channels=st.sampled_from([1, 2]), length_ms=st.integers(0, 400))
def test_any_rate_and_length_is_dubbed(mock: Service, rate_hz: int, channels: int, length_ms: int) -> None:
    pcm = (buzz(length_ms / 1000, rate_hz) * 32767).astype("<i2")
    audio = {
        "sample_rate_hz": rate_hz,
        "channels": channels,
        "duration_ms": round(1000 * len(pcm) / rate_hz),
        "data_base64": encoded(np.repeat(pcm, channels).tobytes()),
    }
    answer = post(mock, {**GOOD, "audio": audio})
    result = ProcessResult.model_validate_json(answer.content, strict=True)
    if result.status == "success":
        assert result.dubbed_audio is not None
        assert result.dubbed_audio.duration_ms == pytest.approx(length_ms, abs=2)
    else:
        assert length_ms < 20


@settings(max_examples=40, derandomize=True)
@given(st.lists(st.sampled_from([-32768, -1, 0, 1, 32767]), max_size=3200))
def test_any_samples_are_dubbed_or_no_speech(mock: Service, samples: list[int]) -> None:
    raw = np.array(samples, "<i2").tobytes()
    audio = {"sample_rate_hz": 16_000, "duration_ms": len(samples) // 16, "data_base64": encoded(raw)}
    answer = post(mock, {**GOOD, "audio": audio})
    assert answer.status_code == 200
    ProcessResult.model_validate_json(answer.content, strict=True)


@settings(max_examples=150, derandomize=True)
@given(st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_refused(mock: Service, content: bytes) -> None:
    is_refused(post(mock, content))


GOOD_BYTES = json.dumps(GOOD).encode()


@settings(max_examples=150, derandomize=True)
@given(at=st.integers(0, len(GOOD_BYTES)), cut=st.integers(0, 20), put=st.binary(max_size=5))
def test_a_damaged_request_is_refused_or_still_one(mock: Service, at: int, cut: int, put: bytes) -> None:
    answer = post(mock, GOOD_BYTES[:at] + put + GOOD_BYTES[at + cut :])
    if answer.status_code == 200:
        ProcessResult.model_validate_json(answer.content, strict=True)
    elif answer.status_code == 422:
        assert ProcessError.model_validate_json(answer.content).error.code == "UNSUPPORTED_LANGUAGE"
    else:
        is_refused(answer)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (nested(100_000), 400),
        (GOOD_BYTES.replace(b'"pcm_s16le"', nested(100_000)), 400),
        (b'{"context": ' + b'{"transcript": ' * 50_000, 400),
        (json.dumps({**GOOD, "audio": {**GOOD["audio"], "data_base64": "A" * BIG}}).encode(), 400),
        (json.dumps({**GOOD, "audio": {**GOOD["audio"], "data_base64": "é" * (BIG // 6)}}).encode(), 400),
        (json.dumps({**GOOD, "sequence_number": 10**4000}).encode(), 400),
        (json.dumps({**GOOD, **{f"field {n}": n for n in range(100_000)}}).encode(), 400),
        (json.dumps({**GOOD, "config": {**GOOD["config"], "glossary": [{"x": 1}] * 900_000}}).encode(), 400),
        (b"[" + b"[]," * 3_000_000 + b"1]", 400),
        (GOOD_BYTES + b" " * MAX_BODY_BYTES, 413),
        (b" " * 50_000_000, 413),
    ],
    ids=[
        "deep",
        "deep field",
        "deep and open",
        "468 s",
        "not ASCII",
        "huge number",
        "many fields",
        "many terms",
        "many lists",
        "10 MB",
        "50 MB",
    ],
)
def test_what_is_too_much_is_refused(mock: Service, content: bytes, status: int) -> None:
    try:
        is_refused(post(mock, content), status)
    except httpx2.WriteError:  # refused while it was still being sent
        assert status == 413
    is_served(mock)


def test_31_s_are_refused_and_no_sound_is_no_speech(mock: Service) -> None:
    is_refused(post(mock, request_for(buzz(31, 8000), 8000).model_dump()))
    nothing = post(mock, request_for(np.zeros(0, np.float32)).model_dump())
    assert (nothing.status_code, nothing.json()["status"]) == (200, "no_speech")


def test_large_bad_requests_leave_no_memory_behind(tmp_path: Path) -> None:
    bad = [
        json.dumps({**GOOD, "audio": {**GOOD["audio"], "data_base64": "%" * BIG}}).encode(),
        json.dumps({**GOOD, "colour": "A" * BIG}).encode(),
        nested(1_000_000),
        b"\xff" * BIG,
    ]
    with RunningSts(tmp_path, **MOCK, max_queue=1) as sts, httpx2.Client(base_url=sts.url, timeout=30) as client:
        assert sts.process is not None
        process, running = psutil.Process(sts.process.pid), Service(sts.url, client)
        sizes = []
        for _ in range(3):
            for _ in range(5):
                for content in bad:
                    is_refused(post(running, content))
            is_served(running)
            sizes.append(process.memory_info().rss)
        assert sizes[-1] - sizes[0] < GROWTH_BYTES, sizes
