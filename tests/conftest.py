"""Every test has a kind, and the end of a run says how many of each there were: a kind that is missing is named."""

from __future__ import annotations

from collections import Counter, defaultdict

import hypothesis
import pytest

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

KINDS = ("unit", "service", "gst", "live", "browser")
_OUTCOMES = {"passed": "passed", "failed": "failed", "error": "failed", "skipped": "skipped", "xfailed": "skipped"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        marked = [mark.name for mark in item.iter_markers() if mark.name in KINDS]
        if not marked:
            raise pytest.UsageError(f"{item.nodeid}: its module needs pytestmark = pytest.mark.<{'|'.join(KINDS)}>")
        item.user_properties.append(("kind", marked[0]))  # a report carries it from pytest-xdist's processes


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome, shown in _OUTCOMES.items():
        for report in terminalreporter.stats.get(outcome, []):
            if kind := dict(getattr(report, "user_properties", ())).get("kind"):
                counts[kind][shown] += 1
    terminalreporter.section("by kind")
    for kind in KINDS:
        count = counts[kind]
        line = "  ".join(f"{count[shown]:5d} {shown}" for shown in ("passed", "failed", "skipped"))
        terminalreporter.line(f"{kind:8} {line}")
    for what, named in _silent(counts).items():
        if named:
            terminalreporter.line(f"{what}: {', '.join(named)}", yellow=True)


def _silent(counts: dict[str, Counter[str]]) -> dict[str, list[str]]:
    ran = {kind for kind in KINDS if counts[kind]["passed"] or counts[kind]["failed"]}
    return {
        "kinds that were skipped": [kind for kind in KINDS if kind not in ran and counts[kind]["skipped"]],
        "kinds without a test in this run": [kind for kind in KINDS if not counts[kind]],
    }
