"""Worker processes: start one, read what it says, notice when it hangs, stop it, and never leave one behind.

A worker gets one line of settings on stdin. The pipe stays open: its end tells the worker that nobody supervises it
any more, so none outlives an orchestrator that was killed.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil
from pydantic import ValidationError

from dubrelay import logs
from dubrelay.config import ENV_PREFIX, Orchestrator
from dubrelay.errors import MediaError, StartupError
from dubrelay.wire.control import Control
from dubrelay.wire.status import ControlReport, PhraseReport, WorkerStatus, parse_line
from dubrelay.wire.worker import WorkerSettings

WORKER = (sys.executable, "-m", "dubrelay.worker")
MAX_LINE_BYTES = 1 << 20
STACK_DUMP_S = 1.0
DRAIN_S = 1.0
LOOK_S = 0.5
TOO_LARGE_S = 30.0
"""A worker may be over its memory for so long; what a file or a burst takes is given back sooner."""
SHOWN_CHARACTERS = 300
_FAILURES = frozenset({"error", "critical"})


@dataclass(frozen=True)
class Exit:
    code: int
    """As a shell would see it: negative for a signal."""
    message: str
    """The last thing it said about what went wrong, or why we ended it."""


@dataclass(frozen=True)
class Usage:
    cpu_percent: float
    """Of one core, since the last look."""
    rss_bytes: int


class Supervisor:
    """Starts workers with `command`, under the time limits of the orchestrator's settings.

    Of `environ` they get what is no setting: theirs come on stdin, and keys of other parts are not for them.
    """

    def __init__(
        self, limits: Orchestrator, command: Sequence[str] = WORKER, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._limits = limits
        self._command = command
        self._environ = {name: value for name, value in environ.items() if not name.startswith(ENV_PREFIX)}

    def worker(
        self,
        settings: WorkerSettings,
        on_ready: Callable[[], None],
        on_phrase: Callable[[PhraseReport], None],
    ) -> WorkerProcess:
        """One that is not running yet; `run` it."""
        return WorkerProcess(self._command, self._environ, self._limits, settings, on_ready, on_phrase)


class _Protocol(SubprocessStreamProtocol):
    """Tells of the end at once: Process.wait() waits until the pipes are closed as well."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=MAX_LINE_BYTES, loop=loop)
        self.ended = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.ended.set()


