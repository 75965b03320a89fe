"""Whether a stream's dub is away: what became of its latest phrases. Pure: time is given."""

from __future__ import annotations

from dubrelay.config import Fallback
from dubrelay.wire.status import PhraseReport
from dubrelay.wire.streams import DubAwayView

IN_A_ROW = 2
"""One phrase that fails is replaced alone; so many say that there is no dub."""


class Away:
    """Feed it each phrase as it is decided: one that is dubbed, or holds no words, ends it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Another worker: nothing is known of the service it asks."""
        self._in_a_row, self._since = 0, 0.0
        self._latest: PhraseReport | None = None
        self._cause: PhraseReport | None = None

    def phrase(self, report: PhraseReport, now: float) -> None:
        """`now` in seconds since the epoch."""
        if report.status != "fallback":
            self.forget()
            return
        self._since = self._since or now
        self._in_a_row += 1
        self._latest = report
        if report.reason != "breaker_open" or self._cause is None:
            self._cause = report

    def view(self, fallback: Fallback) -> DubAwayView | None:
        """None: it is not away, as far as is known."""
        latest, cause = self._latest, self._cause
        if self._in_a_row < IN_A_ROW or latest is None or cause is None:
            return None
        answered = latest.rtt_ms is not None
        return DubAwayView(
            since=self._since,
            reason=cause.reason or "error",
            message=cause.message,
            phase="failing" if latest.reason != "breaker_open" else "returning" if answered else "waiting",
            heard=fallback,
        )
