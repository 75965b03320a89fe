"""What the service needs of a synthesiser: how long a text will last, then the speech at a tempo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Prepared:
    """A text made ready to be spoken."""

    language: str
    voice: str
    natural_s: float
    """Length of the speech at tempo 1, without silence around it."""
    work_s: float
    """Seconds of sound the engine has to compute at tempo 1; what its cost is proportional to."""
    payload: Any
    """The engine's own."""


@dataclass(frozen=True)
class Speech:
    samples: npt.NDArray[np.float32]
    """(n,) mono in -1..1, without silence around it."""
    rate_hz: int
    tempo: float
    """The tempo that was really used."""


class Tts(Protocol):
    name: str
    languages: frozenset[str]
    min_tempo: float
    max_tempo: float
    """The range in which the engine itself still sounds right."""

    def voices(self, language: str) -> tuple[str, ...]:
        """The voices of a language, the default one first."""
        ...

    def prepare(self, text: str, language: str, voice: str) -> Prepared:
        """Cheap against `speak`. `voice` is one of `voices`. Safe to call from several threads."""
        ...

    def speak(self, prepared: Prepared, tempo: float) -> Speech:
        """`tempo` within min_tempo..max_tempo: 1.25 speaks a quarter faster. Safe to call from several threads."""
        ...


@dataclass(frozen=True)
class Original:
    """The phrase that is being replaced."""

    samples: npt.NDArray[np.float32]
    """(n,) mono in -1..1."""
    rate_hz: int
    room_s: float
    """How long the dub may last."""


@runtime_checkable
class FollowsOriginal(Protocol):
    """A synthesiser whose speech also depends on the sound it replaces, not on the text alone."""

    def follow(self, prepared: Prepared, original: Original) -> Prepared:
        """`prepared` again, now for this original. Called between `prepare` and `speak`."""
        ...
