"""From the bytes of a request to a checked ProcessRequest, or an error that names the field."""

from __future__ import annotations

import asyncio
import re
import reprlib
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import Request

from dubrelay.errors import StsError
from dubrelay.wire.fragment import MAX_BODY_BYTES, ProcessRequest

MAX_PROBLEMS = 5
MAX_VALUES = 50_000
"""Commas and opening brackets of a body: a request's texts may hold 44,000 characters, and all of them may be such."""
BODY_S = 60.0
"""No answer is of use later than that (`timeout_ms`), so no body is waited for longer."""
_FRAGMENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


class BodyTooLarge(StsError):
    """HTTP 413: the only error whose status its code does not tell."""

    def __init__(self) -> None:
        super().__init__("INVALID_INPUT", f"the body is larger than {MAX_BODY_BYTES} bytes")


async def limited(request: Request, within_s: float = BODY_S) -> bytes:
    """The whole body. BodyTooLarge as soon as it is known to be too large, however much is still to come.

    StsError TIMEOUT when it is not there in time.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise BodyTooLarge
    body = bytearray()
    try:
        async with asyncio.timeout(within_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise BodyTooLarge
    except TimeoutError as e:
        raise StsError("TIMEOUT", f"the body was not there within {within_s:g} s", retryable=True) from e
    return bytes(body)


def parsed(body: bytes) -> ProcessRequest:
    """StsError INVALID_INPUT names each wrong field, its value and what is allowed."""
    if _too_many_values(body):
        raise StsError("INVALID_INPUT", f"body: more than {MAX_VALUES} values: no request has so many")
    try:
        return ProcessRequest.model_validate_json(body, strict=True)
    except ValidationError as e:
        problems = [_problem(error) for error in e.errors(include_url=False)[:MAX_PROBLEMS]]
        raise StsError("INVALID_INPUT", "; ".join(problems)) from e


def fragment_id_in(body: bytes) -> str:
    """The fragment_id of a body that is not a ProcessRequest, where it has a valid one; else empty."""
    if _too_many_values(body):
        return ""
    try:
        value = from_json(body)
    except ValueError:
        return ""
    found = value.get("fragment_id") if isinstance(value, dict) else None
    return found if isinstance(found, str) and _FRAGMENT_ID.fullmatch(found) else ""


def _too_many_values(body: bytes) -> bool:
    """Whether it would take seconds and gigabytes to say what is wrong with each of them."""
    return sum(body.count(sign) for sign in (b",", b"[", b"{")) > MAX_VALUES


def _problem(error: Any) -> str:
    field = ".".join(str(part) for part in error["loc"]) or "body"
    if error["type"] in ("missing", "json_invalid"):
        return f"{field}: {error['msg']}"
    if error["type"] == "extra_forbidden":
        return f"{field}: there is no such field"
    return f"{field} = {_short.repr(error['input'])}: {error['msg']}"
