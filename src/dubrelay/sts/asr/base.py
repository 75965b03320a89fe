"""What the service needs of a recogniser, and what some of them can do besides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from dubrelay.wire.fragment import Word

RATE_HZ = 16_000


@dataclass(frozen=True)
class Transcript:
    text: str
    """Empty when nothing was said, or when the recogniser does not trust what it heard."""
    refused: str = ""
    """Why a text was not trusted, in words; empty otherwise."""
    words: list[Word] = field(default_factory=list)


class Asr(Protocol):
    name: str
    languages: frozenset[str]

    def transcribe(self, samples: npt.NDArray[np.float32], language: str) -> Transcript:
        """`samples`: (n,) mono at 16 kHz in -1..1, one phrase of at most 30 s. Safe to call from several threads."""
        ...


class Told(Asr, Protocol):
    """A recogniser that can be told which words to expect."""

    takes_terms: bool

    def transcribe(self, samples: npt.NDArray[np.float32], language: str, terms: Sequence[str] = ()) -> Transcript:
        """As `Asr.transcribe`. `terms`: names and words, as they are written, that may be said."""
        ...


def told(asr: Asr, terms: Sequence[str]) -> Callable[[npt.NDArray[np.float32], str], Transcript]:
    """Its `transcribe`, with the terms if it takes any."""
    if terms and getattr(asr, "takes_terms", False):
        return partial(cast("Told", asr).transcribe, terms=terms)
    return asr.transcribe


@dataclass(frozen=True)
class Detection:
    """Which language a phrase is in."""

    probabilities: Mapping[str, float]
    """By language, of those that the recogniser knows; empty when it cannot tell."""
    hear: Callable[[str, bool], Transcript]
    """The phrase heard as in a language, as English text when True, from what is computed already."""


class Linguist(Asr, Protocol):
    """A recogniser that can tell languages apart, or hear them as English."""

    detects: bool
    to_english: frozenset[str]
    """From which languages."""

    def detect(self, samples: npt.NDArray[np.float32]) -> Detection: ...

    def translate(self, samples: npt.NDArray[np.float32], language: str) -> Transcript:
        """As `transcribe`, the text in English."""
        ...


def detecting(asr: Any) -> Linguist | None:
    """The recogniser, if it can tell languages apart."""
    return cast("Linguist", asr) if getattr(asr, "detects", False) else None


def to_english(asr: Any) -> frozenset[str]:
    """From which languages it translates to English while it hears."""
    return getattr(asr, "to_english", frozenset())
