"""Fetching a model of a catalogue: only when asked to, resumed where it was cut off, and put in place as a whole.

Files are collected in a hidden folder beside the model's own. Each is checked against its SHA-256 there; when all are
right the folder gets the model's name. What is found under that name is therefore complete and was checked.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import httpx2

from dubrelay import __version__
from dubrelay.config import Paths
from dubrelay.errors import ConfigError, MediaError, StartupError
from dubrelay.models.catalogue import Model, ModelFile
from dubrelay.models.pins import FILES

Progress = Callable[[str, int], None]
"""Name of a file, bytes of it that are there."""

_TIMEOUT = httpx2.Timeout(30.0, connect=10.0)
_HEADERS = {"user-agent": f"dubrelay/{__version__}", "accept-encoding": "identity"}
_OK, _PARTIAL = 200, 206


def folder(name: str, paths: Paths) -> Path:
    """Where a pulled model belongs. ConfigError where it would take the place of a bundled one by surprise."""
    if paths.models_dir is not None:
        return paths.models_dir / name
    if name in FILES:
        raise ConfigError(f"model {name} is bundled: set paths.models_dir to put another in its place, or rename it")
    return paths.state_dir / "models" / name


def pull(name: str, model: Model, paths: Paths, progress: Progress = lambda file, done: None) -> Path:
    """The model's folder, complete and checked; nothing is fetched when it is there already.

    MediaError where the network fails: the next call goes on where this one was cut off. StartupError where a file is
    not what the catalogue says, or where there is no room or no right to write.
    """
    out = folder(name, paths)
    collected = out.with_name(f".{name}.pulling")
    try:
        collected.mkdir(parents=True, exist_ok=True)
        with _alone(name, collected):
            if out.exists():
                _check_the_same(name, model, out, progress)
            else:
                _check_room(name, model, collected)
                _collect(name, model, collected, progress)
                collected.rename(out)
    except OSError as e:
        raise StartupError(f"model {name}: {e.filename or collected}: {e.strerror}") from e
    finally:
        with suppress(OSError):  # what is half fetched stays
            collected.rmdir()
    return out


@contextmanager
def _alone(name: str, collected: Path) -> Iterator[None]:
    handle = os.open(collected, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartupError(f"model {name}: another process is pulling it already") from None
        yield
    finally:
        os.close(handle)


def _check_the_same(name: str, model: Model, out: Path, progress: Progress) -> None:
    for file in model.files:
        if not _is(out / file.name, file):
            raise StartupError(f"model {name}: {out} is there with another {file.name}, or none: remove or rename it")
        progress(file.name, file.size)


def _check_room(name: str, model: Model, collected: Path) -> None:
    needed = model.size - sum(path.stat().st_size for path in collected.iterdir())
    free = shutil.disk_usage(collected).free
    if needed > free:
        raise StartupError(f"model {name}: {collected.parent} has {free} bytes left, {needed} are needed")


def _collect(name: str, model: Model, collected: Path, progress: Progress) -> None:
    with httpx2.Client(timeout=_TIMEOUT, follow_redirects=True, headers=_HEADERS) as client:
        for file in model.files:
            if not _is(collected / file.name, file):
                _fetch(client, name, file, collected, progress)
            progress(file.name, file.size)
    for path in collected.iterdir():  # what was half fetched by another catalogue
        if path.name not in {file.name for file in model.files}:
            path.unlink()


def _fetch(client: httpx2.Client, name: str, file: ModelFile, collected: Path, progress: Progress) -> None:
    """The file gets its name when its checksum is right."""
    partial = collected / f".{file.sha256[:16]}.partial"
    with partial.open("ab") as target:
        if target.tell() < file.size:
            _receive(client, name, file, target, progress)
        target.flush()
        os.fsync(target.fileno())
    if not _is(partial, file):
        partial.unlink()
        raise StartupError(
            f"model {name}: {file.name} from {_shown(file.url)} has not the catalogue's SHA-256 "
            f"({file.sha256[:12]}...): nothing was put in place"
        )
    partial.rename(collected / file.name)


def _receive(client: httpx2.Client, name: str, file: ModelFile, target: BinaryIO, progress: Progress) -> None:
    """Appends what `target` lacks; begins anew where the server cannot go on in the middle."""
    done = target.tell()
    where = f"model {name}: {file.name} from {_shown(file.url)}"
    try:
        with client.stream("GET", file.url, headers={"range": f"bytes={done}-"} if done else {}) as answer:
            done = _begin(answer, done, file, where)
            target.truncate(done)
            for block in answer.iter_raw():
                done += len(block)
                if done > file.size:
                    raise StartupError(f"{where} is longer than the catalogue's {file.size} bytes")
                target.write(block)
                progress(file.name, done)
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, UnicodeError) as e:
        raise StartupError(f"{where}: not an address that can be asked") from e
    except httpx2.HTTPError as e:
        reason = str(e) or type(e).__name__
        raise MediaError(f"{where}: {reason}; {done} of {file.size} bytes are there, run it again to go on") from e
    if done < file.size:
        raise MediaError(f"{where} was cut off; {done} of {file.size} bytes are there, run it again to go on")


def _begin(answer: httpx2.Response, there: int, file: ModelFile, where: str) -> int:
    """How many bytes of the file come before what the answer holds."""
    if answer.status_code not in (_OK, _PARTIAL):
        refused = StartupError if answer.is_client_error else MediaError
        raise refused(f"{where}: the server answered {answer.status_code} {answer.reason_phrase}".rstrip())
    if answer.status_code == _OK:
        there = 0
    elif not re.match(rf"bytes {there}-", answer.headers.get("content-range", "")):
        raise StartupError(f"{where}: the server does not go on at byte {there} as asked")
    length = answer.headers.get("content-length", "")
    if length.isdecimal() and there + int(length) != file.size:
        raise StartupError(f"{where} has {there + int(length)} bytes, not the catalogue's {file.size}")
    return there


def _is(path: Path, file: ModelFile) -> bool:
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256


def _shown(url: str) -> str:
    """Without its query, which may hold a key."""
    return url.partition("?")[0]
