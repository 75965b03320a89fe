"""What keeps a process of many threads, through which sound goes in pieces, from growing for hours."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3
_ARENAS = 2
_MAPPED_BYTES = 64 * 1024


def share_memory() -> None:
    """Two of glibc's arenas for all threads: each thread could have its own, and what an arena once had it keeps.

    Sound comes and goes in pieces larger than a threshold that glibc would raise with each of them: mapped one by one,
    they leave no holes in an arena.
    """
    with suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
        libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)


def give_back() -> None:
    """Gives the holes in the arenas back to the system; some ms. What is in use does not grow over hours, they do."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
