"""The orchestrator, asked as a user would: its real application on a real server in a thread, with fake workers or real
ones, or the real process, to be killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir
from types import TracebackType
from typing import Any, Self

import httpx2
import psutil
import uvicorn

from dubrelay import config
from dubrelay.orchestrator.app import build_app, server_config
from dubrelay.orchestrator.supervisor import Supervisor
from dubrelay.wire.streams import STREAMS_PATH, StreamDetails
from waiting import wait_for

FAKE_WORKER = (sys.executable, str(Path(__file__).parent / "orchestrator/fake_worker.py"))


class _Asked:
    """What both have in common."""

    def __init__(self, settings: config.Settings) -> None:
        self.settings = settings
        if settings.paths == config.Paths():  # what this checkout keeps is not a test's business
            nowhere = config.Paths(state_dir=Path(gettempdir()) / uuid.uuid4().hex)
            self.settings = settings.model_copy(update={"paths": nowhere})
        expires = httpx2.Limits(keepalive_expiry=2)  # before the server ends it: a request would meet its end
        self.http = httpx2.Client(base_url=settings.orchestrator.url, timeout=5, trust_env=False, limits=expires)

    def get(self, path: str) -> Any:
        return self.http.get(path).json()

    def stream(self, stream_id: str) -> StreamDetails | None:
        answer = self.http.get(f"{STREAMS_PATH}/{stream_id}")
        return None if answer.status_code == 404 else StreamDetails.model_validate(answer.json())

    def wait_state(self, stream_id: str, state: str, timeout_s: float = 10) -> StreamDetails:
        def reached() -> StreamDetails | None:
            stream = self.stream(stream_id)
            return stream if stream is not None and stream.state == state else None

        found = wait_for(reached, timeout_s, f"stream {stream_id} to be {state}; it is {self.stream(stream_id)}")
        assert found is not None
        return found


class RunningOrchestrator(_Asked):
    """with RunningOrchestrator(settings, FAKE_WORKER) as orchestrator: ...

    Listens on `settings.orchestrator.port`.
    """

    def __init__(
        self,
        settings: config.Settings,
        command: tuple[str, ...] = FAKE_WORKER,
        alert_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(settings)
        app = build_app(self.settings, Supervisor(settings.orchestrator, command), alert_clock=alert_clock)
        self._server = uvicorn.Server(server_config(app, settings))
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self._server.started, 10, "the orchestrator to start")
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive(), "the orchestrator does not end"


class OrchestratorProcess(_Asked):
    """with OrchestratorProcess(settings, tmp_path) as orchestrator: ...; orchestrator.kill(); orchestrator.start()

    Its workers are real ones. What it says goes into `log_file`.
    """

    def __init__(self, settings: config.Settings, directory: Path) -> None:
        super().__init__(settings)
        self.log_file = directory / "orchestrator.log"
        self.process: psutil.Popen | None = None

    def start(self) -> None:
        """Returns once it has read MediaMTX's list."""
        environ = os.environ | config.to_environ(self.settings)
        command = [sys.executable, "-m", "dubrelay", "orchestrator", "--config", os.devnull]
        with self.log_file.open("ab") as log:
            self.process = psutil.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)
        wait_for(self._healthy, 30, f"the orchestrator to be healthy; log: {self.log_file}")

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    def children(self) -> set[int]:
        """Of it and of what it started."""
        return {child.pid for child in self.process.children(recursive=True)} if self.process else set()

    def worker_pid(self, stream_id: str) -> int | None:
        stream = self.stream(stream_id)
        return stream.worker.pid if stream and stream.worker else None

    def _healthy(self) -> bool:
        with suppress(httpx2.HTTPError):
            return self.http.get("/healthz").status_code == 200
        return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.http.close()
        self.kill(signal.SIGTERM)
