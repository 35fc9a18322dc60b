"""CPU until the app's first screen stands, against the smallest Textual app.

Both run on a pseudo-terminal of 80x24; the screen stands when nothing has been
written for a while.
"""

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
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import Row, cpu_seconds, median

ROUNDS = 7
LIMIT_MS = 150.0
QUIET_SECONDS = 0.6
PATIENCE_SECONDS = 20.0

_MINIMAL = "from textual.app import App\nclass Minimal(App): pass\nMinimal().run()"
_APP = ["-m", "hyperdex_tui"]


def measure() -> list[Row]:
    """Median CPU of both, measured in turn after one warm-up each, and their difference."""
    with TemporaryDirectory(prefix="hyperdex-bench-") as folder:
        minimal_ms, app_ms = [], []
        for round_number in range(ROUNDS + 1):
            pair = (first_paint_ms(["-c", _MINIMAL], Path(folder)), first_paint_ms(_APP, Path(folder)))
            if round_number:
                minimal_ms.append(pair[0])
                app_ms.append(pair[1])
    above = median(app_ms) - median(minimal_ms)
    return [
        Row("minimal Textual app: CPU to the first screen", f"{median(minimal_ms):.0f} ms"),
        Row("hyperdex-tui: CPU to the first screen", f"{median(app_ms):.0f} ms"),
        Row("the difference", f"{above:.0f} ms", f"{LIMIT_MS:.0f} ms", above <= LIMIT_MS),
    ]


def first_paint_ms(arguments: list[str], folder: Path) -> float:
    """CPU milliseconds of this interpreter with `arguments` until its screen stands; what it keeps goes into `folder`.

    Raises:
        RuntimeError: it ended or painted nothing.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", HYPERDEX_PREFIX=str(folder / "models"), HOME=str(folder))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # modules are compiled once, by the warm-up, as when installed
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
        os.execv(sys.executable, [sys.executable, *arguments])
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        painted = _until_quiet(terminal)
        if painted < 200:
            raise RuntimeError(f"{' '.join(arguments)} painted {painted} bytes")
        return 1000.0 * cpu_seconds(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def _until_quiet(terminal: int) -> int:
    """Bytes written until nothing came for QUIET_SECONDS."""
    painted = 0
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], QUIET_SECONDS if painted else PATIENCE_SECONDS)
        if not ready:
            break
        try:
            painted += len(os.read(terminal, 65536))
        except OSError:
            break
    return painted
