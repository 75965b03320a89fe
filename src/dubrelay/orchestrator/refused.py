"""The answer to a request that is not done."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import HTTPException


class Refused(HTTPException):
    """`code` is stable; the body is {"error": {"code", "message"}}."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(status, message)
        self.code = code
