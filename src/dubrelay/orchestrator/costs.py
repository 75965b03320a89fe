"""What each stream has cost so far. Pure: the time is given.

A stream is served from one of its phrases to the next, as in the STS service's own `sts_stream_seconds_total`; where
more than SERVED_S lie between them, for the length of the phrase. For that time it owes its share of the price: the
price divided by the streams that are being served then. While nobody is served nobody owes anything: the service calls
that idle.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dubrelay.wire.status import PhraseReport

SERVED_S = 60.0
_HOUR_S = 3600.0


@dataclass
class _Bill:
    run_id: str
    heard_at: float = float("-inf")
    cost: float = 0.0


class Costs:
    """`per_hour` is the price of all services together; 0: there is none."""

    def __init__(self, per_hour: float) -> None:
        self._per_hour = per_hour
        self._bills: dict[str, _Bill] = {}

    def phrase(self, stream_id: str, run_id: str, report: PhraseReport, now: float) -> None:
        """One was decided, in the session `run_id`."""
        if report.reason == "breaker_open":
            return  # no service had it
        bill = self._bills.get(stream_id)
        if bill is None or bill.run_id != run_id:
            bill = self._bills[stream_id] = _Bill(run_id)
        gap_s = now - bill.heard_at
        bill.heard_at = now
        streams = sum(now - other.heard_at <= SERVED_S for other in self._bills.values())
        served_s = gap_s if gap_s <= SERVED_S else report.duration_ms / 1000
        bill.cost += self._per_hour * served_s / _HOUR_S / streams

    def of(self, stream_id: str, run_id: str) -> float | None:
        """In this session, or in the last one where `run_id` is empty. None without a price."""
        if not self._per_hour:
            return None
        bill = self._bills.get(stream_id)
        return round(bill.cost, 4) if bill is not None and run_id in ("", bill.run_id) else 0.0

    def keep(self, stream_ids: Collection[str]) -> None:
        """Forgets all others."""
        for stream_id in self._bills.keys() - set(stream_ids):
            del self._bills[stream_id]
