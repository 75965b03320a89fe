"""The orchestrator with the real MediaMTX, its real hooks and real publishers; only the worker is a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import psutil
import pytest

from dubrelay import config
from media import INTERNAL_SECRET, OPEN, MediaMtx, free_mediamtx_settings, free_port, publish
from running_orchestrator import RunningOrchestrator
from waiting import wait_for

pytestmark = pytest.mark.live

RIGHT_AGAIN_S = 5


@pytest.fixture
def settings() -> config.Settings:
    return config.Settings(
        mediamtx=free_mediamtx_settings(),
        orchestrator=config.Orchestrator(
            port=free_port(), hook_token="a token", internal_secret=INTERNAL_SECRET, grace_s=20
        ),
        access=OPEN,
    )


@pytest.fixture
def media(tmp_path: Path, settings: config.Settings) -> Iterator[MediaMtx]:
    with MediaMtx(tmp_path, settings) as server:
        yield server


def hook_events(orchestrator: RunningOrchestrator, event: str) -> str:
    lines = orchestrator.http.get("/metrics").text.splitlines()
    return "\n".join(line for line in lines if line.startswith(f'orchestrator_hook_events_total{{event="{event}"'))


def test_the_hook_arrives_and_the_stream_runs_as_its_query_asks(media: MediaMtx, settings: config.Settings) -> None:
    """The poll is too slow to have been it."""
    slow = settings.model_copy(
        update={"orchestrator": settings.orchestrator.model_copy(update={"poll_interval_s": 10.0, "grace_s": 0.0})}
    )
    with RunningOrchestrator(slow) as orchestrator:
        wait_for(lambda: orchestrator.http.get("/healthz").status_code == 200, 5, "MediaMTX to be seen")
        with publish(media.rtmp("live/x/in?lang=fr&voice=no!voice"), b_frames=2):
            media.wait_available("live/x/in")
            stream = orchestrator.wait_state("x", "running", 3)
            assert (stream.target_language, stream.voice, stream.input_protocol) == ("fr", "default", "rtmp")
            assert 'result="start"} 1.0' in hook_events(orchestrator, "ready")
        orchestrator.wait_state("x", "idle", 8)
        assert 'result="stop-scheduled"} 1.0' in hook_events(orchestrator, "not-ready")
    assert "hook ready:" not in media.log()


def test_lost_hooks_change_nothing_and_the_query_is_found(tmp_path: Path, settings: config.Settings) -> None:
    """MediaMTX posts its hooks to a port where nobody listens."""
    nobody = {"DUBRELAY_HOOK_URL": f"http://127.0.0.1:{free_port()}"}
    with MediaMtx(tmp_path, settings, nobody) as media, RunningOrchestrator(settings) as orchestrator:
        with publish(media.rtmp("live/x/in?lang=fr")):
            media.wait_available("live/x/in")
            assert orchestrator.wait_state("x", "running", RIGHT_AGAIN_S).target_language == "fr"
        orchestrator.wait_state("x", "grace", RIGHT_AGAIN_S)
        with publish(media.rtsp("live/x/in?lang=fr")):
            media.wait_available("live/x/in")
            assert orchestrator.wait_state("x", "running", RIGHT_AGAIN_S).target_language == "fr"
        assert hook_events(orchestrator, "ready") == ""
    assert "hook ready: ConnectionRefusedError" in media.log()


def test_a_worker_outlives_mediamtx_killed_and_started_again(media: MediaMtx, settings: config.Settings) -> None:
    with RunningOrchestrator(settings) as orchestrator:
        with publish(media.rtmp("live/x/in")):
            media.wait_available("live/x/in")
            before = orchestrator.wait_state("x", "running", RIGHT_AGAIN_S)
            media.kill()
            wait_for(lambda: orchestrator.http.get("/healthz").status_code == 503, RIGHT_AGAIN_S, "health to say so")
        media.start()
        wait_for(lambda: orchestrator.http.get("/healthz").status_code == 200, RIGHT_AGAIN_S, "health to recover")
        orchestrator.wait_state("x", "grace", RIGHT_AGAIN_S)
        with publish(media.rtmp("live/x/in")):
            media.wait_available("live/x/in")
            after = orchestrator.wait_state("x", "running", RIGHT_AGAIN_S)
            assert after.worker is not None
            assert before.worker is not None
            assert (after.worker.pid, after.run_id) == (before.worker.pid, before.run_id)
            assert after.source_id != before.source_id


def test_an_orchestrator_that_starts_late_finds_the_streams(media: MediaMtx, settings: config.Settings) -> None:
    with ExitStack() as publishers:
        with RunningOrchestrator(settings):  # who lets them in
            publishers.enter_context(publish(media.rtmp("live/x/in")))
            publishers.enter_context(publish(media.rtsp("live/y/in")))
            media.wait_available("live/x/in")
            media.wait_available("live/y/in")
        with RunningOrchestrator(settings) as orchestrator:
            streams = [orchestrator.wait_state(name, "running", RIGHT_AGAIN_S) for name in ("x", "y")]
    assert not [s for s in streams if s.worker is not None and psutil.pid_exists(s.worker.pid)]


def test_a_takeover_keeps_the_worker(media: MediaMtx, settings: config.Settings) -> None:
    with RunningOrchestrator(settings) as orchestrator, publish(media.rtmp("live/x/in")):
        media.wait_available("live/x/in")
        before = orchestrator.wait_state("x", "running", RIGHT_AGAIN_S)

        def taken_over() -> bool:
            stream = orchestrator.stream("x")
            return stream is not None and stream.state == "running" and stream.source_id != before.source_id

        with publish(media.rtmp("live/x/in")):
            wait_for(taken_over, 10, "the second publisher's stream to run")
            after = orchestrator.stream("x")
            assert after is not None
            assert after.worker is not None
            assert before.worker is not None
            assert after.worker.pid == before.worker.pid


@pytest.mark.parametrize("path", ["live/a;b/in", "live/a.b/in", "other", "live/x/y/in"])
def test_paths_that_are_no_streams_are_refused_by_mediamtx(media: MediaMtx, path: str) -> None:
    with publish(media.rtmp(path)) as publisher:
        assert publisher.wait(15) != 0
    assert "is not configured" in media.log() or "invalid path name" in media.log()


def test_mediamtx_listens_on_loopback_only(media: MediaMtx) -> None:
    assert media.process is not None
    listening = [c.laddr for c in psutil.Process(media.process.pid).net_connections() if c.status in {"LISTEN", "NONE"}]
    assert len(listening) == 8
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert httpx2.get(f"http://127.0.0.1:{media.settings().metrics_port}/metrics", trust_env=False).status_code == 200
