"""How long a text will last with a voice that only shows it by speaking: learnt from what it said before."""

from __future__ import annotations

import threading

_LEARN = 0.2


class Lengths:
    """Seconds per letter of each voice. Safe to use from several threads."""

    def __init__(self, first_s: float) -> None:
        self._first_s = first_s
        """Per letter, of a voice that said nothing yet."""
        self._per_letter: dict[str, float] = {}
        self._lock = threading.Lock()

    def guess_s(self, voice: str, letters: int) -> float:
        """Seconds at tempo 1."""
        return self._per_letter.get(voice, self._first_s) * letters

    def learn(self, voice: str, letters: int, natural_s: float) -> None:
        """`natural_s`: how long it lasted, times the tempo it was spoken at."""
        if letters <= 0 or natural_s <= 0:
            return
        with self._lock:
            known = self._per_letter.get(voice)
            seen = natural_s / letters
            self._per_letter[voice] = seen if known is None else known + _LEARN * (seen - known)
