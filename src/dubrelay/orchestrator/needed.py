"""What this machine lacks: `dubrelay doctor`'s table, found by that command in a process of its own, as it starts
programs and loads libraries that the orchestrator has no use for.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from pydantic import ValidationError

from dubrelay.config import ENV_PREFIX, Settings, to_environ
from dubrelay.orchestrator.refused import Refused
from dubrelay.wire.firstrun import DoctorTable

DOCTOR = (sys.executable, "-m", "dubrelay", "doctor", "--json", "--config", os.devnull)
KEPT_S = 15.0
"""Each look costs seconds of a core."""
TIMEOUT_S = 120.0


class Needed:
    """Used on one event loop."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str] = os.environ, command: Sequence[str] = DOCTOR
    ) -> None:
        inherited = {name: value for name, value in environ.items() if not name.startswith(ENV_PREFIX)}
        self._environ = inherited | to_environ(settings)
        self._command = command
        self._one = asyncio.Lock()
        self._found: DoctorTable | None = None
        self._found_at = 0.0

    async def table(self) -> DoctorTable:
        """As it was KEPT_S ago at most; who asks meanwhile waits for the same. Refused when doctor has no answer."""
        async with self._one:
            if self._found is None or time.monotonic() - self._found_at > KEPT_S:
                self._found = await self._look()
                self._found_at = time.monotonic()
            return self._found

    async def _look(self) -> DoctorTable:
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env=self._environ
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
            return DoctorTable.model_validate_json(out)
        except (TimeoutError, ValidationError) as e:
            message = f"`dubrelay doctor` gave no answer (exit code {process.returncode})"
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "NO_ANSWER", message) from e
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
