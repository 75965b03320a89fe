"""What the service needs of a translator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from dubrelay.config import Glossary
from dubrelay.wire.fragment import Context


@dataclass(frozen=True)
class Wish:
    """What a translator may heed if it can; what it cannot heed is seen to around it."""

    context: Context = field(default_factory=Context)
    """What this stream said before."""
    glossary: Glossary = ()
    most_characters: int | None = None
    """The translation should not be longer: there is no time to say more."""
    goes_on: bool = False
    """The text comes directly after the context: it may go on with its last sentence."""


NO_WISH = Wish()


class Translator(Protocol):
    """One that heeds a wish says so: `shortens` (most_characters), `knows_context`, `knows_glossary`, each True."""

    name: str
    pairs: frozenset[tuple[str, str]]
    """(source, target) language codes; `*` is every language."""

    def translate(self, text: str, source: str, target: str, wish: Wish = NO_WISH) -> str:
        """One or more sentences, as one phrase was heard. Safe to call from several threads."""
        ...

    def close(self) -> None:
        """Ends what the engine started."""
        ...


def heeds(mt: Translator, what: Literal["shortens", "knows_context", "knows_glossary"]) -> bool:
    """Whether it heeds that part of a wish itself."""
    return bool(getattr(mt, what, False))
