"""The worker process: settings as one JSON line on stdin and controls after it, status lines on stdout, logs on stderr,
exit codes.

Stdin stays open as long as whoever started the worker lives; its end stops the worker, so that none is left behind.
One whose starter is killed is killed by the kernel, too, even where it hangs: the next one need not wait for it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress

from dubrelay.config import validated
from dubrelay.errors import EXIT_BUG, ConfigError, DubrelayError
from dubrelay.wire.worker import WorkerSettings
from dubrelay.worker.run import leave, run

_HANGS_S = 10.0
_PR_SET_PDEATHSIG = 1


def main() -> int:
    _die_with_parent()
    faulthandler.enable()  # SIGABRT from the supervisor: where it hangs goes to the log
    try:
        settings = _settings_from(sys.stdin.readline())
    except DubrelayError as e:
        sys.stderr.write(f"dubrelay worker: {e.message}\n")
        return e.exit_code
    return run(settings, on_end_of_stdin=_stop)


def _die_with_parent() -> None:
    with suppress(OSError, AttributeError):  # another system: the end of stdin has to do
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _settings_from(line: str) -> WorkerSettings:
    try:
        values = json.loads(line)
    except ValueError as e:
        raise ConfigError(f"stdin: the first line is not JSON settings: {e}") from e
    return validated(WorkerSettings, values, "stdin")


def _stop(stop: threading.Event) -> None:
    stop.set()
    time.sleep(_HANGS_S)  # nobody is left who could kill a session that does not stop
    os._exit(EXIT_BUG)


if __name__ == "__main__":
    leave(main())
