"""Nobody comes in who does not belong, nothing secret is seen, and who belongs comes in."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import httpx2
import pytest

from breakins import (
    AT_LAST,
    ATTEMPTS,
    STREAM,
    House,
    house,
    log_lines,
    right_ones,
    seen_secrets,
    tried,
    unlogged,
)
from dubrelay import config, stack
from dubrelay.children import listens
from dubrelay.wire.streams import STREAMS_PATH
from media import OPEN, MediaMtx, free_mediamtx_settings, free_port, publish, publish_command
from waiting import wait_for

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


@pytest.mark.parametrize("way_in", ["rtmp", "srt", "rtsp"])
def test_a_worker_comes_in_whichever_way_and_says_nothing_of_how(way_in: config.WayIn, tmp_path: Path) -> None:
    with house(tmp_path, way_in) as here:
        m = here.settings.mediamtx
        with publish(f"rtmp://{m.host}:{m.rtmp_port}/live/{STREAM}/in?key={here.key}&lang=no-language"):
            wait_for(lambda: _state(here) == "running", 60, "a worker that reads and publishes")
            os.kill(here.pids["mediamtx"], signal.SIGKILL)
            wait_for(lambda: not listens(m.host, m.api_port), 10, "MediaMTX to be gone")
            wait_for(lambda: listens(m.host, m.api_port), 60, "MediaMTX to be back")
        assert seen_secrets(here) == []


def test_without_an_orchestrator_nobody_comes_in(tmp_path: Path) -> None:
    orchestrator = config.Orchestrator(port=free_port(), hook_token="the hook token")
    settings = config.Settings(mediamtx=free_mediamtx_settings(), orchestrator=orchestrator, access=OPEN)
    with MediaMtx(tmp_path, settings) as media:
        command = publish_command(media.rtmp("live/x/in?key=a-stream-key"), seconds=1)
        assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode != 0
        answer = httpx2.get(f"{media.settings().api_url}/v3/paths/list", timeout=20, trust_env=False)
        assert answer.status_code == httpx2.codes.UNAUTHORIZED
        assert httpx2.get(stack.metrics_url(settings), timeout=20, trust_env=False).status_code == httpx2.codes.OK
        assert "connection refused" in media.log()
        for secret in ("the hook token", "the%20hook%20token", "a-stream-key"):
            assert secret not in media.log()


def _state(house: House) -> str:
    headers = {"Authorization": f"Bearer {house.token}"}
    url = f"{house.settings.orchestrator.url}{STREAMS_PATH}/{STREAM}"
    return str(httpx2.get(url, headers=headers, timeout=10, trust_env=False).json().get("state"))
