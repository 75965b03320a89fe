"""A real STS service process for tests, on a free port."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from dubrelay import config
from media import free_port
from waiting import wait_for

MOCK = {"asr": ["mock"], "mt": ["mock"], "tts": ["mock"], "tts_fast": []}


class RunningSts:
    """with RunningSts(tmp_path, **MOCK, faults={"delay_ms": 300}) as sts: ... sts.url"""

    def __init__(self, directory: Path, **sts: Any) -> None:
        self.settings = config.validated(config.Sts, {"port": free_port(), **sts}, "test")
        self.url = self.settings.url
        self._log_file = directory / "sts.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._verify: ssl.SSLContext | bool = True

    def start_trusting(self, verify: ssl.SSLContext | bool) -> Self:
        """`start` over https."""
        self._verify = verify
        return self.start()

    def start(self, **faults: Any) -> Self:
        """Returns once the models are warm. `faults` replace those given before."""
        if faults:
            self.settings = self.settings.model_copy(update={"faults": config.StsFaults(**faults)})
        environ = os.environ | config.to_environ(config.Settings(sts=self.settings))
        with self._log_file.open("ab") as log:
            command = [sys.executable, "-m", "dubrelay", "sts"]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)
        try:
            wait_for(self._healthy, 60, f"the STS service to be warm; log: {self._log_file}")
        except AssertionError:
            self.stop(signal.SIGKILL)
            raise
        return self

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(signal_number)
            self.process.wait(20)
            self.process = None

    def _healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self._log_file.read_text(errors="replace")[-2000:]
        with suppress(httpx2.HTTPError):
            return httpx2.get(f"{self.url}/health", timeout=2, trust_env=False, verify=self._verify).status_code == 200
        return False

    def __enter__(self) -> Self:
        return self if self.process else self.start()

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.stop()
