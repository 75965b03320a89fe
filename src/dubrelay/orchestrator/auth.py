"""MediaMTX asks here whether somebody may come in (contracts, section 2): 204 or 401, and no reason to strangers."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import get_args

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from dubrelay import logs
from dubrelay.config import INTERNAL_USER
from dubrelay.orchestrator.access import Action, Attempt, Rules, Verdict, decide
from dubrelay.orchestrator.hooks import SHOWN_CHARACTERS
from dubrelay.orchestrator.keys import Keys
from dubrelay.orchestrator.limits import Failures, origin_of
from dubrelay.orchestrator.mediamtx import stream_of
from dubrelay.orchestrator.metrics import OrchestratorMetrics
from dubrelay.wire.hook import AUTH_PATH

_ASK_WITHOUT_FIRST = {"rtsp", "rtsps", "hls", "webrtc", ""}
"""Protocols whose clients come without their key and again with it when they are told to. "" is HTTP."""


class Question(BaseModel):
    """MediaMTX's body."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    ip: str
    action: str
    user: str = ""
    password: str = ""
    token: str = ""
    path: str = ""
    protocol: str = ""
    id: str | None = None
    query: str = ""


class Asked:
    """What `decide` says, with the log and the metrics that belong to it."""

    def __init__(self, rules: Rules, keys: Keys, failures: Failures, metrics: OrchestratorMetrics) -> None:
        self._rules, self._keys, self._failures, self._metrics = rules, keys, failures, metrics

    def verdict(self, question: Question) -> Verdict:
        attempt = Attempt(
            action=question.action,
            path=question.path,
            ip=question.ip,
            user=question.user,
            password=question.password,
            token=question.token,
            query=question.query,
        )
        found = decide(attempt, self._rules, self._keys.ring(), time.time())
        action = question.action if question.action in get_args(Action) else "other"
        self._metrics.access.labels(action, "allowed" if found.allowed else "refused").inc()
        self._tell(question, found)
        return found

    def _tell(self, question: Question, found: Verdict) -> None:
        """One line for each; of those who are wrong too often none, but for the last before they are."""
        log = logs.get().bind(
            action=question.action[:SHOWN_CHARACTERS],
            path=question.path[:SHOWN_CHARACTERS],
            protocol=question.protocol[:SHOWN_CHARACTERS],
            ip=question.ip[:SHOWN_CHARACTERS],
            sourceId=question.id or "",
        )
        if found.allowed:
            if question.action in {"publish", "read"}:
                say = log.debug if found.who == INTERNAL_USER else log.info
                say("access", who=found.who)
        elif not found.guessed and question.protocol in _ASK_WITHOUT_FIRST:
            log.debug("access_refused", reason=found.reason)
        elif self._too_often(question):
            self._metrics.access_limited.inc()
        else:
            log.warning("access_refused", reason=found.reason)

    def _too_often(self, question: Question) -> bool:
        origins = [origin_of(question.ip)]
        if question.action == "publish" and (stream := stream_of(question.path)) is not None:
            origins.append(f"live/{stream[0]}/{stream[1]}")
        counted = [self._failures.count(origin) for origin in origins]  # each of them
        return any(counted)


def auth_routes(asked: Asked) -> APIRouter:
    """Who may post here says the guard (guard.py): it would tell a stranger which keys are right."""
    routes = APIRouter(tags=["mediamtx"])

    @routes.post(AUTH_PATH, status_code=HTTPStatus.NO_CONTENT)
    async def auth(question: Question) -> Response:
        allowed = asked.verdict(question).allowed
        return Response(status_code=HTTPStatus.NO_CONTENT if allowed else HTTPStatus.UNAUTHORIZED)

    return routes
