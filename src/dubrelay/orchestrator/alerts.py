"""Alerts without Prometheus: looks at what the orchestrator knows, tells webhooks, the log and the page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus

import psutil
from fastapi import APIRouter

from dubrelay import logs
from dubrelay.config import Settings
from dubrelay.orchestrator.alarm import Alarms, Alert
from dubrelay.orchestrator.conditions import Conditions, Look, StreamLook
from dubrelay.orchestrator.refused import Refused
from dubrelay.orchestrator.services import Services
from dubrelay.orchestrator.webhooks import Webhooks, targets
from dubrelay.wire.alerts import ALERTS_PATH, AlertList, TestResults

LOOK_S = 2.0


class Alerts:
    """`run` looks until it is cancelled. ConfigError when a webhook's file is of no use."""

    def __init__(
        self,
        settings: Settings,
        streams: Callable[[], Sequence[StreamLook]],
        mediamtx_problem: Callable[[], str | None],
        restarts: Callable[[], float],
        on_change: Callable[[AlertList], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`restarts`: workers started again so far. `on_change` is called after each look: what `listed` says may be
        another thing now.
        """
        self.webhooks = Webhooks(targets(settings.alerts), clock)
        self._streams = streams
        self._mediamtx_problem = mediamtx_problem
        self._on_change = on_change
        self._clock = clock
        self._epoch = time.time() - clock()
        self._services = Services(settings.sts_client) if settings.dubs else None
        self._conditions = Conditions()
        self._alarms = Alarms(settings.alerts.resolve_after_s)
        self._restarts = restarts
        self._process = psutil.Process()
        self._problem = ""
        self._testing = False

    async def run(self) -> None:
        """A bug in here is logged and shown, and ends nothing but this."""
        parts = [self._look_for_ever(), self.webhooks.run()]
        if self._services is not None:
            parts.append(self._services.run())
        try:
            async with asyncio.TaskGroup() as together:
                for part in parts:
                    together.create_task(part)
        except Exception:
            logs.get().exception("alerts_bug")
            self._problem = "the orchestrator failed to look for alerts; its log has the traceback"
            self._on_change(self.listed())

    async def _look_for_ever(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        now = self._clock()
        holding = self._conditions.holding(
            Look(
                at=now,
                mediamtx_problem=self._mediamtx_problem(),
                services=self._services.problems if self._services else {},
                restarts=self._restarts(),
                rss_bytes=self._process.memory_info().rss,
                streams=self._streams(),
            )
        )
        told = self._alarms.look(now, holding)
        for alert in told:
            _log(alert)
        self.webhooks.tell([alert.view(self._epoch) for alert in told])
        self._on_change(self.listed())

    def listed(self) -> AlertList:
        return AlertList(
            firing=[alert.view(self._epoch) for alert in self._alarms.firing],
            recent=[alert.view(self._epoch) for alert in self._alarms.recent],
            webhooks=self.webhooks.views(),
            problem=self._problem,
        )

    async def test(self) -> TestResults:
        """Refused while another test goes on."""
        if self._testing:
            raise Refused(HTTPStatus.CONFLICT, "TEST_GOES_ON", "the webhooks are being tested; wait for the answer")
        self._testing = True
        try:
            return TestResults(results=await self.webhooks.test())
        finally:
            self._testing = False


def _log(alert: Alert) -> None:
    condition = alert.condition
    tell = logs.get().info if alert.resolved else logs.get().warning
    tell(
        "alert_resolved" if alert.resolved else "alert_firing",
        alert=condition.name,
        streamId=condition.stream_id,
        of=condition.of,
        severity=alert.rule.severity,
        message=condition.summary,
    )


def alert_routes(alerts: Alerts) -> APIRouter:
    routes = APIRouter(tags=["alerts"])

    @routes.get(ALERTS_PATH)
    async def listed() -> AlertList:
        """What fires, what did lately, and how each webhook fares."""
        return alerts.listed()

    @routes.post(ALERTS_PATH + "/test")
    async def test() -> TestResults:
        """Sends a test to each webhook; what each answered, within ten seconds."""
        return await alerts.test()

    return routes
