"""Keys never travel in the clear: RTMPS for publishers, HTTPS between MediaMTX, its hooks and the orchestrator."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx2
import pytest

from certificates import certificate
from dubrelay import config, stack
from dubrelay.config import Settings
from dubrelay.orchestrator import keys
from dubrelay.trust import that_certificate
from dubrelay.wire.streams import STREAMS_PATH
from media import free_mediamtx_settings, free_ports, publish, publish_command
from waiting import wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]


def test_rtmps_and_https_carry_a_stream_and_a_wrong_key_does_not(tmp_path: Path) -> None:
    own = certificate(tmp_path)
    rtmps, orchestrator = free_ports(2)
    tls = {"tls_cert": own.file, "tls_key": own.key}
    settings = Settings(
        paths=config.Paths(state_dir=tmp_path / "state"),
        log=config.Log(format="json"),
        mediamtx=free_mediamtx_settings().model_copy(update={"rtmps_port": rtmps, **tls}),
        orchestrator=config.Orchestrator(port=orchestrator, **tls),
        worker=config.Worker(mode="bypass"),
    )
    key = keys.new(keys.file_of(settings.paths), "studio", "publish", stream="x")
    url = f"rtmps://127.0.0.1:{rtmps}/live/x/in?key="
    ours = that_certificate(own.file, "orchestrator.tls_cert")
    with stack.running(settings, print):

        def state() -> str:
            answer = httpx2.get(f"{settings.orchestrator.url}{STREAMS_PATH}/x", verify=ours, timeout=5, trust_env=False)
            return str(answer.json().get("state"))

        refused = subprocess.run(
            publish_command(url + "x" * 32, seconds=1), capture_output=True, timeout=60, check=False
        )
        assert refused.returncode != 0
        with publish(url + key):
            wait_for(lambda: state() == "running", 40, "a worker that reads and publishes")
            metrics = httpx2.get(f"{settings.orchestrator.url}/metrics", verify=ours, timeout=5, trust_env=False).text
            assert 'orchestrator_hook_events_total{event="ready",result="start"} 1.0' in metrics
    log = (settings.paths.state_dir / "log" / "mediamtx.log").read_text()
    assert key not in log
    assert "x" * 32 not in log
