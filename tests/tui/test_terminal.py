"""The app in a real pseudo-terminal: quiet when idle, thrifty when scrolling, gone when the terminal is."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.builds import make_model

PATIENCE_S = 30.0


class Terminal:
    """A child with a pseudo-terminal of 80x24."""

    def __init__(self, prefix: Path, columns: int = 80, rows: int = 24) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hyperdex_tui", "--prefix", str(prefix)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        os.close(slave)
        self.output = b""

    def read(self, seconds: float) -> bytes:
        """What is written until `seconds` pass without anything."""
        found = b""
        while select.select([self.master], [], [], seconds)[0]:
            try:
                chunk = os.read(self.master, 1 << 16)
            except OSError:
                break
            if not chunk:
                break
            found += chunk
        self.output += found
        return found

    def falls_silent(self, seconds: float) -> bool:
        """Whether it ends to write: nothing for that long, before patience ends."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if not self.read_once(seconds):
                return True
        return False

    def read_once(self, seconds: float) -> bytes:
        """The next piece that is written within that time."""
        if not select.select([self.master], [], [], seconds)[0]:
            return b""
        found = os.read(self.master, 1 << 16)
        self.output += found
        return found

    def wait_for(self, text: str) -> None:
        """Read until `text` was written."""
        end = time.monotonic() + PATIENCE_S
        while text.encode() not in self.output:
            assert time.monotonic() < end, self.output[-2000:]
            self.read(0.1)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.master, keys.encode())

    def close(self) -> None:
        """Close the terminal, as a dropped SSH session does."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


@pytest.fixture
def terminal(prefix: Path) -> Iterator[Terminal]:
    make_model(prefix, layers=60)
    opened = Terminal(prefix)
    opened.wait_for("instr")
    opened.read(0.5)
    yield opened
    opened.close()
    opened.process.kill()
    opened.process.wait()


def test_an_idle_app_writes_nothing(terminal: Terminal) -> None:
    assert terminal.falls_silent(1.5)
    terminal.press("p")  # an input has the keyboard: its cursor must not blink
    terminal.wait_for("Nothing generated yet")
    assert terminal.falls_silent(2.0)


def test_a_scroll_step_is_cheap(terminal: Terminal) -> None:
    terminal.press("i")
    terminal.wait_for("layer 0")
    terminal.press("\x06\x06")
    terminal.read(0.5)
    sizes = []
    for _ in range(5):
        terminal.press("j")
        sizes.append(len(terminal.read(0.3)))
    assert 0 < max(sizes) <= 4096, sizes


def test_what_is_typed_ahead_of_a_prompt_is_its_text(terminal: Terminal) -> None:
    terminal.press("/tinyp\r")  # in one burst: none of it may act as a command
    terminal.wait_for("No model contains")
    assert b"Nothing generated" not in terminal.output


def test_quit_gives_the_terminal_back(terminal: Terminal) -> None:
    terminal.press("q")
    assert terminal.process.wait(PATIENCE_S) == 0
    terminal.read(0.2)
    assert b"\x1b[?1049l" in terminal.output and b"\x1b[?25h" in terminal.output


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_ends_the_app_in_order(terminal: Terminal, number: signal.Signals) -> None:
    terminal.process.send_signal(number)
    assert terminal.process.wait(PATIENCE_S) == 0
    terminal.read(0.2)
    assert b"Traceback" not in terminal.output


@pytest.mark.parametrize("signalled", [True, False])
def test_the_app_ends_with_its_terminal(terminal: Terminal, signalled: bool) -> None:
    terminal.close()
    if signalled:  # not under a parent that takes the signal and waits, as make does
        terminal.process.send_signal(signal.SIGHUP)
    terminal.process.wait(PATIENCE_S)
