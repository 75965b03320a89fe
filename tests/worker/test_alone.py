"""A worker by hand beside an orchestrator: refused where the two would fight over the output."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dubrelay import config
from dubrelay.errors import StartupError
from dubrelay.worker.alone import refuse_second_worker
from fake_mediamtx import FakeMediaMtx
from media import free_port
from running_orchestrator import RunningOrchestrator

pytestmark = pytest.mark.service


def _settings(api_port: int) -> config.Settings:
    return config.Settings(
        mediamtx=config.MediaMtx(api_port=api_port),
        orchestrator=config.Orchestrator(port=free_port(), poll_interval_s=0.2, grace_s=0),
    )


def test_a_stream_that_an_orchestrator_sees_to_is_refused_in_one_line_and_no_other() -> None:
    with FakeMediaMtx() as fake, RunningOrchestrator(_settings(fake.port)) as orchestrator:
        fake.publish("x", "a1")
        orchestrator.wait_state("x", "running")
        done = subprocess.run(
            [sys.executable, "-m", "dubrelay", "worker", "x", "--config", os.devnull],
            env={**os.environ, **config.to_environ(orchestrator.settings)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == StartupError.exit_code
        (line,) = done.stderr.splitlines()
        assert f"the orchestrator at {orchestrator.settings.orchestrator.url} sees to stream 'x' (running)" in line
        refuse_second_worker(orchestrator.settings, "y")
        fake.leave("x")
        orchestrator.wait_state("x", "idle")
        refuse_second_worker(orchestrator.settings, "x")


def test_without_an_orchestrator_any_stream_is_free() -> None:
    refuse_second_worker(_settings(free_port()), "x")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"SSH-2.0\r\n", b""])
def test_what_else_may_answer_there_is_no_orchestrator(answer: bytes) -> None:
    settings = _settings(free_port())
    with _answering(settings.orchestrator.port, answer):
        refuse_second_worker(settings, "x")


@contextmanager
def _answering(port: int, answer: bytes) -> Iterator[None]:
    """Once."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", port)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(10)
