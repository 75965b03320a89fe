"""One worker for an output: MediaMTX lets each of two throw the other out, and both come back, over and over.

The lock is the kernel's: it is free as soon as its holder is gone, however that one ended.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from dubrelay import logs
from dubrelay.errors import MediaError
from dubrelay.wire.worker import WorkerSettings

_WAIT_S = 10.0
"""One that is about to end needs less."""
_LOOK_S = 0.05


def lock_file(settings: WorkerSettings) -> Path:
    """Named by the output's server as well: the same stream of another one is another output."""
    server = urlsplit(settings.output_url)
    return settings.paths.state_dir / "run" / f"{server.hostname}-{server.port}-{settings.stream_id}.lock"


@contextmanager
def claimed(settings: WorkerSettings, stop: threading.Event) -> Iterator[None]:
    """Waits until no other worker has the output, or `stop` is set. MediaError after _WAIT_S.

    Where there can be no such file, as on a full disk, the stream goes on without.
    """
    path = lock_file(settings)
    try:
        taken = _lock_when_free(path, stop)
    except OSError as e:
        logs.get().warning("output_not_locked", file=str(path), error=e.strerror)
        taken = None
    with taken or nullcontext() as lock:
        try:
            yield
        finally:
            if lock is not None:
                path.unlink(missing_ok=True)  # as long as it is ours


def _lock_when_free(path: Path, stop: threading.Event) -> IO[bytes] | None:
    """None when `stop` came first."""
    until, said = time.monotonic() + _WAIT_S, False
    while (lock := _lock(path)) is None:
        if time.monotonic() >= until:
            raise MediaError(f"another worker has the output: {_holder(path)}, by {path}; end it", code="OUTPUT_TAKEN")
        if not said:
            logs.get().warning("output_taken", by=_holder(path), wait_s=_WAIT_S)
            said = True
        if stop.wait(_LOOK_S):
            return None
    return lock


def _lock(path: Path) -> IO[bytes] | None:
    """None when another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not path.samefile(f"/proc/self/fd/{file.fileno()}"):
            raise FileNotFoundError  # taken away by the one who had it, between opening and locking
    except (BlockingIOError, FileNotFoundError):
        file.close()
        return None
    with suppress(OSError):  # for people only
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
    return file


def _holder(path: Path) -> str:
    try:
        return f"pid {path.read_text('ascii').strip()}"
    except OSError:
        return "one that has just ended"
