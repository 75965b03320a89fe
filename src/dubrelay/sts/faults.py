"""Faults put in between the engines and the client, so that a client can be tried against a bad service.

Which request gets which fault is drawn from `sts.faults.seed` in the order of arrival: the same requests in the same
order meet the same faults. docs/testing-a-client.md describes each of them.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import numpy as np
from starlette.responses import Response, StreamingResponse

from dubrelay.config import StsFaults
from dubrelay.errors import StsCode, StsError
from dubrelay.wire.fragment import HTTP_STATUS, Audio, ErrorBody, ProcessError, ProcessRequest, ProcessResult

Answer = Callable[[ProcessRequest, float], Awaitable[ProcessResult]]
Body = tuple[str, bytes]
"""Media type and content."""

HANG_S = 60.0
DRIP_S = 0.05
DRIP_BYTES = 64
HUGE_BYTES = 50_000_000
RETRY_AFTER_S = 1
_CODES: dict[int, StsCode] = {**{status: code for code, status in HTTP_STATUS.items()}, 413: "INVALID_INPUT"}
_CODES[429] = "OVERLOADED"


class Instead(Exception):
    """The answer to send as it is; nothing that the engines said."""

    def __init__(self, response: Response) -> None:
        super().__init__("a fault was asked for (sts.faults)")
        self.response = response


class Faulty:
    """An answer that is late, missing, refused or nonsense now and then.

    The delay comes after the engines have answered, as on a slow way back: the service itself does not know of it.
    Instead is raised for what is no answer in the shape of one.
    """

    def __init__(self, answer: Answer, faults: StsFaults) -> None:
        self._answer = answer
        self._faults = faults
        self._random = Random(faults.seed)

    async def __call__(self, request: ProcessRequest, arrived: float) -> ProcessResult:
        faults = self._faults
        # Drawn all at once, so that a request's draws do not depend on what the ones beside it wait for.
        fails, hangs, garbles, late, drips = (self._random.random() for _ in range(5))
        kind = self._random.choice(faults.garbage)
        status = self._random.choice(faults.fail_status)
        if hangs < faults.hang_rate:
            await asyncio.sleep(HANG_S)
            raise StsError("TIMEOUT", "a hang was asked for (sts.faults.hang_rate)", retryable=True)
        delay_s = (faults.delay_ms + late * faults.jitter_ms) / 1000
        if fails < faults.fail_rate:
            await asyncio.sleep(delay_s)
            raise _failure(status, request.fragment_id)
        result = await self._answer(request, arrived)
        await asyncio.sleep(delay_s)
        if garbles < faults.garbage_rate and result.dubbed_audio is not None:
            if kind in BODIES:
                media_type, content = BODIES[kind](result)
                raise Instead(Response(content, media_type=media_type))
            result = GARBAGE[kind](result)
        if drips < faults.drip_rate:
            raise Instead(StreamingResponse(_dripping(result), media_type="application/json"))
        return result


def _failure(status: int, fragment_id: str) -> Exception:
    if status == HTTP_STATUS["MODEL_ERROR"]:
        return StsError("MODEL_ERROR", "a failure was asked for (sts.faults.fail_rate)", retryable=True)
    code = _CODES.get(status)
    if code is None:  # not the service's own: what a proxy in between says
        return Instead(Response(b"<html><h1>Bad Gateway</h1></html>", status, media_type="text/html"))
    retryable = code in ("OVERLOADED", "TIMEOUT")
    error = ErrorBody(code=code, message="a failure was asked for (sts.faults.fail_status)", retryable=retryable)
    body = ProcessError(fragment_id=fragment_id, error=error).model_dump_json()
    headers = {"Retry-After": str(RETRY_AFTER_S)} if code == "OVERLOADED" else None
    return Instead(Response(body, status, headers, media_type="application/json"))


async def _dripping(result: ProcessResult) -> AsyncIterator[bytes]:
    """The answer so slowly that it never ends in time, though no single read takes long."""
    body = _json(result)
    for at in range(0, len(body), DRIP_BYTES):
        yield body[at : at + DRIP_BYTES]
        await asyncio.sleep(DRIP_S)


def _json(result: ProcessResult) -> bytes:
    return result.model_dump_json(warnings=False).encode()


def _with(result: ProcessResult, **values: Any) -> ProcessResult:
    """`values` put into the sound. model_copy does not validate, which is what is wanted here."""
    assert result.dubbed_audio is not None
    return result.model_copy(update={"dubbed_audio": result.dubbed_audio.model_copy(update=values)})


def _sound(result: ProcessResult) -> Audio:
    assert result.dubbed_audio is not None
    return result.dubbed_audio


def _encoded(pcm: bytes) -> str:
    return base64.b64encode(pcm).decode("ascii")


def _wrong_rate(result: ProcessResult) -> ProcessResult:
    return _with(result, sample_rate_hz=_sound(result).sample_rate_hz * 7)


def _wrong_length(result: ProcessResult) -> ProcessResult:
    """A minute of sound that says it is as long as before."""
    audio = _sound(result)
    return _with(result, data_base64=_encoded(bytes(2 * audio.channels * audio.sample_rate_hz * 60)))


def _half_a_sample(result: ProcessResult) -> ProcessResult:
    return _with(result, data_base64=_encoded(base64.b64decode(_sound(result).data_base64)[:-1]))


def _not_base64(result: ProcessResult) -> ProcessResult:
    return _with(result, data_base64="NaN" * 33 + "!")


def _silence(result: ProcessResult) -> ProcessResult:
    return _with(result, data_base64=_encoded(bytes(len(base64.b64decode(_sound(result).data_base64)))))


def _noise(result: ProcessResult) -> ProcessResult:
    """The bytes of 32-bit NaNs, as of a service that sends the wrong format: full scale when they are read as PCM."""
    size = len(base64.b64decode(_sound(result).data_base64))
    return _with(result, data_base64=_encoded(np.full(size // 4 + 1, np.nan, "<f4").tobytes()[:size]))


def _other_fragment(result: ProcessResult) -> ProcessResult:
    return result.model_copy(update={"fragment_id": "another-fragment"})


def _no_sound(result: ProcessResult) -> ProcessResult:
    """Success, and nothing to hear."""
    return result.model_copy(update={"dubbed_audio": None})


def _html(_: ProcessResult) -> Body:
    return "text/html", b"<html><h1>It works!</h1></html>"


def _cut_off(result: ProcessResult) -> Body:
    body = _json(result)
    return "application/json", body[: len(body) // 2]


def _nan(result: ProcessResult) -> Body:
    """A number that JSON has not; some languages write it all the same."""
    fields = result.model_dump(mode="json")
    fields["metadata"]["tempo"] = float("nan")
    return "application/json", json.dumps(fields).encode()


def _empty(_: ProcessResult) -> Body:
    return "application/json", b""


def _deep(_: ProcessResult) -> Body:
    return "application/json", b"[" * 100_000


def _huge(_: ProcessResult) -> Body:
    return "application/json", b" " * HUGE_BYTES


GARBAGE: dict[str, Callable[[ProcessResult], ProcessResult]] = {
    "wrong-rate": _wrong_rate,
    "wrong-length": _wrong_length,
    "half-a-sample": _half_a_sample,
    "not-base64": _not_base64,
    "silence": _silence,
    "noise": _noise,
    "other-fragment": _other_fragment,
    "no-sound": _no_sound,
}
"""Answers of the right shape, or nearly."""
BODIES: dict[str, Callable[[ProcessResult], Body]] = {
    "html": _html,
    "cut-off": _cut_off,
    "nan": _nan,
    "empty": _empty,
    "deep": _deep,
    "huge": _huge,
}
"""Bodies that are no answer at all."""
