"""No translator: the recogniser hears speech in any language as English text, and this stage has nothing to do.

Only with a recogniser that can (asr.base.to_english); the route sees to that. What was said in its own language is then
never known: there is no transcript, and a glossary's terms cannot be found.
"""

from __future__ import annotations

from dubrelay.config import Paths, Sts, ToEnglishEngine
from dubrelay.sts.mt.base import NO_WISH, Wish


class ToEnglish:
    pairs = frozenset({("*", "en")})
    licence = "of the recogniser"
    while_hearing = True

    def __init__(self, name: str, options: ToEnglishEngine, settings: Sts, paths: Paths) -> None:
        self.name = name

    @classmethod
    def missing(cls, options: ToEnglishEngine, paths: Paths) -> str:
        return ""

    def translate(self, text: str, source: str, target: str, wish: Wish = NO_WISH) -> str:
        """What was heard is English already."""
        return text

    def close(self) -> None:
        pass
