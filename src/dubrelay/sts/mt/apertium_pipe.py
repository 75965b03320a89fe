"""One Apertium mode kept alive: its programs joined by pipes, each flushing at a NUL byte.

Where readings are to be chosen, the analyser, which comes first, is a chain of its own.

Apertium is GPL: these are programs of their own. They end when their input does, so they cannot outlive the service,
however it ends.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

MODES = Path("/usr/share/apertium/modes")
PROGRAM = "lt-proc"

_RESERVED = re.compile(r"([\[\]{}^$/\\@<>])")
_END = ".[]"
"""A full stop with an empty blank after it: the last sentence is translated as one, whatever it ends with."""


class PipeBroken(Exception):
    """A program of the pipe died, hung, or could not be started."""


def missing(mode: str, modes: Path = MODES) -> str:
    """ "" when a mode can be run, else what to do."""
    if shutil.which(PROGRAM) is None:
        return "the program apertium is missing: install the Debian package apertium"
    if not (modes / f"{mode}.mode").is_file():
        return f"Apertium's {mode} is missing: install the Debian package apertium-eng-spa"
    return ""


class ApertiumPipe:
    """Not safe for several threads."""

    def __init__(self, mode: str, chosen: Callable[[str], str] | None = None, modes: Path = MODES) -> None:
        """`chosen`: what becomes of the analysed text before the tagger gets it."""
        self._chosen = chosen or str
        self._chains: list[_Chain] = []
        try:
            commands = _commands((modes / f"{mode}.mode").read_text())
            for part in [commands] if chosen is None else [commands[:1], commands[1:]]:
                self._chains.append(_Chain(part))
        except OSError as e:
            self.close()
            raise PipeBroken(f"Apertium's {mode} cannot be started: {e}") from e

    @property
    def pids(self) -> list[int]:
        return [pid for chain in self._chains for pid in chain.pids]

    def translate(self, text: str, timeout_s: float) -> str:
        """PipeBroken when there is no answer in time; the pipe is of no use after that."""
        plain = " ".join(text.replace("\x00", " ").split())
        deadline = time.monotonic() + timeout_s
        *analyser, rest = self._chains
        text = _RESERVED.sub(r"\\\1", plain) + _END
        for chain in analyser:
            text = self._chosen(chain.answer(text, deadline))
        answer = rest.answer(text, deadline)
        return " ".join(re.sub(r"\\(.)", r"\1", answer.removesuffix(_END)).split())

    def close(self) -> None:
        for chain in self._chains:
            chain.close()


class _Chain:
    """Programs, each reading what the one before it writes."""

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        self._programs: list[subprocess.Popen[bytes]] = []
        source: int | IO[bytes] | None = subprocess.PIPE
        try:
            for command in commands:
                program = _started(command, source)
                self._programs.append(program)
                if isinstance(source, int):
                    self._into = _file(program.stdin)
                else:
                    _file(source).close()
                source = program.stdout
        except OSError:
            self.close()
            raise
        self._out_of = _file(self._programs[-1].stdout)

    @property
    def pids(self) -> list[int]:
        return [program.pid for program in self._programs]

    def answer(self, text: str, deadline: float) -> str:
        """To a text that ends with an empty blank. PipeBroken when there is none."""
        try:
            os.write(self._into.fileno(), text.encode() + b"\x00")
            answer = self._answer(deadline).decode("utf-8", "replace")
        except OSError as e:
            raise PipeBroken(f"Apertium died: {e}") from e
        if not answer.endswith("[]"):  # when a program dies, those after it still flush what they have
            raise PipeBroken("Apertium answered in part")
        return answer

    def close(self) -> None:
        """Ends the programs: by the end of their input, those that hang by force."""
        for program in self._programs:
            for stream in (program.stdin, program.stdout):
                if stream is not None and not stream.closed:
                    stream.close()
        deadline = time.monotonic() + 1.0
        for program in self._programs:
            try:
                program.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()

    def _answer(self, deadline: float) -> bytes:
        waiting = select.poll()
        waiting.register(self._out_of, select.POLLIN)
        answer = b""
        while not answer.endswith(b"\x00"):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not waiting.poll(left_s * 1000):
                raise PipeBroken("Apertium did not answer in time")
            block = os.read(self._out_of.fileno(), 65536)
            if not block:
                raise PipeBroken("Apertium died")
            answer += block
        return answer[:-1]


def _commands(mode: str) -> list[list[str]]:
    """The programs of a .mode file, as the `apertium -u` wrapper runs them, each flushing at NUL."""
    commands = []
    for stage in mode.strip().replace("$1", "-n").replace("$2", "").split("|"):
        program, *arguments = shlex.split(stage)
        commands.append([program, "-z", *arguments])
    return commands


def _started(command: Sequence[str], source: int | IO[bytes] | None) -> subprocess.Popen[bytes]:
    # LC_ALL: the tagger and the generator read bytes by the locale; nothing else of the environment matters to them.
    return subprocess.Popen(
        command,
        stdin=source,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        bufsize=0,
    )


def _file(stream: object) -> IO[bytes]:
    assert stream is not None
    return stream  # type: ignore[return-value]
