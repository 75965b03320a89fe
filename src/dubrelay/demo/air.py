"""The demo's publisher and its viewer: two ffmpeg processes that copy, one into MediaMTX and one out of it."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dubrelay.errors import MediaError
from dubrelay.ffmpeg import QUIET, last_line

_RETRY_S = 0.2
_END_S = 5.0
_UNTIL_WE_END = ("setpriv", "--pdeathsig", "TERM", "--")
"""However we end: a programme that is repeated would never end."""


class Publisher:
    """Sends a file as if it were live. `ended` tells when it is through, or why it stopped."""

    def __init__(self, file: Path, url: str, seconds: float | None, loop: bool, query: str) -> None:
        again = ["-stream_loop", "-1"] if loop else []
        length = ["-t", f"{seconds:g}"] if seconds is not None else []
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        name = url.rpartition("/")[2]
        # Everybody on the machine can read arguments: what stands in the query goes by a file of options.
        options = _readable(f"rtmp_playpath={name}?{query}\n" if query else "")
        self._process = subprocess.Popen(
            [*_UNTIL_WE_END, *QUIET, "-re", *again, "-i", str(file), *length, "-c", "copy"]
            + (["-fpre", f"/dev/fd/{options}"] if query else [])
            + ["-f", "flv", url],
            stdin=subprocess.DEVNULL,
            pass_fds=(options,),
            stdout=subprocess.DEVNULL,
            stderr=self._words,
            process_group=0,  # Ctrl-C is for us; we end it
        )
        os.close(options)

    def ended(self) -> bool:
        """MediaError when it did not end well."""
        code = self._process.poll()
        if code:
            self._words.seek(0)
            why = last_line(self._words.read().decode(errors="replace"))
            raise MediaError(f"the programme could not be published: {why}")
        return code == 0

    def close(self) -> None:
        _end(self._process)
        self._words.close()


class Recorder:
    """Records what a path shows from its first moment on, into a file that can be played even when all is killed."""

    def __init__(self, url: str, out: Path, available: Callable[[], bool]) -> None:
        self._url, self._out, self._available = url, out, available
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()
        out.unlink(missing_ok=True)
        self._thread = threading.Thread(target=self._record, name="recorder", daemon=True)
        self._thread.start()

    @property
    def recording(self) -> bool:
        return self._process is not None and self._process.poll() is None and self._out.exists()

    def _record(self) -> None:
        """The viewer comes when there is something to see, and comes again until the first time it saw something."""
        while not self._closing.wait(_RETRY_S):
            if self._available():
                self._process = self._start()
                self._process.wait()
                if self._out.exists() and self._out.stat().st_size:
                    return

    def _start(self) -> subprocess.Popen[bytes]:
        fragments = ["-movflags", "frag_keyframe+delay_moov+default_base_moof", "-f", "mp4"]
        return subprocess.Popen(
            [*QUIET, "-y", "-rw_timeout", "15000000", "-i", self._url, "-c", "copy", *fragments, str(self._out)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def close(self) -> None:
        self._closing.set()
        if self._process is not None:
            _end(self._process)
        self._thread.join(_END_S)


def _readable(text: str) -> int:
    """A pipe with the text in it."""
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    return reader


def _end(process: subprocess.Popen[bytes]) -> None:
    """ffmpeg finishes its file on an interrupt."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_END_S)


@contextmanager
def publishing(file: Path, url: str, seconds: float | None, loop: bool, query: str = "") -> Iterator[Publisher]:
    """`query`: what follows the stream's name, with its key."""
    publisher = Publisher(file, url, seconds, loop, query)
    try:
        yield publisher
    finally:
        publisher.close()


@contextmanager
def recording(url: str, out: Path, available: Callable[[], bool]) -> Iterator[Recorder]:
    recorder = Recorder(url, out, available)
    try:
        yield recorder
    finally:
        recorder.close()
