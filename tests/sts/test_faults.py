from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from dubrelay.config import Garbage, StsFaults
from dubrelay.errors import StsError
from dubrelay.sts.faults import BODIES, DRIP_BYTES, GARBAGE, Faulty
from dubrelay.wire.fragment import PROCESS_PATH, Audio, ProcessError, ProcessRequest, ProcessResult
from dubrelay.worker.answer import PhraseFailed, checked
from sts_parts import buzz, mock_settings, request_for, service

pytestmark = pytest.mark.service

AUDIO = Audio.from_samples(buzz(0.5), 16_000)
REQUEST = request_for(buzz(0.5))


async def good(request: ProcessRequest, arrived: float) -> ProcessResult:
    return ProcessResult(fragment_id=request.fragment_id, status="success", dubbed_audio=AUDIO)


def faulty(**faults: Any) -> Faulty:
    return Faulty(good, StsFaults(**faults))


def outcomes(answer: Faulty, count: int) -> list[str]:
    async def one() -> str:
        try:
            result = await answer(REQUEST, 0.0)
        except StsError as e:
            assert (e.code, e.retryable) == ("MODEL_ERROR", True)
            return "failed"
        return "good" if result.dubbed_audio == AUDIO else "garbage"

    async def row() -> list[str]:
        return [await one() for _ in range(count)]

    return asyncio.run(row())


def test_faults_come_at_their_rates() -> None:
    seen = outcomes(faulty(fail_rate=0.3, garbage_rate=0.5), 400)
    assert seen.count("failed") == pytest.approx(120, abs=40)
    assert seen.count("garbage") == pytest.approx(140, abs=40)


def test_the_same_seed_makes_the_same_faults() -> None:
    rates = {"fail_rate": 0.4, "garbage_rate": 0.4}
    assert outcomes(faulty(seed=3, **rates), 50) == outcomes(faulty(seed=3, **rates), 50)
    assert outcomes(faulty(seed=3, **rates), 50) != outcomes(faulty(seed=4, **rates), 50)


def test_no_fault_is_present_unless_one_is_set() -> None:
    assert not StsFaults(seed=5).present
    assert StsFaults(delay_ms=1).present and StsFaults(hang_rate=0.1).present and StsFaults(drip_rate=0.1).present


def test_an_answer_is_late_by_delay_and_jitter() -> None:
    began = time.monotonic()
    outcomes(faulty(delay_ms=150, jitter_ms=50), 1)
    assert 0.15 <= time.monotonic() - began < 1.5


def test_a_hang_never_answers() -> None:
    async def hang() -> None:
        async with asyncio.timeout(0.2):
            await faulty(hang_rate=1.0)(REQUEST, 0.0)

    with pytest.raises(TimeoutError):
        asyncio.run(hang())


def test_every_kind_of_garbage_has_one_maker() -> None:
    assert set(GARBAGE) | set(BODIES) == set(get_args(Garbage))
    assert not set(GARBAGE) & set(BODIES)


@pytest.mark.parametrize("kind", get_args(Garbage))
def test_garbage_is_what_the_worker_refuses(kind: str) -> None:
    with service(mock_settings(faults={"garbage_rate": 1.0, "garbage": [kind]})) as running:
        answer = running.post(REQUEST)
        assert answer.status_code == 200
        with pytest.raises((PhraseFailed, ValidationError)):
            checked(answer.content, REQUEST.fragment_id, longest_ms=5000, rtt_ms=1)
        assert running.client.get("/health").status_code == 200


@pytest.mark.parametrize("status", [400, 401, 413, 422, 429, 500, 502, 503, 504])
def test_a_failure_has_the_status_that_was_asked_for(status: int) -> None:
    with service(mock_settings(faults={"fail_rate": 1.0, "fail_status": [status]})) as running:
        answer = running.post(REQUEST)
    assert answer.status_code == status
    if status == 502:
        assert answer.headers["content-type"].startswith("text/html")
        return
    error = ProcessError.model_validate_json(answer.content)
    assert error.fragment_id == REQUEST.fragment_id
    assert error.error.retryable == (status in (429, 500, 503, 504))
    assert ("retry-after" in answer.headers) == (status in (429, 503))


def test_a_drip_comes_in_small_pieces_and_ends_when_the_client_leaves() -> None:
    with service(mock_settings(faults={"drip_rate": 1.0})) as running:
        with running.client.stream("POST", PROCESS_PATH, json=REQUEST.model_dump()) as answer:
            pieces = answer.iter_raw()
            assert answer.status_code == 200
            assert len(next(pieces)) <= 10 * DRIP_BYTES
            assert len(next(pieces)) <= 10 * DRIP_BYTES
        assert running.post({}).status_code == 400


def test_failures_are_drawn_from_all_the_statuses() -> None:
    with service(mock_settings(faults={"fail_rate": 1.0, "fail_status": [500, 502, 429]})) as running:
        assert {running.post(REQUEST).status_code for _ in range(30)} == {500, 502, 429}


def test_flags_of_the_mock_are_settings(tmp_path: Path) -> None:
    arguments = ["--mock", "--mock-drip-rate", "2", "--mock-fail-status", "418", "--mock-garbage", "tea"]
    done = subprocess.run(
        [sys.executable, "-m", "dubrelay", "sts", *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    keys = [re.sub(r"^dubrelay: flag: (\S+) = .*", r"\1", line) for line in done.stderr.splitlines()]
    assert keys == ["sts.faults.fail_status.0", "sts.faults.garbage.0", "sts.faults.drip_rate"]


def test_silence_is_not_garbled() -> None:
    async def nothing(request: ProcessRequest, arrived: float) -> ProcessResult:
        return ProcessResult(fragment_id=request.fragment_id, status="no_speech")

    answer = Faulty(nothing, StsFaults(garbage_rate=1.0))
    assert asyncio.run(answer(REQUEST, 0.0)).dubbed_audio is None
