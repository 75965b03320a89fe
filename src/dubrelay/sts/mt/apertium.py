"""Apertium: English to Spanish and back in a few milliseconds, at the quality of a gist."""

from __future__ import annotations

import re
import threading

from dubrelay.config import ApertiumEngine, Paths, Sts
from dubrelay.errors import StartupError, StsError
from dubrelay.sts.mt import apertium_pipe, readings
from dubrelay.sts.mt.apertium_pipe import ApertiumPipe, PipeBroken
from dubrelay.sts.mt.base import NO_WISH, Wish
from dubrelay.sts.mt.repairs import ENGLISH_TO_SPANISH, SPANISH_TO_ENGLISH, Repairs, true_cased

_MODES = {("en", "es"): "eng-spa", ("es", "en"): "spa-eng"}
_CHOSEN = {"eng-spa": readings.chosen}
_REPAIRS = {"eng-spa": ENGLISH_TO_SPANISH, "spa-eng": SPANISH_TO_ENGLISH}
TIMEOUT_S = 2.0
STARTING_S = 10.0
"""For the first answer of a pipe: ten programs start, in a tenth of a second unless the machine is busy."""

_SENTENCE_END = re.compile(
    r"(?<=[.?!…])(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSr\.)(?<!\bSra\.)\s+(?=[¿¡\"'A-ZÁÉÍÓÚÑ0-9])"
)
_NO_NAME = re.compile(r"[a-záéíóúñ]|I\b")
"""A clause that begins so may begin in lower case inside a sentence."""


class Apertium:
    pairs = frozenset(_MODES)
    licence = "GPL-2.0-or-later (programs of their own)"

    def __init__(self, name: str, options: ApertiumEngine, settings: Sts, paths: Paths) -> None:
        self.name = name
        if absent := self.missing(options, paths):
            raise StartupError(absent)
        # Started when first used, 0.1 s each: a pair nobody asks for would hold 100 MB for nothing.
        self._pipes: dict[str, ApertiumPipe] = {}
        self._lock = threading.Lock()

    @classmethod
    def missing(cls, options: ApertiumEngine, paths: Paths) -> str:
        return next((absent for mode in _MODES.values() if (absent := apertium_pipe.missing(mode))), "")

    def translate(self, text: str, source: str, target: str, wish: Wish = NO_WISH) -> str:
        mode = _MODES.get((source, target))
        if mode is None:
            raise StsError("UNSUPPORTED_LANGUAGE", f"apertium does not translate {source!r} to {target!r}", stage="mt")
        sentences = [sentence for sentence in _SENTENCE_END.split(text.strip()) if sentence]
        return " ".join(self._sentence(sentence, mode) for sentence in sentences)

    def close(self) -> None:
        with self._lock:
            for pipe in self._pipes.values():
                pipe.close()
            self._pipes.clear()

    @property
    def pids(self) -> list[int]:
        """Of the programs that run."""
        return [pid for pipe in self._pipes.values() for pid in pipe.pids]

    def _sentence(self, sentence: str, mode: str) -> str:
        repairs = _REPAIRS[mode]
        sentence = sentence.replace("\u2019", "'")
        end = sentence[-1] if sentence[-1] in ".?!" else "."
        body = sentence.rstrip(".?!… ").lstrip("¿¡ ")
        opening, rest = _opening(body, repairs)
        parts = [opening] if opening else []
        for clause, comma in _clauses(rest, repairs):
            parts.append(self._clause(clause, bool(parts), end, mode) + comma)
        return repairs.finished(" ".join(parts) + end, body + end)

    def _clause(self, clause: str, inside: bool, end: str, mode: str) -> str:
        repairs = _REPAIRS[mode]
        known = repairs.clauses.get(clause.lower())
        if known is not None:
            return known
        source = clause if inside or mode != "eng-spa" else true_cased(clause)
        prepared = repairs.prepared(source)
        raw = self._raw(prepared[:1].upper() + prepared[1:] + end, mode)
        text = repairs.repaired(raw, clause).rstrip(".?! ").lstrip("¿¡ ")
        return text[:1].lower() + text[1:] if inside and _NO_NAME.match(clause) else text

    def _raw(self, text: str, mode: str) -> str:
        """One sentence through the pipe, which is started again once when it fails."""
        with self._lock:
            for _ in range(2):
                try:
                    timeout_s = TIMEOUT_S if mode in self._pipes else STARTING_S
                    if mode not in self._pipes:
                        self._pipes[mode] = ApertiumPipe(mode, _CHOSEN.get(mode))
                    return self._pipes[mode].translate(text, timeout_s)
                except PipeBroken as e:
                    failure = e
                    if broken := self._pipes.pop(mode, None):
                        broken.close()
        raise StsError("MODEL_ERROR", str(failure), stage="mt", retryable=True)


def _opening(body: str, repairs: Repairs) -> tuple[str, str]:
    """(translation of a known way to begin, what follows); longest first."""
    low = body.lower()
    for phrase in sorted(repairs.openings, key=len, reverse=True):
        if low.startswith(phrase + " "):
            return repairs.openings[phrase], body[len(phrase) + 1 :]
    return "", body


def _clauses(body: str, repairs: Repairs) -> list[tuple[str, str]]:
    """(clause, comma after it). Split at commas only where that finds a known clause: context helps the rest."""
    parts = re.split(r",\s+", re.sub(r"(?i)\bplease (?=\w)", "please, ", body))
    if len(parts) == 1 or not any(part.lower() in repairs.clauses for part in parts):
        return [(body, "")]
    groups: list[list[str]] = []
    previous_known = True
    for part in parts:
        known = part.lower() in repairs.clauses
        if known or previous_known:
            groups.append([part])
        else:
            groups[-1].append(part)
        previous_known = known
    clauses = [", ".join(group) for group in groups]
    return [(clause, "," if i < len(clauses) - 1 else "") for i, clause in enumerate(clauses)]
