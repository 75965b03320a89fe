"""Whether a dub that is there in time may be heard: a viewer should not hear dub and original by turns. Pure.

The rule: one phrase that fails is replaced alone. When MOST_FAILURES of the last PHRASES failed, all that follow are
replaced, too, until NEEDED in a row came in time. So whoever hears the original again after that hears it for at least
NEEDED - 1 phrases more, and two failures in turn with dubs are the most that is heard.
"""

from __future__ import annotations

from collections import deque

PHRASES, MOST_FAILURES = 6, 3
NEEDED = 3


class Steadiness:
    def __init__(self) -> None:
        self._recent: deque[bool] = deque(maxlen=PHRASES)
        self._in_time = 0
        self.held = False
        """Whether dubs are held back at the moment."""

    def may_be_heard(self, in_time: bool) -> bool:
        """Asked once for each phrase, in their order, with whether its dub is there in time."""
        self._recent.append(in_time)
        self._in_time = self._in_time + 1 if in_time else 0
        if self.held and self._in_time >= NEEDED:
            self.held = False
            self._recent.clear()
        elif not self.held and self._recent.count(False) >= MOST_FAILURES:
            self.held = True
        return in_time and not self.held
