from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from dubrelay.config import StsFaults
from dubrelay.errors import StsError
from dubrelay.sts.faults import GARBAGE, Faulty
from dubrelay.wire.fragment import Audio, ProcessRequest, ProcessResult
from sts_parts import buzz, request_for

pytestmark = pytest.mark.unit

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
    assert StsFaults(delay_ms=1).present and StsFaults(hang_rate=0.1).present


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


@pytest.mark.parametrize("garble", GARBAGE)
def test_garbage_is_what_no_client_may_take(garble: Any) -> None:
    garbled = garble(AUDIO)
    length_s = len(garbled.data_base64) * 3 / 4 / 2 / garbled.sample_rate_hz
    wrong_rate = not 8000 <= garbled.sample_rate_hz <= 48_000
    wrong_length = abs(length_s - garbled.duration_ms / 1000) > 0.05
    try:
        garbled.to_mono()
    except ValueError:
        return
    assert wrong_rate or wrong_length


def test_silence_is_not_garbled() -> None:
    async def nothing(request: ProcessRequest, arrived: float) -> ProcessResult:
        return ProcessResult(fragment_id=request.fragment_id, status="no_speech")

    answer = Faulty(nothing, StsFaults(garbage_rate=1.0))
    assert asyncio.run(answer(REQUEST, 0.0)).dubbed_audio is None
