"""Nobody comes in who does not belong, nothing secret is seen, and who belongs comes in."""

from __future__ import annotations

from pathlib import Path

import pytest

from breakins import AT_LAST, ATTEMPTS, house, log_lines, right_ones, seen_secrets, tried, unlogged

pytestmark = [pytest.mark.live, pytest.mark.timeout(420)]


def test_every_break_in_is_refused_and_logged_without_the_secret(tmp_path: Path) -> None:
    with house(tmp_path) as here:
        right = right_ones(here)
        results = tried(here, ATTEMPTS)
        for attempt in AT_LAST:
            results += tried(here, [attempt])
        assert [result for result in right if result.refused] == []
        assert [result for result in results if not result.refused] == []
        assert len(results) >= 25
        assert not unlogged(here, [*ATTEMPTS, *AT_LAST])
        assert [line for line in log_lines(here) if line.get("event") == "forged"] == []
        assert seen_secrets(here) == []
