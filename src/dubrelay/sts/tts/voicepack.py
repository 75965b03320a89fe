"""Kokoro's voices in files of the operator's: an .npz of many, or an .npy or .bin of one that is named like its file.

A voice is a table of styles, (n, 256) float32: row i is for a text of i + 1 letters. Nothing here unpickles anything.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dubrelay.errors import StartupError, first_line

STYLE = 256
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SUFFIXES = (".npz", ".npy", ".bin")

Styles = dict[str, npt.NDArray[np.float32]]


def missing(path: Path) -> str:
    """ "" when there is something at `path`, else what to do."""
    return (
        ""
        if path.exists()
        else f"voices = {str(path)!r} does not exist: a file {_allowed()}, or a folder of such files"
    )


def read(path: Path) -> Styles:
    """By name, in the order of the file, or by name where it is a folder. StartupError where it is no voice pack."""
    if not path.is_dir():
        return _one(path)
    styles: Styles = {}
    for file in sorted(path.iterdir()):
        if file.suffix in _SUFFIXES:
            styles |= _one(file)
    if not styles:
        raise StartupError(f"voices = {str(path)!r}: the folder has no file {_allowed()}")
    return styles


def _one(path: Path) -> Styles:
    try:
        tables = _tables(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as e:
        raise StartupError(f"voices: {path} is no voice pack: {first_line(e)}") from e
    if not tables:
        raise StartupError(f"voices: {path} has no voices")
    return {name: _checked(path, name, table) for name, table in tables.items()}


def _tables(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    with path.open("rb") as file:
        magic = file.read(6)
        file.seek(0)
        if magic[:2] == b"PK":
            with np.load(file, allow_pickle=False) as packed:
                return {name: packed[name] for name in packed.files}
        if magic == b"\x93NUMPY":
            return {path.stem: np.load(file, allow_pickle=False)}
        if path.suffix == ".bin":
            return {path.stem: np.fromfile(file, "<f4")}
    raise ValueError(f"it must be {_allowed()}")


def _checked(path: Path, name: str, table: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if not _NAME.fullmatch(name):
        raise StartupError(f"voices: {path} has a voice {name!r}: letters, digits and _.- are allowed, 64 at most")
    if table.dtype.kind != "f" or not table.size or table.size % STYLE or not np.isfinite(table).all():
        raise StartupError(f"voices: {path}: {name} is {table.dtype} {table.shape}: it must be numbers (n, {STYLE})")
    return table.astype(np.float32).reshape(-1, STYLE)


def _allowed() -> str:
    return " or ".join(_SUFFIXES)
