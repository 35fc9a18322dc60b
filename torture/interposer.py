"""Between a program and its files: counts every operation that changes a folder, and lets a chosen one fail.

Installed in a process of its own (see `torture.server`) before the program runs. It replaces
the functions of `os` and `io` through which Python writes, so it sees what the kernel is asked
for, in order, whatever thread asks. A fault kills the process with a real SIGKILL, or is the
error that a full or broken disk gives.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ON_DESCRIPTORS = frozenset({"write", "fsync", "truncate"})
KINDS = ("create", "write", "truncate", "fsync", "rename", "unlink", "mkdir", "rmdir", "chmod")
"""Operations that are counted."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at one operation.

    Attributes:
        at: number of the operation, 1 for the first; 0: none.
        action: "kill" before it, "tear" (half of a write, then kill), the name of a signal or of an errno.
        lasting: every later operation of the same kinds fails, too, as on a disk that stays full.
        kinds: which operations count.
    """

    at: int
    action: str = "kill"
    lasting: bool = False
    kinds: tuple[str, ...] = KINDS


Observer = Callable[[str, str, tuple[Any, ...]], None]
"""Told (kind, path, details) of every operation that went through."""


class Interposer:
    """Counts, and acts at the operation of its fault.

    Args:
        root: only what happens below this folder counts.
        fault: what to do.
        observer: told about every operation after it succeeded; not about those that failed.
    """

    def __init__(self, root: str, fault: Fault, observer: Observer | None = None) -> None:
        self.count = 0
        self._root = os.path.join(os.path.realpath(root), "")  # noqa: PTH118 - no Path while we replace what it calls
        self._fault = fault
        self._observer = observer
        self._lock = threading.RLock()

    def install(self) -> None:
        """Replace the functions, for the rest of the life of this process."""
        self._replace_path_calls()
        self._replace_descriptor_calls()
        self._replace_open()

    def before(self, kind: str, path: str, tear: Callable[[], object] | None = None) -> bool:
        """Count one operation and, if it is the one, act; whether it is below the root."""
        if not path.startswith(self._root):
            return False
        with self._lock:
            if kind in self._fault.kinds:
                self.count += 1
                hit = self.count == self._fault.at
                if hit or (self._fault.lasting and 0 < self._fault.at < self.count):
                    self._act(kind, path, tear)
        return True

    def after(self, kind: str, path: str, *details: Any) -> None:
        """Report an operation that succeeded."""
        if self._observer is not None:
            with self._lock:
                self._observer(kind, path, details)

    def _act(self, kind: str, path: str, tear: Callable[[], object] | None) -> None:
        if self._fault.action in ("kill", "tear"):
            if self._fault.action == "tear" and tear is not None:
                tear()
            os.kill(os.getpid(), signal.SIGKILL)
        if self._fault.action.startswith("SIG"):
            signal.raise_signal(signal.Signals[self._fault.action])
            return
        number = getattr(errno, self._fault.action)
        if kind in _ON_DESCRIPTORS:  # the kernel's error names no file either
            raise OSError(number, os.strerror(number))
        raise OSError(number, os.strerror(number), path)

    def _replace_path_calls(self) -> None:
        for name, kind in (
            ("rename", "rename"),
            ("replace", "rename"),
            ("unlink", "unlink"),
            ("remove", "unlink"),
            ("mkdir", "mkdir"),
            ("rmdir", "rmdir"),
            ("chmod", "chmod"),
        ):
            setattr(os, name, self._path_call(getattr(os, name), kind))

    def _path_call(self, real: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def call(path: Any, *rest: Any, **options: Any) -> Any:
            full = _absolute(path, options.get("dir_fd"))
            counted = self.before(kind, full)
            result = real(path, *rest, **options)
            if counted:
                target = _absolute(rest[0], None) if kind == "rename" else ""
                self.after(kind, full, target)
            return result

        return call

    def _replace_descriptor_calls(self) -> None:
        real_write, real_pwrite, real_fsync, real_open = os.write, os.pwrite, os.fsync, os.open
        real_ftruncate = os.ftruncate

        def write(descriptor: int, content: Any) -> int:
            path = _path_of(descriptor)
            half = memoryview(content)[: len(content) // 2]
            counted = self.before("write", path, lambda: real_write(descriptor, half))
            done = real_write(descriptor, content)
            if counted:
                end = os.lseek(descriptor, 0, os.SEEK_CUR)
                self.after("write", path, end - done, bytes(memoryview(content)[:done]))
            return done

        def pwrite(descriptor: int, content: Any, offset: int) -> int:
            path = _path_of(descriptor)
            half = memoryview(content)[: len(content) // 2]
            counted = self.before("write", path, lambda: real_pwrite(descriptor, half, offset))
            done = real_pwrite(descriptor, content, offset)
            if counted:
                self.after("write", path, offset, bytes(memoryview(content)[:done]))
            return done

        def fsync(descriptor: int) -> None:
            path = _path_of(descriptor)
            counted = self.before("fsync", path)
            real_fsync(descriptor)
            if counted:
                self.after("fsync", path)

        def ftruncate(descriptor: int, length: int) -> None:
            path = _path_of(descriptor)
            counted = self.before("truncate", path)
            real_ftruncate(descriptor, length)
            if counted:
                self.after("truncate", path, length)

        def open_(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            full = _absolute(path, dir_fd)
            makes = bool(flags & os.O_CREAT) and not os.path.lexists(full)
            counted = makes and self.before("create", full)
            descriptor = real_open(path, flags, mode, dir_fd=dir_fd)
            if counted:
                self.after("create", full)
            if flags & os.O_TRUNC and not makes and full.startswith(self._root):
                self.after("truncate", full, 0)
            return descriptor

        os.write, os.pwrite, os.fsync, os.ftruncate, os.open = write, pwrite, fsync, ftruncate, open_

    def _replace_open(self) -> None:
        real, interposer = io.open, self

        class CountedFile(io.FileIO):
            """A raw file whose writes are counted."""

            def write(self, content: Any, /) -> int:
                path, size = _path_of(self.fileno()), memoryview(content).nbytes
                raw = memoryview(content).cast("B") if size else memoryview(b"")
                counted = interposer.before("write", path, lambda: io.FileIO.write(self, raw[: size // 2]))
                done = super().write(content)
                if counted:
                    end = os.lseek(self.fileno(), 0, os.SEEK_CUR)
                    interposer.after("write", path, end - done, bytes(raw[:done]))
                return done

            def truncate(self, size: int | None = None, /) -> int:
                path = _path_of(self.fileno())
                counted = interposer.before("truncate", path)
                length = super().truncate(size)
                if counted:
                    interposer.after("truncate", path, length)
                return length

        def open_(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            if not set(mode) & set("wxa+"):
                return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
            plain = mode.replace("b", "").replace("t", "")
            raw = CountedFile(file, plain, closefd, opener or _through_os_open)
            if buffering == 0:
                return raw
            size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
            buffered = io.BufferedRandom(raw, size) if "+" in mode else io.BufferedWriter(raw, size)
            if "b" in mode:
                return buffered
            return io.TextIOWrapper(buffered, encoding, errors, newline, line_buffering=buffering == 1)

        io.open = builtins.open = open_


def _through_os_open(path: Any, flags: int) -> int:
    """So that files made by `open` are counted like those of `os.open`."""
    return os.open(path, flags | os.O_CLOEXEC, 0o666)


def _absolute(path: Any, folder: int | None) -> str:
    if isinstance(path, int):
        return _path_of(path)
    text = os.fsdecode(path)
    if folder is not None and not os.path.isabs(text):  # noqa: PTH117
        return os.path.join(_path_of(folder), text)  # noqa: PTH118
    parent, name = os.path.split(os.path.abspath(text))  # noqa: PTH100
    return os.path.join(os.path.realpath(parent), name)  # noqa: PTH118


def _path_of(descriptor: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink()).removesuffix(" (deleted)")
    except OSError:
        return ""
