"""The app in a pseudo-terminal: keys in, time and bytes out."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 60.0
KEY_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Repaint:
    """What followed a key: bytes written, and seconds until the last of them."""

    seconds: float
    size: int


class Terminal:
    """The app, started on a prefix, with a terminal of `columns` x `rows`. Use as a context manager."""

    def __init__(self, prefix: Path, columns: int = 80, rows: int = 24, model_id: str = "") -> None:
        arguments = [sys.executable, "-m", "hyperdex_tui", "--prefix", str(prefix), *([model_id] if model_id else [])]
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", HOME=str(prefix), XDG_CONFIG_HOME=str(prefix / "config"))
            os.execv(sys.executable, arguments)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._master)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def read(self, quiet_s: float) -> bytes:
        """What is written until nothing comes for `quiet_s`."""
        found = b""
        while select.select([self._master], [], [], quiet_s)[0]:
            found += os.read(self._master, 1 << 16)
        return found

    def repaint(self, keys: str, quiet_s: float) -> Repaint:
        """Press, and wait until what that wrote is over: nothing more for `quiet_s`.

        Raises:
            RuntimeError: nothing was written.
        """
        began = last = time.perf_counter()
        self.press(keys)
        size = 0
        while select.select([self._master], [], [], quiet_s if size else KEY_PATIENCE_S)[0]:
            size += len(os.read(self._master, 1 << 16))
            last = time.perf_counter()
        if not size:
            raise RuntimeError(f"the app wrote nothing after {keys!r}")
        return Repaint(last - began, size)

    def enter(self, key: str, text: str) -> None:
        """Open a prompt with `key`, replace what stands in it, and confirm."""
        self.repaint(key, 0.3)
        for part in ("\x15", text):
            self.press(part)
            self.read(0.3)
        self.press("\r")

    def wait_for(self, text: str) -> float:
        """Seconds until `text` was written.

        Raises:
            RuntimeError: it was not, or the app ended.
        """
        began = time.perf_counter()
        found = b""
        while text.encode() not in found:
            left = began + PATIENCE_S - time.perf_counter()
            if left < 0 or not select.select([self._master], [], [], left)[0]:
                raise RuntimeError(f"the app did not write {text!r} within {PATIENCE_S:.0f} s: {found[-500:]!r}")
            found = found[-4096:] + os.read(self._master, 1 << 16)
        return time.perf_counter() - began
