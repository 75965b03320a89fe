"""When the dub of a stream counts as away, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from dubrelay.orchestrator.away import Away
from dubrelay.wire.status import PhraseReport

pytestmark = pytest.mark.unit

REFUSED = "ConnectError: connection refused"


def report(status: str, reason: str | None = None, **more: Any) -> PhraseReport:
    values = {"sequence_number": 1, "t0_ms": 0, "started_at": 0.0, "duration_ms": 9, "status": status, "reason": reason}
    return PhraseReport.model_validate(values | more)


def phases(away: Away, *reports: PhraseReport) -> list[str]:
    """After each of them."""
    seen = []
    for at, one in enumerate(reports, 100):
        away.phrase(one, float(at))
        view = away.view("original")
        seen.append(view.phase if view else "")
    return seen


def test_one_failure_is_replaced_alone_and_the_second_says_that_the_dub_is_away() -> None:
    away = Away()
    failed = report("fallback", "error", message=REFUSED)
    assert phases(away, report("dubbed"), failed, failed) == ["", "", "failing"]
    view = away.view("ducked")
    assert view is not None
    assert (view.since, view.reason, view.message, view.heard) == (101.0, "error", REFUSED, "ducked")


def test_what_is_wrong_is_still_said_while_nothing_is_asked() -> None:
    away = Away()
    failed, unasked = report("fallback", "error", message=REFUSED), report("fallback", "breaker_open")
    assert phases(away, failed, failed, unasked) == ["", "failing", "waiting"]
    view = away.view("original")
    assert view is not None
    assert (view.reason, view.message) == ("error", REFUSED)


def test_it_is_back_with_the_first_phrase_that_is_heard() -> None:
    away = Away()
    failed, held = report("fallback", "timeout"), report("fallback", "breaker_open", rtt_ms=300)
    assert phases(away, failed, failed, held, report("dubbed"), failed) == ["", "failing", "returning", "", ""]
    assert phases(away, report("no_speech"), failed) == ["", ""]


def test_nothing_is_known_of_the_service_of_another_worker() -> None:
    away = Away()
    assert phases(away, *[report("fallback", "overload")] * 2)[-1] == "failing"
    away.forget()
    assert away.view("original") is None
