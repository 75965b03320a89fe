"""The orchestrator's real application on a real server in a thread, with fake workers or real ones."""

from __future__ import annotations

import sys
import tempfile
import threading
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import uvicorn

from dubrelay import config
from dubrelay.orchestrator.app import build_app, server_config
from dubrelay.orchestrator.keys import Keys, file_of
from dubrelay.orchestrator.supervisor import Supervisor
from dubrelay.wire.streams import STREAMS_PATH, StreamDetails
from waiting import wait_for

FAKE_WORKER = (sys.executable, str(Path(__file__).parent / "orchestrator/fake_worker.py"))


class RunningOrchestrator:
    """with RunningOrchestrator(settings, FAKE_WORKER) as orchestrator: ...

    Listens on `settings.orchestrator.port`.
    """

    def __init__(self, settings: config.Settings, command: tuple[str, ...] = FAKE_WORKER) -> None:
        self.settings = settings
        app = build_app(settings, Supervisor(settings.orchestrator, command), _keys(settings.paths))
        self._server = uvicorn.Server(server_config(app, settings))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        expires = httpx2.Limits(keepalive_expiry=2)  # before the server ends it: a request would meet its end
        self.http = httpx2.Client(base_url=settings.orchestrator.url, timeout=5, trust_env=False, limits=expires)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self._server.started, 10, "the orchestrator to start")
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive(), "the orchestrator does not end"

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


def _keys(paths: config.Paths) -> Keys:
    """Of the test's own state folder; never those of this checkout."""
    if paths != config.Paths():
        return Keys(file_of(paths))
    return Keys(Path(tempfile.gettempdir()) / f"no-keys-{uuid.uuid4().hex}.json")
