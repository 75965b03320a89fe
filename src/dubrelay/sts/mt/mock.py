"""A translator that only says what it was asked for."""

from __future__ import annotations

from dubrelay.config import Paths, Sts


class MockTranslator:
    name = "mock"
    pairs = frozenset({("*", "*")})
    licence = "Apache-2.0"

    def __init__(self, settings: Sts, paths: Paths) -> None:
        pass

    @classmethod
    def missing(cls, paths: Paths) -> str:
        return ""

    def translate(self, text: str, source: str, target: str) -> str:
        return f"[{source}-{target}] {text}"

    def close(self) -> None:
        pass
