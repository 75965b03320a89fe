"""What `dubrelay up` prints is all that a publisher needs, and without it nobody publishes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import httpx2
import pytest

from dubrelay import config
from dubrelay.config import Settings
from dubrelay.demo.programme import make
from dubrelay.wire.streams import STREAMS_PATH, StreamDetails
from media import free_mediamtx_settings, free_ports, publish_command
from running_worker import state_in
from waiting import wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    orchestrator, sts = free_ports(2)
    state = tmp_path / "state"
    state.mkdir()
    return Settings(
        paths=state_in(state),
        log=config.Log(format="json"),
        mediamtx=free_mediamtx_settings(),
        orchestrator=config.Orchestrator(port=orchestrator),
        mix=config.Mix(separate=False),
        sts=config.Sts(port=sts, asr=["mock"], mt=["mock"], tts=["mock"], tts_fast=[]),
    )


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """What it says."""
    environ = {**os.environ, **config.to_environ(settings)}
    command = [sys.executable, "-m", "dubrelay", "up", "--config", os.devnull]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as up:
        assert up.stdout is not None
        try:
            yield "".join(takewhile("Ctrl-C ends all of it.\n".__ne__, up.stdout))
        finally:
            up.terminate()


def test_the_printed_key_is_dubbed_and_one_with_another_character_is_refused(
    settings: Settings, tmp_path: Path
) -> None:
    programme = make(tmp_path / "programme.mp4", 30)
    with running(settings) as said:
        server = re.search(r"OBS +server (\S+)", said)
        stream_key = re.search(r"stream key (\S+)", said)
        assert server is not None, said
        assert stream_key is not None, said
        url = f"{server[1]}/{stream_key[1]}"  # as OBS puts them together
        assert f'-f flv "{url}"' in said

        wrong = url[:-1] + ("A" if url[-1] != "A" else "B")
        refused = subprocess.run(
            publish_command(wrong, seconds=1), capture_output=True, text=True, timeout=60, check=False
        )
        assert refused.returncode != 0
        assert "authentication failed" in refused.stderr

        def dubbed() -> bool:
            answer = httpx2.get(f"{settings.orchestrator.url}{STREAMS_PATH}/main", timeout=5, trust_env=False)
            if answer.status_code != httpx2.codes.OK:
                return False
            phrases = StreamDetails.model_validate_json(answer.content).phrases
            return any(view.phrase.status == "dubbed" for view in phrases)

        with subprocess.Popen(publish_command(url, file=programme.path, loop=True), stdin=subprocess.DEVNULL) as obs:
            try:
                wait_for(dubbed, 150, "a phrase to be dubbed")
            finally:
                obs.terminate()
    logs = "".join(log.read_text("utf-8", "replace") for log in (settings.paths.state_dir / "log").iterdir())
    key = url.rpartition("=")[2]
    assert key not in logs
    assert wrong.rpartition("=")[2] not in logs
    assert '"reason": "wrong key"' in logs

    with running(settings) as said:
        assert key not in said, "it is shown once"
        assert "STREAM/in?key=KEY" in said
