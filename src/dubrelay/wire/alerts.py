"""What the orchestrator says about alerts: GET /v1/alerts, POST /v1/alerts/test, and to webhooks (docs/alerts.md)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from dubrelay.config import AlertName, WebhookFormat

ALERTS_PATH = "/v1/alerts"

Severity = Literal["critical", "warning"]


class _View(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class AlertView(_View):
    name: AlertName
    status: Literal["firing", "resolved"]
    severity: Severity
    stream_id: str
    """Empty: of the host."""
    of: str
    """Which destination, side, service or process; empty where there is only one."""
    summary: str
    """One line for people."""
    description: str
    since: float
    """When the condition began, in seconds since the epoch."""
    resolved_at: float | None = None
    """When it ended."""


class WebhookView(_View):
    name: str
    host: str
    """All that is ever said of the URL."""
    format: WebhookFormat
    rules: list[AlertName] | None
    """null: all."""
    send_resolved: bool
    well: bool
    """Whether the last message was taken, or none was sent."""
    state: str
    """In words."""
    waiting: int
    """Messages not sent yet."""
    lost: int
    """Messages that nobody took."""


class AlertList(_View):
    firing: list[AlertView]
    """The latest last."""
    recent: list[AlertView]
    """Over; the latest first."""
    webhooks: list[WebhookView]
    problem: str = ""
    """Why alerts are not looked for any more."""


class TestResult(_View):
    __test__ = False  # pytest takes it for a test

    name: str
    ok: bool
    said: str
    """What the webhook answered, in words."""


class TestResults(_View):
    __test__ = False

    results: list[TestResult]


class Message(_View):
    """What a webhook of format json is sent."""

    version: Literal[1] = 1
    kind: Literal["alerts", "test"]
    host: str
    """Name of the machine that tells."""
    text: str
    """All of it for people, a line each."""
    alerts: list[AlertView]
    """What began or ended; empty in a test."""
