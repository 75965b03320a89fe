"""Nobody looks after it: publishers come and go, hooks are lost, the orchestrator is killed.

A real MediaMTX, the real process, real workers in bypass mode.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2
import psutil
import pytest

from dubrelay import config
from dubrelay.orchestrator.mediamtx import server_environment
from flash_and_beep import flash_and_beep
from flv_publisher import FlvPublisher, Tag, moved, tags_of
from media import INTERNAL_SECRET, OPEN, MediaMtx, free_mediamtx_settings, free_port
from running_orchestrator import OrchestratorProcess
from running_worker import state_in
from waiting import wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

CYCLES, STREAMS, SEED = 200, ("a", "b", "c", "d"), 6
STAYING = {"a", "c"}
GRACE_S = 1.0
GONE_AT_ONCE = 0.2
"""So many of them do not wait until MediaMTX has them."""
LOST, DOUBLED, LATE, LATE_S = 0.35, 0.15, 0.15, 2.5


@pytest.fixture
def settings(tmp_path: Path) -> config.Settings:
    return config.Settings(
        mediamtx=free_mediamtx_settings(),
        orchestrator=config.Orchestrator(
            port=free_port(), hook_token="a token", grace_s=GRACE_S, internal_secret=INTERNAL_SECRET
        ),
        access=OPEN,
        worker=config.Worker(mode="bypass"),
        paths=state_in(tmp_path),
    )


class LossyHooks:
    """Stands where MediaMTX thinks the orchestrator is: some events are lost, some come twice, some late."""

    def __init__(self, to: config.Orchestrator) -> None:
        self.lost = self.passed = 0
        dice, lock = random.Random(SEED), threading.Lock()
        hooks = self

        class Responder(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    fate = dice.random()
                hooks.lost += fate < LOST
                hooks.passed += fate >= LOST
                if fate >= LOST:
                    late_s = LATE_S if fate > 1 - LATE else 0.0
                    for _ in range(2 if fate < LOST + DOUBLED else 1):
                        threading.Timer(late_s, pass_on, (self.path, body, self.headers["X-Hook-Token"])).start()
                self.send_response(202 if fate >= LOST else 503)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        def pass_on(path: str, body: bytes, token: str) -> None:
            headers = {"X-Hook-Token": token, "Content-Type": "application/json"}
            with suppress(httpx2.HTTPError):
                httpx2.post(to.url + path, content=body, headers=headers, timeout=5, trust_env=False)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Responder)
        self.port = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


class Publisher:
    """Comes and goes on one stream, at times of its own."""

    def __init__(self, media: MediaMtx, stream: str, tags: list[Tag]) -> None:
        self._media, self._path, self._tags = media, f"live/{stream}/in", tags
        self._dice = random.Random(f"{SEED}{stream}")
        self._connection: FlvPublisher | None = None

    def come(self) -> None:
        self._connection = FlvPublisher(self._media.rtmp(self._path), for_ever(self._tags)).__enter__()

    def go(self) -> None:
        if self._connection is not None:
            self._connection.__exit__(None, None, None)
            self._connection = None

    def cycles(self, count: int, *, stays: bool) -> None:
        """The last one ends as a publisher that stays, or not."""
        for _ in range(count):
            self.go()
            time.sleep(self._dice.uniform(0, 1.7 * GRACE_S))
            self.come()
            if self._dice.random() > GONE_AT_ONCE:
                self._media.wait_available(self._path, 60)
            time.sleep(self._dice.uniform(0, 1.2 * GRACE_S))
        if not stays:
            self.go()


def for_ever(tags: list[Tag]) -> Iterator[tuple[float, Tag]]:
    """One after the other at the pace of their stamps, and from the beginning again."""
    length_ms = tags[-1].at_ms + 40
    for n in itertools.count():
        yield from moved((replace(tag, at_ms=tag.at_ms + n * length_ms) for tag in tags), lambda ms: ms)


@pytest.fixture
def hooks(settings: config.Settings) -> Iterator[LossyHooks]:
    with LossyHooks(settings.orchestrator) as hooks:
        yield hooks


@pytest.fixture
def media(tmp_path: Path, settings: config.Settings, hooks: LossyHooks) -> Iterator[MediaMtx]:
    deaf = settings.orchestrator.model_copy(update={"port": hooks.port})
    whom_to_ask = {"MTX_AUTHHTTPADDRESS": server_environment(settings)["MTX_AUTHHTTPADDRESS"]}
    with MediaMtx(tmp_path, settings.model_copy(update={"orchestrator": deaf}), whom_to_ask) as server:
        yield server


@pytest.fixture
def publishers(tmp_path: Path, media: MediaMtx) -> Iterator[dict[str, Publisher]]:
    tags = tags_of(flash_and_beep(tmp_path / "clip.flv", 20, b_frames=2, gop_s=1))
    made = {stream: Publisher(media, stream, tags) for stream in STREAMS}
    yield made
    for publisher in made.values():
        publisher.go()


def only_the_wanted_run(orchestrator: OrchestratorProcess) -> bool:
    """Workers of those that are published and no other process, by what it says of itself and by the system."""
    running = {}
    for stream_id in STREAMS:
        stream = orchestrator.stream(stream_id)
        state = stream.state if stream else "idle"
        if state != ("running" if stream_id in STAYING else "idle"):
            return False
        if stream and stream.worker:
            running[stream_id] = stream.worker.pid
    return set(running) == STAYING and orchestrator.children() == set(running.values())


def test_after_200_publishers_that_came_and_went_what_runs_is_what_is_wanted(
    tmp_path: Path, settings: config.Settings, hooks: LossyHooks, media: MediaMtx, publishers: dict[str, Publisher]
) -> None:
    with OrchestratorProcess(settings, tmp_path) as orchestrator:
        assert orchestrator.process is not None
        for stream in STAYING:
            publishers[stream].come()
        wait_for(lambda: only_the_wanted_run(orchestrator), 60, "the first workers")
        before = orchestrator.process.num_fds()
        with ThreadPoolExecutor() as pool:
            rounds = [
                pool.submit(publisher.cycles, CYCLES // len(STREAMS), stays=stream in STAYING)
                for stream, publisher in publishers.items()
            ]
            for done in rounds:
                done.result(800)
        wait_for(lambda: only_the_wanted_run(orchestrator), 60, "what is wanted to run, and nothing else")
        for stream in STAYING:
            media.wait_available(f"live/{stream}/out", 60)
        wait_for(lambda: orchestrator.process.num_fds() <= before + 2, 30, f"descriptors to be {before} again")
        assert hooks.lost > CYCLES // 4
        assert hooks.passed > CYCLES // 4
        assert "Traceback" not in orchestrator.log_file.read_text()
        children = orchestrator.children()
    assert not [pid for pid in children if psutil.pid_exists(pid)]
    assert list((tmp_path / "run").iterdir()) == [], "locks that nobody holds"


def test_a_killed_orchestrators_workers_are_replaced_and_never_two_publish(
    tmp_path: Path, settings: config.Settings, media: MediaMtx, publishers: dict[str, Publisher]
) -> None:
    """One of them hangs when it happens, and would not end by itself."""
    with OrchestratorProcess(settings, tmp_path) as orchestrator:
        for stream in STAYING:
            publishers[stream].come()
        for stream in STAYING:
            media.wait_available(f"live/{stream}/out", 60)
        wait_for(lambda: only_the_wanted_run(orchestrator), 60, "the first workers")
        old = orchestrator.children()
        psutil.Process(min(old)).suspend()
        orchestrator.kill()
        orchestrator.start()
        wait_for(lambda: only_the_wanted_run(orchestrator), 60, "other workers")
        for stream in STAYING:
            media.wait_available(f"live/{stream}/out", 60)
            assert media.log().count(f"is publishing to path 'live/{stream}/out'") == 2
        assert not [pid for pid in old if psutil.pid_exists(pid)]
        assert "existing publisher" not in media.log(), "one worker threw the other out"
