"""Rough handling in a real terminal: storms of sizes, tiny windows, a prefix that goes away."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import struct
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.builds import make_model
from tests.tui.test_terminal import PATIENCE_S, Terminal

SIZES = ((1, 1), (2, 3), (200, 60), (3, 80), (80, 2), (19, 5), (500, 200), (40, 10), (80, 24))


@pytest.fixture
def terminal(prefix: Path) -> Iterator[Terminal]:
    make_model(prefix)
    opened = Terminal(prefix)
    opened.wait_for("instr")
    yield opened
    opened.close()
    opened.process.kill()
    opened.process.wait()


def resize(terminal: Terminal, columns: int, rows: int) -> None:
    """Change the size as a terminal emulator does."""
    fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    terminal.process.send_signal(signal.SIGWINCH)


def quits(terminal: Terminal) -> bool:
    """Whether the keyboard still works: the app ends with code 0, in order and without a traceback."""
    terminal.read(0.3)
    terminal.press("\x1b")
    terminal.read(0.3)
    terminal.press("q")
    try:
        code = terminal.process.wait(PATIENCE_S)
    finally:
        terminal.read(0.2)
    return code == 0 and b"Traceback" not in terminal.output and b"\x1b[?1049l" in terminal.output


def test_a_storm_of_sizes_is_survived(terminal: Terminal) -> None:
    for key in ("", "i", "\x1b", "m", "\x1b"):
        terminal.press(key)
        for columns, rows in SIZES * 2:
            resize(terminal, columns, rows)
        terminal.read(0.2)
    assert quits(terminal)


def test_a_vanished_prefix_is_survived(terminal: Terminal, prefix: Path) -> None:
    terminal.press("i")
    terminal.wait_for("layer 0")
    shutil.rmtree(prefix)
    for key in ("j", "G", "\x1b", "r", "m", "\x1b", "i", "\x1b"):
        terminal.press(key)
        terminal.read(0.2)
    assert quits(terminal)


def test_a_file_cut_short_under_the_app_leaves_the_terminal_usable(terminal: Terminal, prefix: Path) -> None:
    terminal.press("i")
    terminal.wait_for("layer 0")
    for path in prefix.rglob("*.bin"):
        os.truncate(path, 0)
    for key in ("G", "g", "\x06", "/"):
        if terminal.process.poll() is None:
            terminal.press(key)
            terminal.read(0.3)
    if terminal.process.poll() is None:
        assert quits(terminal)
    else:
        terminal.read(0.2)
        assert terminal.process.returncode == 6
        assert b"was cut short" in terminal.output and b"\x1b[?1049l" in terminal.output
