"""Child processes that are started together, waited for, started again when they die, and ended together.

Each is a session of its own, so that a terminal's Ctrl-C reaches only us, and gets SIGTERM from the kernel should we
die without a word.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

from dubrelay.errors import ConfigError, StartupError

Say = Callable[[str], None]

_LOOK_S = 0.3
_PATIENCE_S = 3.0
_STEADY_S = 60.0
"""A child that lived so long starts again after the shortest delay."""
_SHORTEST_BACK_OFF_S, _LONGEST_BACK_OFF_S = 1.0, 30.0
_DO_NOT_RESTART = (ConfigError.exit_code, StartupError.exit_code)


@dataclass(frozen=True)
class Part:
    """One child process: what it is called, how it starts, and how it says that it is ready."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    """All of it; secrets go here, as arguments can be read by every user of the machine."""
    ready: Callable[[float], bool]
    """Whether it is, asked in at most so many seconds."""
    ready_timeout_s: float
    log: Path
    """What it says; what it said the time before is kept beside it as .log.1."""
    stop_timeout_s: float = 8.0
    """When it has not ended so long after SIGTERM, it is killed."""


@dataclass
class _Child:
    part: Part
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    deaths: int = 0
    restart_at: float | None = None
    awaited: bool = False
    """It was started again, and has not answered since."""
    given_up: bool = False

    @property
    def exit_code(self) -> int | None:
        return self.process.poll() if self.process else None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Children:
    """`start`, then `stop` whatever happens; `say` gets one line per event."""

    def __init__(self, parts: Sequence[Part], say: Say) -> None:
        self._children = [_Child(part) for part in parts]
        self._say = say
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        """Returns once all answer. StartupError names the one that does not, and what it said last."""
        for child in self._children:
            _start(child)
        for child in self._children:
            _await_ready(child)
            self._say(f"{child.part.name} is ready")
        self._keeper.start()

    def stop(self) -> None:
        """In the reverse order, one after the other: the last one may still want to say goodbye to the first."""
        self._over.set()
        if self._keeper.is_alive():
            self._keeper.join()
        for child in reversed(self._children):
            _end(child)

    def pids(self) -> dict[str, int]:
        """Of the children that live, by name."""
        return {c.part.name: c.process.pid for c in self._children if c.process and c.alive}

    def _keep(self) -> None:
        # The kernel tells a child of its parent's death when the thread that started it ends: nothing may come between
        # the end of this thread and the end of its children.
        while not self._over.wait(_LOOK_S):
            for child in self._children:
                if child.alive:
                    self._look_for(child)
                elif not child.given_up:
                    self._revive(child)

    def _look_for(self, child: _Child) -> None:
        if child.awaited and child.part.ready(_LOOK_S):
            child.awaited = False
            self._say(f"{child.part.name} is ready again")

    def _revive(self, child: _Child) -> None:
        if child.restart_at is None:
            self._mourn(child)
        elif time.monotonic() >= child.restart_at:
            child.restart_at = None
            child.awaited = True
            _start(child)

    def _mourn(self, child: _Child) -> None:
        ended = f"{child.part.name} ended with exit code {child.exit_code}"
        if child.exit_code in _DO_NOT_RESTART:
            child.given_up = True
            self._say(f"{ended} and stays down: {_last_words(child.part)}")
            return
        now = time.monotonic()
        child.deaths = 0 if now - child.started_at > _STEADY_S else child.deaths
        wait_s = min(_SHORTEST_BACK_OFF_S * 2**child.deaths, _LONGEST_BACK_OFF_S)
        child.deaths += 1
        child.restart_at = now + wait_s
        self._say(f"{ended}; starting it again in {wait_s:g} s")


def answers(url: str, verify: ssl.SSLContext | bool = True, timeout_s: float = _PATIENCE_S) -> bool:
    """Whether a GET of `url` is answered with 200, no step of it taking longer than `timeout_s`. `verify`: whose
    certificate it may show when it is https.
    """
    try:
        with httpx2.Client(verify=verify, trust_env=False, timeout=timeout_s) as client:
            return client.get(url).status_code == httpx2.codes.OK
    except httpx2.HTTPError:
        return False


def listens(host: str, port: int, timeout_s: float = _PATIENCE_S) -> bool:
    """Whether somebody accepts a connection there."""
    try:
        socket.create_connection((host, port), timeout_s).close()
    except OSError:
        return False
    return True


def _start(child: _Child) -> None:
    part = child.part
    part.log.parent.mkdir(parents=True, exist_ok=True)
    if part.log.exists():
        part.log.replace(part.log.with_suffix(".log.1"))
    command = ("setpriv", "--pdeathsig", "TERM", "--", *part.command)
    try:
        with part.log.open("wb") as log:
            child.process = subprocess.Popen(
                command,
                env=dict(part.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as e:
        raise StartupError(f"{part.name} cannot be started: {e.filename}: {e.strerror}") from e
    child.started_at = time.monotonic()


def _await_ready(child: _Child) -> None:
    part = child.part
    deadline = child.started_at + part.ready_timeout_s
    while not part.ready(_PATIENCE_S):
        if not child.alive:
            raise StartupError(f"{part.name} ended at once (exit code {child.exit_code}): {_last_words(part)}")
        if time.monotonic() > deadline:
            raise StartupError(f"{part.name} does not answer after {part.ready_timeout_s:g} s: {_last_words(part)}")
        time.sleep(_LOOK_S)


def _end(child: _Child) -> None:
    if child.process is None or not child.alive:
        return
    child.process.terminate()
    try:
        child.process.wait(child.part.stop_timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()


def _last_words(part: Part) -> str:
    lines = part.log.read_text("utf-8", "replace").splitlines()
    said = [line.strip() for line in lines if line.strip()]
    return f"{_readable(said[-1]) if said else 'it said nothing'} (log: {part.log})"


def _readable(line: str) -> str:
    """The gist of a line of ours in JSON; any other line as it is."""
    try:
        fields = dict(json.loads(line))
    except (ValueError, TypeError):
        return line.removeprefix("dubrelay: ")
    cause = str(fields.get("exception", "")).splitlines()[-1:]
    return ": ".join([*filter(None, (str(fields.get(key, "")) for key in ("event", "message"))), *cause])
