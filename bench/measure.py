"""Clocks and memory of a child process; medians.

Memory is anonymous memory (RssAnon of /proc): what the program allocates,
without the file pages the kernel may drop at will.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report.

    Attributes:
        name: what was measured.
        value: the measured value with its unit.
        limit: what it must not exceed, with its unit; "" for information only.
        met: whether it does not.
    """

    name: str
    value: str
    limit: str = ""
    met: bool = True


@dataclass(frozen=True, slots=True)
class Child:
    """A finished child process.

    Attributes:
        stdout: what it printed.
        wall_s: seconds from start to end.
        peak_bytes: largest anonymous memory seen.
    """

    stdout: str
    wall_s: float
    peak_bytes: int


def run_child(arguments: Sequence[str], environment: dict[str, str] | None = None) -> Child:
    """Run this interpreter with `arguments` and watch its memory.

    Raises:
        RuntimeError: the child failed; its stderr is in the message.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    watcher.start()
    stdout, stderr = process.communicate()
    wall_s = time.perf_counter() - began
    watcher.join()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}: {stderr.strip()[-2000:]}")
    return Child(stdout, wall_s, peak[0])


def _watch(process: subprocess.Popen[str], peak: list[int]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], anonymous_bytes(process.pid))
        time.sleep(SAMPLE_SECONDS)


def anonymous_bytes(pid: int) -> int:
    """Anonymous memory of a process; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of another process so far (Linux: the process's CPU clock)."""
    return time.clock_gettime((~pid << 3) | 2)


def median(values: Sequence[float]) -> float:
    """The middle of an odd number of values."""
    return statistics.median(values)
