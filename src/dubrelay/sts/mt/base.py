"""What the service needs of a translator."""

from __future__ import annotations

from typing import Protocol


class Translator(Protocol):
    name: str
    pairs: frozenset[tuple[str, str]]
    """(source, target) language codes."""

    def translate(self, text: str, source: str, target: str) -> str:
        """One or more sentences, as one phrase was heard. Safe to call from several threads."""
        ...

    def close(self) -> None:
        """Ends what the engine started."""
        ...
