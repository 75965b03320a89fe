"""The sample programme on air, for who has nothing to send yet: a process of its own that publishes it as live/demo/in.

It gets a key that is made for it on its stdin, with the rest of what it has to know, and ends when that does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

from pydantic import ValidationError

from dubrelay import logs
from dubrelay.config import Settings
from dubrelay.errors import DubrelayError
from dubrelay.orchestrator import keys
from dubrelay.orchestrator.refused import Refused
from dubrelay.wire.firstrun import SampleView
from dubrelay.wire.sample import LOOP_S, STREAM_ID, SampleOrder, SampleReport, sample_file

PUBLISHER = (sys.executable, "-m", "dubrelay.demo.sample")
_KEY_LASTS_S = 86_400.0
_STOP_S = 3.0


class Sample:
    """Used on one event loop; `close` it. `busy` says whether somebody publishes live/demo/in."""

    def __init__(
        self,
        settings: Settings,
        busy: Callable[[], bool],
        command: Sequence[str] = PUBLISHER,
        seconds: float = LOOP_S,
    ) -> None:
        self._settings = settings
        self._busy = busy
        self._command = command
        self._seconds = seconds
        self._running: asyncio.Task[None] | None = None
        self._report: SampleReport | None = None

    def view(self) -> SampleView:
        report = self._report
        if report is None:
            return SampleView(stream_id=STREAM_ID, state="off")
        return SampleView(stream_id=STREAM_ID, state=report.state, percent=report.percent, message=report.message)

    def start(self, who: str) -> None:
        """Nothing where it runs already. Refused when somebody else publishes a stream of that name."""
        if self._running is not None and not self._running.done():
            return
        if self._busy():
            message = f"somebody publishes a stream {STREAM_ID} already"
            raise Refused(HTTPStatus.CONFLICT, "STREAM_IN_USE", message)
        logs.get().info("sample_started", who=who, streamId=STREAM_ID)
        self._report = SampleReport(state="making")
        self._running = asyncio.create_task(self._run())

    async def stop(self, who: str) -> None:
        """Returns when it is gone."""
        if self._report is not None:
            logs.get().info("sample_stopped", who=who, streamId=STREAM_ID)
        await self.close()

    async def close(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait([running])
        self._report = None

    async def _run(self) -> None:
        try:
            async with self._key() as key, self._process() as process:
                await self._tell(process, key)
                why = await self._listen(process)
                code = await process.wait()
            why = why or f"the process that publishes it ended with exit code {code}"
        except (DubrelayError, OSError) as e:
            why = str(e)
        logs.get().warning("sample_failed", message=why, streamId=STREAM_ID)
        self._report = SampleReport(state="failed", message=why)  # only now: it may be started again

    @asynccontextmanager
    async def _key(self) -> AsyncIterator[str]:
        """Files are locked and written for it, which the loop must not wait for."""
        made = keys.temporary(keys.file_of(self._settings.paths), STREAM_ID, STREAM_ID, _KEY_LASTS_S)
        key = await asyncio.to_thread(made.__enter__)
        try:
            yield key
        finally:
            await asyncio.to_thread(made.__exit__, None, None, None)

    @asynccontextmanager
    async def _process(self) -> AsyncIterator[Process]:
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _STOP_S)
            with suppress(ProcessLookupError):  # it leads a session, so its group is what it started
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def _tell(self, process: Process, key: str) -> None:
        assert process.stdin is not None
        order = SampleOrder(
            file=str(sample_file(self._settings.paths.state_dir, self._seconds)),
            seconds=self._seconds,
            url=self._settings.mediamtx.input_url(STREAM_ID, "rtmp"),
            query=f"key={key}",
        )
        with suppress(ConnectionError):  # one that is gone already shows as an exit
            process.stdin.write(order.model_dump_json().encode() + b"\n")
            await process.stdin.drain()

    async def _listen(self, process: Process) -> str:
        """Until it has nothing more to say; why it failed, where it said that."""
        assert process.stdout is not None
        why = ""
        async for line in process.stdout:
            with suppress(ValidationError):
                report = SampleReport.model_validate_json(line)
                if report.state == "failed":
                    why = report.message
                else:
                    self._report = report
        return why
