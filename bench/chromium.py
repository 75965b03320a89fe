"""Debian's Chromium over its DevTools pipe, with nothing turned on that is not asked for.

Playwright turns the Network domain on, for which a page keeps what it loads, up to 200 MB of it: of no use where memory
is measured. Source: Chrome DevTools Protocol, `--remote-debugging-pipe` (JSON, each message ended by a NUL byte).
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root has none; what is shown is our own page
    "--remote-debugging-pipe",
    "--enable-precise-memory-info",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--mute-audio",
)
_ANSWER_S = 60.0
_READS, _WRITES = 3, 4
"""The descriptors that Chromium takes for its pipe."""


class Chromium:
    def __init__(self, directory: Path) -> None:
        theirs, self._into = os.pipe()
        self._out_of, answers = os.pipe()
        given = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs, answers)]

        def connect() -> None:
            for fd, wanted in zip(given, (_READS, _WRITES), strict=True):
                os.dup2(fd, wanted)

        self.process = subprocess.Popen(
            [shutil.which("chromium") or "chromium", *_FLAGS, f"--user-data-dir={directory / 'chromium'}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=connect,  # noqa: PLW1509  (a bench of one thread)
            pass_fds=(_READS, _WRITES),
        )
        for fd in (theirs, answers, *given):
            os.close(fd)
        self._numbers, self._read = itertools.count(1), b""

    def __enter__(self) -> Chromium:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.wait(20)
        os.close(self._into)
        os.close(self._out_of)

    def open(self, url: str, width: int, height: int) -> Tab:
        """A page of that size, which is being loaded."""
        target = self.ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        tab = Tab(self, target, session)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        tab.ask("Emulation.setDeviceMetricsOverride", size)
        tab.ask("Page.setBypassCSP", {"enabled": True})
        tab.ask("Page.navigate", {"url": url})
        return tab

    def ask(self, method: str, params: dict[str, Any], session: str = "") -> dict[str, Any]:
        """RuntimeError with what Chromium says when it refuses, TimeoutError when it says nothing."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._into, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + _ANSWER_S
        while True:
            answer = self._message(until)
            if answer.get("id") == number:
                break
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error'].get('message', '')}")
        result: dict[str, Any] = answer["result"]
        return result

    def _message(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._read:
            if not select.select([self._out_of], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError("Chromium does not answer")
            block = os.read(self._out_of, 1 << 20)
            if not block:
                raise RuntimeError("Chromium has ended")
            self._read += block
        first, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message


class Tab:
    def __init__(self, browser: Chromium, target: str, session: str) -> None:
        self._browser, self._target, self._session = browser, target, session

    def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._browser.ask(method, params or {}, self._session)

    def evaluate(self, expression: str) -> Any:
        """As if a person had done it: sound may begin. RuntimeError with what the page threw."""
        params = {"expression": expression, "returnByValue": True, "awaitPromise": True, "userGesture": True}
        found = self.ask("Runtime.evaluate", params)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"].get("exception", {}).get("description", "the page threw"))
        return found["result"].get("value")

    def close(self) -> None:
        self._browser.ask("Target.closeTarget", {"targetId": self._target})
