"""Whether a file has changed since it was read."""

from __future__ import annotations

from pathlib import Path

Looks = tuple[int, ...] | None
"""What changes when a file does; None while there is none."""


def looks_of(path: Path) -> Looks:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
