"""What the service needs of a recogniser."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

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
