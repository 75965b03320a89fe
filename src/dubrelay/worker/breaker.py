"""When to stop asking a speech service that does not answer in time. Pure: the clock is given with each call."""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

State = Literal["closed", "half_open", "open"]

STATE_NUMBER: dict[State, int] = {"closed": 0, "half_open": 1, "open": 2}
"""As the metric worker_sts_breaker_state shows it."""
WINDOW = 20
"""Round trips that the 95th percentile is taken over, and over how many it must stay past the budget."""


class Breaker:
    """Opens on `failures` in a row, or when the p95 of round trips stays past their budgets; `open_s` later one probe
    may pass, and one success closes it."""

    def __init__(self, failures: int, open_s: float) -> None:
        self._failures_allowed, self._open_s = failures, open_s
        self.state: State = "closed"
        self._since = 0.0  # of the state open, or of the probe
        self._forget()

    def _forget(self) -> None:
        self._failures = 0
        self._used: deque[float] = deque(maxlen=WINDOW)  # round trip / budget
        self._past = 0  # answers in a row after which the p95 was past the budget

    def allow(self, now: float) -> bool:
        """Whether a phrase may be asked for. A True while half-open is the probe: its outcome must be told."""
        allowed = self.would_allow(now)
        if allowed and self.state != "closed":
            self.state, self._since = "half_open", now
        return allowed

    def would_allow(self, now: float) -> bool:
        """What `allow` would say, without a probe being let through."""
        # A probe whose outcome never came counts for nothing: the next one may pass.
        return self.state == "closed" or now - self._since >= self._open_s

    def success(self, now: float, rtt_s: float, budget_s: float) -> None:
        """An answer of use came after `rtt_s`; it was of use for `budget_s`."""
        if self.state != "closed":
            self.state = "closed"
            self._forget()
        self._failures = 0
        self._took(now, rtt_s / budget_s if budget_s > 0 else math.inf)

    def failure(self, now: float, *, late: bool = False) -> None:
        """No answer of use came; `late` says that time ran out while waiting for it."""
        if self.state == "half_open":
            self._open(now)
            return
        self._failures += 1
        if self._failures >= self._failures_allowed:
            self._open(now)
        elif late:
            self._took(now, math.inf)

    def _took(self, now: float, used: float) -> None:
        self._used.append(used)
        if len(self._used) < WINDOW:
            return
        p95 = sorted(self._used)[math.ceil(0.95 * WINDOW) - 1]
        self._past = self._past + 1 if p95 > 1 else 0
        if self._past >= WINDOW and used > 1:  # not on the answer that shows it is well again
            self._open(now)

    def _open(self, now: float) -> None:
        if self.state != "open":
            self.state, self._since = "open", now
        self._forget()