class WorkerProcess:
    """One worker, from its start to its end. `on_ready` is called with its first status line."""

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        limits: Orchestrator,
        settings: WorkerSettings,
        on_ready: Callable[[], None],
        on_phrase: Callable[[PhraseReport], None],
    ) -> None:
        self._command = command
        self._environ = environ
        self._limits = limits
        self._settings = settings
        self._on_ready = on_ready
        self._on_phrase = on_phrase
        self._log = logs.get().bind(streamId=settings.stream_id, runId=settings.run_id)
        self._asked_to_stop = asyncio.Event()
        self._heard_at = 0.0
        self._large_since: float | None = None
        self._last_error = ""
        self._last_line = ""
        self._process: psutil.Process | None = None
        self._stdin: asyncio.StreamWriter | None = None
        self._control_ids = itertools.count(1)
        self._answers: dict[str, asyncio.Future[ControlReport | None]] = {}
        self.started_at = 0.0
        """Seconds since the epoch."""
        self.status: WorkerStatus | None = None
        self.pid: int | None = None

    def stop(self) -> None:
        """Asks for a graceful end; `run` returns when it has come, by force after stop_timeout_s."""
        self._asked_to_stop.set()

    async def tell(self, control: Control, timeout_s: float) -> ControlReport | None:
        """The worker's answer to `control`; None when none comes in time, or it ends."""
        if self._stdin is None:
            return None
        told = control.model_copy(update={"id": str(next(self._control_ids))})
        answer: asyncio.Future[ControlReport | None] = asyncio.get_running_loop().create_future()
        self._answers[told.id] = answer
        try:
            async with asyncio.timeout(timeout_s):
                self._stdin.write(told.model_dump_json(exclude_none=True).encode() + b"\n")
                await self._stdin.drain()
                return await answer
        except (TimeoutError, ConnectionError):
            return None
        finally:
            del self._answers[told.id]

    def usage(self) -> Usage | None:
        """None when it has just ended."""
        if self._process is None:
            return None
        try:
            return Usage(float(self._process.cpu_percent()), self._process.memory_info().rss)
        except psutil.Error:
            return None

    def _rss_bytes(self) -> int:
        """0 when it has just ended."""
        try:
            return int(self._process.memory_info().rss) if self._process else 0
        except psutil.Error:
            return 0

    async def run(self) -> Exit:
        """The whole life of the process. When this is cancelled the process is killed."""
        loop = asyncio.get_running_loop()
        try:
            transport, protocol = await loop.subprocess_exec(
                lambda: _Protocol(loop),
                *self._command,
                env=self._environ,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                start_new_session=True,
            )
        except OSError as e:
            lasting = isinstance(e, FileNotFoundError | PermissionError)
            kind = StartupError if lasting else MediaError
            return Exit(kind.exit_code, f"worker: {self._command[0]} cannot be started: {e.strerror}")
        process = Process(transport, protocol, loop)
        readers = [asyncio.create_task(self._read_status(process)), asyncio.create_task(self._read_log(process))]
        try:
            self._begin(process)
            await self._tell_settings(process)
            why = await self._watch(process, protocol.ended)
        finally:
            _kill_group(process)
            await protocol.ended.wait()
            # What the worker started could hold the pipes open, had it left the group.
            await asyncio.wait(readers, timeout=DRAIN_S)
            for reader in readers:
                reader.cancel()
            transport.close()
            await _closed(process.stdin)
            self.pid = self._process = self.status = self._stdin = None
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_result(None)
        code = process.returncode
        assert code is not None
        self._log.info("worker_ended", code=code, why=why)
        return Exit(code, why or self._last_error or self._last_line)

    def _begin(self, process: Process) -> None:
        self.pid = process.pid
        self.started_at = time.time()
        self._heard_at = time.monotonic()
        with suppress(psutil.Error):
            self._process = psutil.Process(process.pid)
        self._log.info("worker_process_started", pid=process.pid)

    async def _tell_settings(self, process: Process) -> None:
        assert process.stdin is not None
        # One that is gone already shows as an exit.
        with suppress(ConnectionError):
            process.stdin.write(self._settings.to_json().encode() + b"\n")
            await process.stdin.drain()
        self._stdin = process.stdin

    async def _watch(self, process: Process, ended: asyncio.Event) -> str:
        """Returns when the process has ended or has to be killed; why, when it was our doing."""
        waits = {asyncio.create_task(ended.wait()), asyncio.create_task(self._asked_to_stop.wait())}
        try:
            while True:
                silence_s = self._silence_allowed_s() - (time.monotonic() - self._heard_at)
                # Not longer than LOOK_S: the first status line puts the other limit in force.
                timeout_s = max(0.0, min(silence_s, LOOK_S))
                await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                if ended.is_set():
                    return ""
                if self._asked_to_stop.is_set():
                    return await self._stop_gracefully(process, ended)
                if time.monotonic() - self._heard_at >= self._silence_allowed_s():
                    return await self._end_hung(process, ended)
                if self._too_large():
                    return await self._end_large(process, ended)
        finally:
            for wait in waits:
                wait.cancel()

    def _silence_allowed_s(self) -> float:
        return self._limits.ready_timeout_s if self.status is None else self._limits.heartbeat_timeout_s

    async def _stop_gracefully(self, process: Process, ended: asyncio.Event) -> str:
        with suppress(ProcessLookupError):
            process.terminate()
        if await _set_within(ended, self._limits.stop_timeout_s):
            return ""
        self._log.warning("worker_does_not_stop", timeout_s=self._limits.stop_timeout_s)
        return f"killed: it did not stop within {self._limits.stop_timeout_s:g} s"

    def _too_large(self) -> bool:
        limit_bytes, now = self._limits.worker_memory_mb * 2**20, time.monotonic()
        if not limit_bytes or self._rss_bytes() <= limit_bytes:
            self._large_since = None
            return False
        self._large_since = now if self._large_since is None else self._large_since
        return now - self._large_since >= TOO_LARGE_S

    async def _end_large(self, process: Process, ended: asyncio.Event) -> str:
        allowed_mb, has_mb = self._limits.worker_memory_mb, round(self._rss_bytes() / 2**20)
        why = (
            f"stopped: it had more than orchestrator.worker_memory_mb = {allowed_mb} for {TOO_LARGE_S:g} s, "
            f"in the end {has_mb} MB"
        )
        self._log.error("worker_too_large", why=why)
        await self._stop_gracefully(process, ended)
        return why

    async def _end_hung(self, process: Process, ended: asyncio.Event) -> str:
        what = "did not become ready" if self.status is None else "said nothing"
        why = f"killed: it {what} for {self._silence_allowed_s():g} s"
        self._log.error("worker_hangs", why=why)
        # Python's faulthandler answers SIGABRT with the stack of every thread, on stderr.
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGABRT)
        await _set_within(ended, STACK_DUMP_S)
        return why

    async def _read_status(self, process: Process) -> None:
        assert process.stdout is not None
        async for text in _lines(process.stdout):
            try:
                line = parse_line(text)
            except ValidationError:
                self._log.warning("worker_stdout_not_a_status", line=_shown(text))
                continue
            if isinstance(line, WorkerStatus):
                self._heard(line)
            elif isinstance(line, PhraseReport):
                self._on_phrase(line)
            elif (answer := self._answers.get(line.id)) is not None and not answer.done():
                answer.set_result(line)

    def _heard(self, status: WorkerStatus) -> None:
        first = self.status is None
        self._heard_at = time.monotonic()
        self.status = status
        if first:
            self._on_ready()

    async def _read_log(self, process: Process) -> None:
        """Its lines are logs already and go on as they are; anything else becomes one."""
        assert process.stderr is not None
        async for text in _lines(process.stderr):
            entry = _json_object(text)
            if entry is None:
                self._last_line = _shown(text)
                self._log.warning("worker_stderr", line=self._last_line)
                continue
            if entry.get("level") in _FAILURES:
                self._last_error = str(entry.get("error") or entry.get("message") or entry.get("event"))
            sys.stderr.write(text.decode(errors="replace") + "\n")


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Lines without their end; one longer than MAX_LINE_BYTES is left out."""
    while True:
        try:
            text = await stream.readline()
        except ValueError:
            continue
        if not text:
            return
        if text.strip():
            yield text.rstrip()


async def _set_within(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return False
    return True


async def _closed(pipe: asyncio.StreamWriter | None) -> None:
    """Why it broke is asked for; asyncio logs an error that nobody asks for."""
    with suppress(OSError, TimeoutError):
        if pipe is not None:
            await asyncio.wait_for(pipe.wait_closed(), DRAIN_S)


def _json_object(text: bytes) -> dict[str, object] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _shown(text: bytes) -> str:
    return text.decode(errors="replace")[:SHOWN_CHARACTERS]


def _kill_group(process: Process) -> None:
    """The worker led a session of its own, so its group holds what it started and nothing else."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
