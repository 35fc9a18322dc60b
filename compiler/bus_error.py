"""A mapped file that somebody cuts short while it is read: one line and an exit code, no core dump.

Weights and programs are read where they lie, so the kernel answers a read behind the new end with
SIGBUS, in the middle of machine code. Python's own signal handlers run later, which is never: the
read is tried again first. So the handler is called by the kernel itself, finds the file that lost
pages among the process's mappings, says so, and leaves; files that are written aside (ours all are)
and locks of the kernel need no cleaning up. Standard library only.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from compiler.errors import ArtifactError

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def explain_bus_errors(program: str, restore: Callable[[], object] = lambda: None) -> None:
    """Have this process end with one line on stderr, exit code 6, when a file it has mapped was cut short.

    Args:
        program: what the line begins with.
        restore: called first, to give a terminal back.
    """
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        libc.signal.restype = ctypes.c_void_p
        libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        libc.signal(signal.SIGBUS, ctypes.cast(_handler(program, restore), ctypes.c_void_p))
    except (ImportError, OSError, AttributeError):
        return  # a system without: the signal ends the process


@cache
def _handler(program: str, restore: Callable[[], object]) -> Any:
    """The function the kernel calls; kept for the life of the process."""
    import ctypes

    def handle(_number: int) -> None:
        try:
            restore()
            what = f"{shortened_file() or 'a mapped file'} was cut short or could not be read while it was in use"
            error = ArtifactError(what, "compile the model again with --force")
            os.write(2, f"{program}: error: {error}\n".encode())
        finally:
            os._exit(ArtifactError.exit_code)

    return ctypes.CFUNCTYPE(None, ctypes.c_int)(handle)


def shortened_file() -> str:
    """The first mapped file of this process that is shorter than its mapping, "" when there is none."""
    for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) < 6 or not fields[5].startswith("/"):
            continue
        begin, end = (int(each, 16) for each in fields[0].split("-"))
        try:
            size = os.stat(fields[5]).st_size  # noqa: PTH116 - as little as possible in a signal handler
        except OSError:
            continue
        if int(fields[2], 16) + end - begin >= size + _PAGE_BYTES:
            return fields[5]
    return ""
