"""From conditions that hold to alerts that are told. Pure: the time is given.

condition holds ──for_s──> firing ──away for resolve_after_s──> resolved
     └─goes before──> forgotten     └─back within──> firing on, nothing is told
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dubrelay.orchestrator.conditions import RULES, Condition, Key, Rule
from dubrelay.wire.alerts import AlertView

RECENT = 50


@dataclass(frozen=True)
class Alert:
    condition: Condition
    """As it was seen last."""
    since: float
    """When it was seen first."""
    firing: bool = False
    away_since: float | None = None
    resolved: bool = False

    @property
    def rule(self) -> Rule:
        return RULES[self.condition.name]

    def view(self, epoch: float) -> AlertView:
        """`epoch` is where the clock of the looks was 0, in seconds since the epoch."""
        condition = self.condition
        return AlertView(
            name=condition.name,
            status="resolved" if self.resolved else "firing",
            severity=self.rule.severity,
            stream_id=condition.stream_id,
            of=condition.of,
            summary=condition.summary,
            description=self.rule.description,
            since=epoch + self.since,
            resolved_at=epoch + self.away_since if self.resolved and self.away_since is not None else None,
        )


class Alarms:
    """Give it what holds at one look after the other."""

    def __init__(self, resolve_after_s: float) -> None:
        self._resolve_after_s = resolve_after_s
        self._known: dict[Key, Alert] = {}
        self._recent: deque[Alert] = deque(maxlen=RECENT)

    def look(self, now: float, holding: Iterable[Condition]) -> list[Alert]:
        """Those that have begun to fire at this look, or are over."""
        told: list[Alert] = []
        here = {condition.key: condition for condition in holding}
        for key, condition in here.items():
            before = self._known.get(key) or Alert(condition, now)
            alert = replace(before, condition=condition, away_since=None)
            if not alert.firing and now - alert.since >= alert.rule.for_s:
                alert = replace(alert, firing=True)
                told.append(alert)
            self._known[key] = alert
        for key, alert in [(key, alert) for key, alert in self._known.items() if key not in here]:
            away = replace(alert, away_since=now if alert.away_since is None else alert.away_since)
            assert away.away_since is not None
            self._known[key] = away
            if not alert.firing:
                del self._known[key]
            elif now - away.away_since >= self._resolve_after_s:
                del self._known[key]
                told.append(replace(away, resolved=True))
                self._recent.appendleft(told[-1])
        return told

    @property
    def firing(self) -> list[Alert]:
        return [alert for alert in self._known.values() if alert.firing]

    @property
    def recent(self) -> list[Alert]:
        """Those that are over; the latest first."""
        return list(self._recent)
