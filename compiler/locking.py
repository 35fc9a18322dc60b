"""One compile per model: an exclusive lock that dies with its holder.

The lock is the kernel's (through filelock); who holds it is told by a JSON file
beside it, which nobody needs to be true.
"""

from __future__ import annotations

import errno
import getpass
import json
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from compiler.errors import BusyError, UsageError
from compiler.opening import open_regular
from compiler.publish import explain, make_folder, publish_file
from compiler.sanitize import one_line

LOCK_NAME = ".lock"
HOLDER_NAME = ".lock.json"

_HOLDER_LIMIT_BYTES = 4096


@contextmanager
def lock_folder(folder: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of `folder` for the block, after waiting at most `wait_s` seconds.

    Raises:
        BusyError: somebody else holds it; the message names owner, host, pid and since when.
        UsageError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    make_folder(folder)
    path = folder / LOCK_NAME
    try:
        mode = _prepare(path)  # filelock would set its own mode over the umask
        lock = FileLock(str(path), timeout=wait_s, mode=mode)
        lock.acquire(poll_interval=0.1)
    except Timeout:
        raise BusyError(
            f"{folder} is in use by {describe_holder(folder)}", "wait for it to finish or stop that process"
        ) from None
    except OSError as error:
        raise explain(error, folder) from error
    try:
        _write_holder(folder)
        yield
    finally:
        with suppress(OSError):
            (folder / HOLDER_NAME).unlink()
        lock.release()


def _prepare(path: Path) -> int:
    """Make the lock file where there is none, writable for us; its mode.

    Whoever shares the prefix may have put a link or a device there: a lock is never taken through one.

    Raises:
        UsageError: it is not a regular file.
        OSError: it cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise UsageError(f"{path} is not a regular file", "remove it") from None
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path} is not a regular file", "remove it")
        mode = stat.S_IMODE(found.st_mode)
        if not mode & stat.S_IWUSR:  # of a copy with read-only modes
            mode |= stat.S_IRUSR | stat.S_IWUSR
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
    return mode


def describe_holder(folder: Path) -> str:
    """Say in one line who holds the lock of `folder`, as far as known."""
    try:
        with open_regular(folder / HOLDER_NAME, follow=False) as file:
            loaded = json.loads(file.read(_HOLDER_LIMIT_BYTES))
        owner, host, pid, since = (one_line(str(loaded[key]), 80) for key in ("owner", "host", "pid", "since"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
    return f"{owner} on {host}, pid {pid}, since {since}"


def _write_holder(folder: Path) -> None:
    holder = {
        "owner": _owner(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    content = json.dumps(holder).encode()
    publish_file(folder / HOLDER_NAME, lambda file: file.write(content), in_prefix=True)


def _owner() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"
