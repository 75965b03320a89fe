"""freeze.py PID: stops the first thread of a process, and no other, until stdin ends.

A process of its own: what traces must be one thread from beginning to end, and its waiting must not be mixed up with
that of the process's parent. The kernel lets the thread go on when this process dies.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
ALL_THREADS = 0x40000000


def ptrace(request: int, pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_void_p(), ctypes.c_void_p()]
    if libc.ptrace(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main(pid: int) -> int:
    ptrace(SEIZE, pid)
    ptrace(INTERRUPT, pid)
    os.waitpid(pid, ALL_THREADS)
    sys.stdout.write("frozen\n")
    sys.stdout.flush()
    sys.stdin.read()
    with suppress(ProcessLookupError):  # it was killed meanwhile
        ptrace(DETACH, pid)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
