"""Inject faults, print the table, exit 1 when a promise was broken."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from torture import bit_flips, concurrent, downloads, failed_writes, hostile, kill_points, power_loss, programs
from torture.forked import Commands, commands
from torture.report import Effort, Row, format_table

SHOWN_VIOLATIONS = 20
MEMORY = Path("/dev/shm")
"""Where prefixes are by default: a fault strikes at the call, so the second half of a compile, spent waiting for a real
disk to sync, shows nothing."""

FAULTS: dict[str, Callable[[Commands, Path, Effort], list[Row]]] = {
    "hostile": hostile.hostile_checkpoints,
    "programs": programs.mutated_programs,
    "kill-points": kill_points.killed_at_operations,
    "kill-times": kill_points.killed_at_random_times,
    "signals": kill_points.signalled_at_operations,
    "failed-writes": failed_writes.failed_operations,
    "power-loss": power_loss.power_lost,
    "bit-flips": bit_flips.flipped_bits,
    "downloads": downloads.killed_downloads,
    "concurrent": concurrent.at_once,
}
"""The longest first, so that several at once end at about the same time."""


def main() -> int:
    """Exit code 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(FAULTS)}; default: all")
    parser.add_argument("--share", type=float, default=1.0, help="part of the faults to inject, in (0, 1]")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
    parser.add_argument("--place", type=Path, help="folder for the prefixes; default: in memory, where there is such")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="kinds of faults injected at once")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in FAULTS]:
        parser.error(f"no fault {unknown[0]!r}")
    place = given.place or (MEMORY if os.access(MEMORY, os.W_OK) else None)
    rows = torture(given.names or list(FAULTS), Effort(given.share, given.seed), place, given.jobs)
    print(format_table(rows))
    broken = [violation for row in rows for violation in row.violations]
    for violation in broken[:SHOWN_VIOLATIONS]:
        print(f"broken: {violation}")
    return 1 if broken else 0


def torture(names: list[str], effort: Effort, place: Path | None = None, jobs: int = 1) -> list[Row]:
    """Inject the named faults, `jobs` kinds at once, and return their rows in the order of the names."""

    def inject(name: str) -> list[Row]:
        with commands() as server, TemporaryDirectory(prefix="torture-", dir=place) as folder:
            rows = FAULTS[name](server, Path(folder), effort)
        injected, broken = sum(row.injected for row in rows), sum(len(row.violations) for row in rows)
        print(f"{name}: {injected} faults, {broken} broken promises", file=sys.stderr, flush=True)
        return rows

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        return [row for rows in pool.map(inject, names) for row in rows]


if __name__ == "__main__":
    sys.exit(main())
