"""A translator that only says what it was asked for."""

from __future__ import annotations

from dubrelay.config import MockEngine, Paths, Sts
from dubrelay.sts.mt.base import NO_WISH, Wish


class MockTranslator:
    pairs = frozenset({("*", "*")})
    licence = "Apache-2.0"

    def __init__(self, name: str, options: MockEngine, settings: Sts, paths: Paths) -> None:
        self.name = name

    @classmethod
    def missing(cls, options: MockEngine, paths: Paths) -> str:
        return ""

    def translate(self, text: str, source: str, target: str, wish: Wish = NO_WISH) -> str:
        return f"[{source}-{target}] {text}"

    def close(self) -> None:
        pass
