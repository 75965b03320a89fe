"""How one destination fares, from what MediaMTX says about it at every look. Pure: the time is given.

    connecting ──bytes grow──> forwarding ──none for 5 s──> stalled
        │  └──10 s────┐           │  ^                        │
        └─error──> refused | unreachable <────────error───────┘   back to forwarding when bytes grow again

MediaMTX says "forwarding" from before it connects, tries again 5 s after every error, for ever, and forgets the error
as it does: here a destination that fails stays what it is until bytes grow.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from dubrelay.wire.streams import DestinationState

RETRY_S = 5.0
"""MediaMTX's pause after an error."""
NO_ANSWER_S = 10.0
STALLED_S = 5.0
BITRATE_S = 5.0
_SHOWN = 160
_URL = re.compile(r"\"?\b[a-z]+://\S+")

_BROKEN = ("eof", "reset by peer", "broken pipe", "use of closed", "connection closed", "client closed")
_REASONS: tuple[tuple[str, DestinationState, str], ...] = (
    ("no such host", "unreachable", "there is no host of that name"),
    ("server misbehaving", "unreachable", "its name cannot be looked up"),
    ("connection refused", "unreachable", "nothing listens there"),
    ("no route to host", "unreachable", "there is no way to it"),
    ("network is unreachable", "unreachable", "there is no way to it"),
    ("connection timeout", "unreachable", "it does not answer"),
    ("connection timed out", "unreachable", "it does not answer"),
    ("deadline exceeded", "unreachable", "it does not answer"),
    ("x509", "unreachable", "its certificate is not trusted"),
    ("tls:", "unreachable", "it does not speak TLS as it should"),
    ("invalid rtmp version", "unreachable", "what answers there does not speak RTMP"),
    ("bad result", "refused", "it refuses the stream: is the key right?"),
    ("credentials are required", "refused", "it asks for a user and a password"),
    ("authentication", "refused", "user, password or key is wrong"),
    ("connection rejected", "refused", "it rejects the connection: are streamid and passphrase right?"),
    ("bad status code: 4", "refused", "it refuses the stream: is the key right?"),
    ("bad status code", "unreachable", "it cannot take the stream now"),
    ("support", "refused", "its protocol cannot carry this stream"),
)


@dataclass(frozen=True)
class Sighting:
    """One entry of MediaMTX's list at one look."""

    id: str
    """A new one where the entry was made anew."""
    state: Literal["idle", "forwarding", "error"]
    error: str
    sent: int
    """Bytes since the entry was made."""


def reason(error: str, taken: bool, secrets: Sequence[str]) -> tuple[DestinationState, str]:
    """What MediaMTX's error means, in words without a secret. `taken`: the stream had been taken until then."""
    text = error.lower()
    found = next(((state, words) for part, state, words in _REASONS if part in text), None)
    if found is None and any(part in text for part in _BROKEN):
        found = (
            ("unreachable", "the connection broke")
            if taken
            else ("refused", "it ended the connection before it took the stream: is the key right?")
        )
    if found is None and "i/o timeout" in text:
        found = ("stalled", "it takes no more data") if taken else ("unreachable", "it does not answer")
    state, words = found or ("unreachable", "it cannot be sent to")
    shown = _URL.sub("URL", error)[:_SHOWN]
    return state, words if any(secret in error for secret in secrets) or not shown else f"{words} ({shown})"


@dataclass
class Delivery:
    """Feed it one look after the other; `since` and `now` are of the same clock."""

    since: float
    secrets: Sequence[str] = ()
    state: DestinationState = "connecting"
    error: str = ""
    """The latest one; it stays when all is well again."""
    retries: int = 0
    """Attempts after a failure: at least so many."""
    sent: int = 0
    """Bytes, over all attempts and entries."""
    _id: str = ""
    _sent_by_entry: int = 0
    _growths: int = 0
    _taken: bool = False
    """By the attempt that is at work, or has just failed."""
    _failure: str = ""
    _grew_at: float = 0.0
    _attempt_at: float = 0.0
    _failed_at: float | None = None
    _history: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def bitrate_kbps(self) -> float | None:
        """Over the last seconds; None where it has not been watched so long that it can be said."""
        if len(self._history) < 2:
            return None
        (first, before), (last, after) = self._history[0], self._history[-1]
        return (after - before) * 8 / 1000 / (last - first) if last > first else None

    def absent(self, now: float) -> None:
        """MediaMTX does not have it (yet), or nothing is published that could be sent."""
        self._forget(now)
        self._become("connecting", now)

    def refused_here(self, why: str, now: float) -> None:
        """It is not handed to MediaMTX at all."""
        self._forget(now)
        self.error = why
        self._become("refused", now)

    def stopped(self, now: float) -> None:
        """An operator wants nothing to be sent to it."""
        self._forget(now)
        self._become("stopped", now)

    def saw(self, sighting: Sighting, now: float) -> None:
        if sighting.id != self._id:
            self.absent(now)
            self._id = sighting.id
            self._sent_by_entry = 0
        grown = max(0, sighting.sent - self._sent_by_entry)
        self._sent_by_entry = sighting.sent
        self.sent += grown
        self._remember(now)
        if sighting.state == "idle":
            self.absent(now)
            self._id, self._sent_by_entry = sighting.id, sighting.sent
        elif sighting.state == "error":
            self._failed(sighting.error, now)
        else:
            self._at_work(grown > 0, now)

    def _forget(self, now: float) -> None:
        """All that belongs to one entry."""
        self._id = ""
        self._attempt_at = now
        self._growths = 0
        self._taken = False
        self._failed_at = None
        self._history.clear()

    def _failed(self, error: str, now: float) -> None:
        another = self._failed_at is None or error != self._failure
        if self._failed_at is None:
            self._failed_at = now
        while now - self._failed_at >= RETRY_S:
            another = True
            self.retries += 1
            self._failed_at += RETRY_S
        if another:
            state, self.error = reason(error, self._taken or self.state == "stalled", self.secrets)
            self._become(state, now)
        self._failure = error
        self._taken = False
        self._growths = 0

    def _at_work(self, grew: bool, now: float) -> None:
        if self._failed_at is not None:
            self.retries += 1
            self._failed_at = None
            self._attempt_at = now
        if grew:
            # Once is no proof: some take the connection, read the key and hang up.
            self._growths += 1
            self._grew_at = now
            if self._growths >= 2:
                self._taken = True
                self._become("forwarding", now)
        elif self.state == "forwarding" and now - self._grew_at >= STALLED_S:
            self._growths = 0
            self.error = f"it has taken no data for {STALLED_S:g} s"
            self._become("stalled", now)
        elif self.state == "connecting" and now - self._attempt_at >= NO_ANSWER_S:
            self.error = f"it has not answered for {NO_ANSWER_S:g} s"
            self._become("unreachable", now)

    def _remember(self, now: float) -> None:
        self._history.append((now, self.sent))
        while len(self._history) > 2 and now - self._history[1][0] >= BITRATE_S:
            self._history.popleft()

    def _become(self, state: DestinationState, now: float) -> None:
        if state != self.state:
            self.state = state
            self.since = now
