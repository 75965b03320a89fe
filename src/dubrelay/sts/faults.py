"""Faults put in between the engines and the client, so that a client can be tried against a bad service.

Which request gets which fault is drawn from `sts.faults.seed` in the order of arrival: the same requests in the same
order meet the same faults.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from dubrelay.config import StsFaults
from dubrelay.errors import StsError
from dubrelay.wire.fragment import Audio, ProcessRequest, ProcessResult

Answer = Callable[[ProcessRequest, float], Awaitable[ProcessResult]]

HANG_S = 60.0


class Faulty:
    """An answer that is late, missing, refused or nonsense now and then.

    The delay comes after the engines have answered, as on a slow way back: the service itself does not know of it.
    """

    def __init__(self, answer: Answer, faults: StsFaults) -> None:
        self._answer = answer
        self._faults = faults
        self._random = Random(faults.seed)

    async def __call__(self, request: ProcessRequest, arrived: float) -> ProcessResult:
        # Drawn all at once, so that a request's draws do not depend on what the ones beside it wait for.
        fails, hangs, garbles, late = (self._random.random() for _ in range(4))
        kind = self._random.randrange(len(GARBAGE))
        if hangs < self._faults.hang_rate:
            await asyncio.sleep(HANG_S)
            raise StsError("TIMEOUT", "a hang was asked for (sts.faults.hang_rate)", retryable=True)
        delay_s = (self._faults.delay_ms + late * self._faults.jitter_ms) / 1000
        if fails < self._faults.fail_rate:
            await asyncio.sleep(delay_s)
            raise StsError("MODEL_ERROR", "a failure was asked for (sts.faults.fail_rate)", retryable=True)
        result = await self._answer(request, arrived)
        await asyncio.sleep(delay_s)
        if garbles < self._faults.garbage_rate and result.dubbed_audio is not None:
            return result.model_copy(update={"dubbed_audio": GARBAGE[kind](result.dubbed_audio)})
        return result


def _with(audio: Audio, **values: Any) -> Audio:
    # model_copy does not validate, which is what is wanted here.
    return audio.model_copy(update=values)


def _wrong_rate(audio: Audio) -> Audio:
    return _with(audio, sample_rate_hz=audio.sample_rate_hz * 7)


def _wrong_length(audio: Audio) -> Audio:
    """A minute of sound that says it is as long as before."""
    silence = bytes(2 * audio.channels * audio.sample_rate_hz * 60)
    return _with(audio, data_base64=base64.b64encode(silence).decode("ascii"))


def _half_a_sample(audio: Audio) -> Audio:
    raw = base64.b64decode(audio.data_base64)
    return _with(audio, data_base64=base64.b64encode(raw[:-1]).decode("ascii"))


def _not_base64(audio: Audio) -> Audio:
    return _with(audio, data_base64="NaN" * 33 + "!")


GARBAGE: tuple[Callable[[Audio], Audio], ...] = (_wrong_rate, _wrong_length, _half_a_sample, _not_base64)
