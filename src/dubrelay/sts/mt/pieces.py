"""How a family of translation models wants its sentences: the tokens around the sentencepiece pieces. Pure.

marian    pieces </s>             ->  pieces              >>spa<< comes first where the target can be chosen
nllb      eng_Latn pieces </s>    ->  spa_Latn pieces
m2m100    __en__ pieces </s>      ->  __es__ pieces
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from dubrelay.sts.mt.languages import LANGUAGES

Family = Literal["marian", "nllb", "m2m100"]

END = "</s>"
_SPECIAL = frozenset({END, "<s>", "<pad>", "<unk>"})


def family_of(vocabulary: Collection[str], files: Collection[str]) -> Family | None:
    """By the language tokens that are in the vocabulary; Marian has none, but two sentencepiece models."""
    if "eng_Latn" in vocabulary or "spa_Latn" in vocabulary:
        return "nllb"
    if "__en__" in vocabulary or "__es__" in vocabulary:
        return "m2m100"
    return "marian" if {"source.spm", "target.spm"} <= set(files) else None


@dataclass(frozen=True)
class Tokens:
    """The tokens of one family of models with one vocabulary."""

    family: Family
    vocabulary: frozenset[str]
    adds_end: bool
    """The model puts </s> after the source by itself."""

    def languages(self) -> frozenset[str]:
        """Those that the vocabulary has a token for; of Marian: that can be chosen as a target."""
        return frozenset(code for code in LANGUAGES if self.knows(code))

    def knows(self, code: str) -> bool:
        """Also of a regional code, such as pt-br, by its language."""
        return self._token(code) is not None

    def source(self, pieces: Sequence[str], source: str, target: str) -> list[str]:
        """What the encoder gets. `source`, `target`: our codes, of `languages` unless the family is Marian."""
        chosen = self._token(target if self.family == "marian" else source)
        return [*([chosen] if chosen else []), *pieces, *([] if self.adds_end else [END])]

    def prefix(self, target: str) -> list[str] | None:
        """What the decoder begins with; None where it needs nothing."""
        token = None if self.family == "marian" else self._token(target)
        return None if token is None else [token]

    def pieces(self, tokens: Sequence[str]) -> list[str]:
        """The decoder's answer without what is no text."""
        return [token for token in tokens if token not in _SPECIAL and not self._is_language(token)]

    def _is_language(self, token: str) -> bool:
        if self.family == "marian":
            return token.startswith(">>") and token.endswith("<<")
        if self.family == "m2m100":
            return token.startswith("__") and token.endswith("__") and len(token) > 4
        return token in _FLORES

    def _token(self, code: str) -> str | None:
        names = LANGUAGES.get(code.partition("-")[0])
        flores = names.flores if names else ""
        forms = {
            "nllb": [flores],
            "m2m100": [f"__{code}__", f"__{code.partition('-')[0]}__"],
            "marian": [f">>{flores}<<", f">>{flores[:3]}<<", f">>{code}<<"],
        }[self.family]
        return next((form for form in forms if form in self.vocabulary), None)


_FLORES = frozenset(names.flores for names in LANGUAGES.values())
