"""The instruction list on ten million instructions: opening, memory, keys, bytes, searches, idling."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.long_program import BUILD, INSTRUCTIONS, MODEL, write_long_program
from bench.measure import Row, anonymous_bytes, cpu_seconds, median
from bench.terminal import Repaint, Terminal

OPEN_LIMIT_MS = 300.0
MEMORY_LIMIT_MB = 150.0
KEY_P50_LIMIT_MS = 30.0
KEY_P99_LIMIT_MS = 80.0
SEARCH_LIMIT_S = 3.0
SCROLL_LIMITS = {(80, 24): 4096, (200, 50): 20_480}
ROUNDS = 5
STEPS = 200

_QUIET_S = 0.06
"""A repaint is over when nothing came for so long."""

_DEMO = "hyperdex/demo"
_RUNS, _KEYS_OF_A_RUN = 15, 8
_BETWEEN_S = 0.03
"""The same beside a run, whose progress is told ten times a second."""

_SEARCHES = ("q_proj", r"h\[0x3[0-9a-f]+c0\]", r"layer:7\d\d unit:sxe mm", r"softmax.*\b\d{3},")


def measure() -> list[Row]:
    """All rows; a program of ten million instructions is made for it."""
    with TemporaryDirectory(prefix="hyperdex-bench-") as name:
        prefix = Path(name)
        write_long_program(prefix)
        _write_neighbours(prefix)
        opening, memory = _opening(prefix)
        rows = [
            _row(f"{INSTRUCTIONS:,} instructions: key to first rows", opening, OPEN_LIMIT_MS, "ms"),
            _row("the same: memory above the app's base", memory / 1e6, MEMORY_LIMIT_MB, "MB"),
        ]
        for size, limit in SCROLL_LIMITS.items():
            with _opened(prefix, *size) as terminal:
                rows += _scrolling(terminal, size, limit)
                rows += _idle(terminal) if size == (80, 24) else []
        with _opened(prefix, 80, 24) as terminal, _busy_machine(prefix):
            rows += _key_rows(_scroll(terminal), "while a compile and an emulation run beside it")
        rows += _key_rows(_debugging(prefix), "of the machine's listing while the machine runs")
        with _opened(prefix, 80, 24) as terminal:
            rows += _searching(terminal)
    return rows


def _row(name: str, value: float, limit: float, unit: str) -> Row:
    """A value that must be below a limit."""
    return Row(name, f"{value:.{2 if unit == 's' else 0}f} {unit}", f"{limit:.0f} {unit}", value < limit)


def _write_neighbours(prefix: Path) -> None:
    """Compile the demo, which the emulator then runs beside the app."""
    _compiler(prefix, "compile", _DEMO).communicate()


def _compiler(prefix: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "compiler", *arguments, "--prefix", str(prefix)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def _opened(prefix: Path, columns: int, rows: int) -> Iterator[Terminal]:
    """The app with the instruction list of the long program."""
    with Terminal(prefix, columns, rows, MODEL) as terminal:
        terminal.wait_for(BUILD)
        terminal.read(0.7)
        terminal.press("i")
        terminal.wait_for("instructions from")
        terminal.read(0.7)
        yield terminal


def _opening(prefix: Path) -> tuple[float, float]:
    """Median milliseconds from the key to the first rows; largest anonymous memory above what the app took before."""
    times, memory = [], []
    for _ in range(ROUNDS):
        with Terminal(prefix, 80, 24, MODEL) as terminal:
            terminal.wait_for(BUILD)
            terminal.read(0.7)
            base = anonymous_bytes(terminal.pid)
            terminal.press("i")
            times.append(1000.0 * terminal.wait_for("instructions from"))
            terminal.read(0.7)
            terminal.repaint("G", 0.3)
            _to_the_middle(terminal)
            memory.append(anonymous_bytes(terminal.pid) - base)
    return median(times), max(memory)


def _to_the_middle(terminal: Terminal) -> None:
    terminal.enter(":", str(INSTRUCTIONS // 2))
    terminal.read(0.5)


def _scroll(terminal: Terminal) -> list[Repaint]:
    """One row down again and again, in the middle of the program."""
    _to_the_middle(terminal)
    terminal.repaint("\x06", 0.5)
    return [terminal.repaint("j", _QUIET_S) for _ in range(STEPS)]


def _scrolling(terminal: Terminal, size: tuple[int, int], limit: int) -> list[Row]:
    steps = _scroll(terminal)
    name = f"{size[0]}x{size[1]}"
    most = max(step.size for step in steps)
    rows = _key_rows(steps, f"at {name}")
    return [*rows, Row(f"scroll step at {name}: most bytes", f"{most:,}", f"{limit:,}", most <= limit)]


def _key_rows(steps: list[Repaint], where: str) -> list[Row]:
    ordered = sorted(1000.0 * step.seconds for step in steps)
    p50, p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return [
        _row(f"scroll {where}: key to repaint, p50", p50, KEY_P50_LIMIT_MS, "ms"),
        _row(f"scroll {where}: key to repaint, p99", p99, KEY_P99_LIMIT_MS, "ms"),
    ]


def _idle(terminal: Terminal) -> list[Row]:
    """What the app writes and computes while nothing happens."""
    terminal.read(1.0)
    before = cpu_seconds(terminal.pid)
    written = len(terminal.read(3.0))
    used = 1000.0 * (cpu_seconds(terminal.pid) - before)
    return [
        Row("idle for 3 s: bytes written", f"{written}", "0", written == 0),
        Row("idle for 3 s: CPU", f"{used:.1f} ms", "10 ms", used <= 10.0),
    ]


def _debugging(prefix: Path) -> list[Repaint]:
    """One row down in the Machine screen again and again, while the emulator behind it executes step by step."""
    steps: list[Repaint] = []
    with Terminal(prefix, 80, 24, _DEMO) as terminal:
        terminal.wait_for("u55c-1x")
        terminal.read(0.7)
        terminal.press("jE")
        terminal.wait_for("no prompt yet")
        terminal.enter("B", "nan")  # what looks at every instruction runs one at a time
        terminal.wait_for("nan")
        for _ in range(_RUNS):
            terminal.enter("n", " ".join(["The capital of Norland"] * 50))
            terminal.wait_for("0 executed")
            terminal.press("c")
            terminal.wait_for("running")
            steps += [terminal.repaint("j", _BETWEEN_S) for _ in range(_KEYS_OF_A_RUN)]
            terminal.wait_for("complete")  # so it ran until now
            terminal.read(0.5)
    return steps


@contextmanager
def _busy_machine(prefix: Path) -> Iterator[None]:
    """A compile and an emulation, each begun again when it ends, until the block is left."""
    over = threading.Event()

    def keep_running(*arguments: str) -> None:
        while not over.is_set():
            process = _compiler(prefix, *arguments)
            while process.poll() is None and not over.wait(0.05):
                pass
            process.kill()
            process.wait()

    commands = (
        ("compile", _DEMO, "--num-device", "2", "--force"),
        ("generate", _DEMO, "the", "--max-new-tokens", "100"),
    )
    threads = [threading.Thread(target=keep_running, args=arguments) for arguments in commands]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _searching(terminal: Terminal) -> list[Row]:
    """Seconds from Enter to the first match shown, the first search included, which builds the index."""
    rows = []
    for pattern in _SEARCHES:
        terminal.enter("/", pattern)
        seconds = terminal.wait_for("match ")
        terminal.read(0.7)
        terminal.repaint("\x1b", 0.5)
        rows.append(
            Row(f"search for `{pattern}`", f"{seconds:.2f} s", f"{SEARCH_LIMIT_S:.0f} s", seconds < SEARCH_LIMIT_S)
        )
    terminal.enter("/", r"(.+)+\B\B\B~")
    terminal.wait_for("searching")
    cancelled = 1000.0 * terminal.repaint("\x1b", 0.3).seconds
    return [
        *rows,
        Row("cancel of a search without end: key to repaint", f"{cancelled:.0f} ms", "300 ms", cancelled < 300.0),
    ]
