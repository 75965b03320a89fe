"""From the bytes of a request to a checked ProcessRequest, or an error that names the field."""

from __future__ import annotations

import re
import reprlib
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import Request

from dubrelay.errors import StsError
from dubrelay.wire.fragment import MAX_BODY_BYTES, ProcessRequest

MAX_PROBLEMS = 5
_FRAGMENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


class BodyTooLarge(StsError):
    """HTTP 413: the only error whose status its code does not tell."""

    def __init__(self) -> None:
        super().__init__("INVALID_INPUT", f"the body is larger than {MAX_BODY_BYTES} bytes")


async def limited(request: Request) -> bytes:
    """The whole body. BodyTooLarge as soon as it is known to be too large, however much is still to come."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise BodyTooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge
    return bytes(body)


def parsed(body: bytes) -> ProcessRequest:
    """StsError INVALID_INPUT names each wrong field, its value and what is allowed."""
    try:
        return ProcessRequest.model_validate_json(body, strict=True)
    except ValidationError as e:
        problems = [_problem(error) for error in e.errors(include_url=False)[:MAX_PROBLEMS]]
        raise StsError("INVALID_INPUT", "; ".join(problems)) from e


def fragment_id_in(body: bytes) -> str:
    """The fragment_id of a body that is not a ProcessRequest, where it has a valid one; else empty."""
    try:
        value = from_json(body)
    except ValueError:
        return ""
    found = value.get("fragment_id") if isinstance(value, dict) else None
    return found if isinstance(found, str) and _FRAGMENT_ID.fullmatch(found) else ""


def _problem(error: Any) -> str:
    field = ".".join(str(part) for part in error["loc"]) or "body"
    if error["type"] in ("missing", "json_invalid"):
        return f"{field}: {error['msg']}"
    if error["type"] == "extra_forbidden":
        return f"{field}: there is no such field"
    return f"{field} = {_short.repr(error['input'])}: {error['msg']}"
