"""Mutated instruction words on the emulator: a typed fault, or a run within its budget; nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from torture.forked import ROOT, Commands
from torture.report import Effort, Row, timed
from torture.subject import BUILD, Subject, write_checkpoint

PROGRAMS = 100_000
CHUNK = 2500
_PROCESSES = min(4, os.cpu_count() or 1)
PROMISE = "a typed fault with pc and instruction, or a run, within steps, 5 s and 6 GB; the same step by step"


def mutated_programs(commands: Commands, place: Path, effort: Effort) -> list[Row]:
    """Run mutants of the tiny model's program, a few thousand to a process."""
    subject = Subject(commands, place / "programs")
    write_checkpoint(subject.ckpt, seed=4)
    if (outcome := subject.compile()).code:
        raise RuntimeError(f"a compile without faults failed: {outcome.stderr}")

    def attack(row: Row) -> None:
        count = effort.of(PROGRAMS)
        sizes = [min(CHUNK, count - begin) for begin in range(0, count, CHUNK)]
        with ThreadPoolExecutor(min(_PROCESSES, len(sizes))) as pool:
            for done, seed in pool.map(lambda each: _run_chunk(subject, each[1], each[0]), enumerate(sizes)):
                _count(row, done, seed)

    return [timed(Row("a mutated program", PROMISE), attack)]


def _run_chunk(subject: Subject, count: int, seed: int) -> tuple[subprocess.CompletedProcess[str], int]:
    folders = [str(subject.folder / kind / BUILD) for kind in ("param", "inst")]
    process = subprocess.run(
        [sys.executable, "-m", "torture.mutants", *folders, str(count), str(seed)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
    )
    return process, seed


def _count(row: Row, done: subprocess.CompletedProcess[str], seed: int) -> None:
    if done.returncode:
        row.count("died", f"{row.name}, chunk {seed}: exit {done.returncode}: {done.stderr[-300:]!r}")
        return
    found = json.loads(done.stdout)
    row.outcomes.update(found["outcomes"])
    row.violations += found["violations"]
