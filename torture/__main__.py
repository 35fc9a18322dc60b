"""Inject faults, print the table, exit 1 when a promise was broken."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from torture import bit_flips, concurrent, failed_writes, hostile, kill_points, power_loss, programs
from torture.forked import Commands, commands
from torture.report import Effort, Row, format_table

SHOWN_VIOLATIONS = 20

FAULTS: dict[str, Callable[[Commands, Path, Effort], list[Row]]] = {
    "kill-points": kill_points.killed_at_operations,
    "kill-times": kill_points.killed_at_random_times,
    "failed-writes": failed_writes.failed_operations,
    "power-loss": power_loss.power_lost,
    "bit-flips": bit_flips.flipped_bits,
    "concurrent": concurrent.at_once,
    "hostile": hostile.hostile_checkpoints,
    "programs": programs.mutated_programs,
}


def main() -> int:
    """Exit code 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(FAULTS)}; default: all")
    parser.add_argument("--share", type=float, default=1.0, help="part of the faults to inject, in (0, 1]")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
    parser.add_argument("--place", type=Path, help="folder for the prefixes; default: the system's temporary one")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in FAULTS]:
        parser.error(f"no fault {unknown[0]!r}")
    rows = torture(given.names or list(FAULTS), Effort(given.share, given.seed), given.place)
    print(format_table(rows))
    broken = [violation for row in rows for violation in row.violations]
    for violation in broken[:SHOWN_VIOLATIONS]:
        print(f"broken: {violation}")
    return 1 if broken else 0


def torture(names: list[str], effort: Effort, place: Path | None = None) -> list[Row]:
    """Inject the named faults and return their rows."""
    rows: list[Row] = []
    with commands() as server:
        for name in names:
            print(f"injecting {name} ...", file=sys.stderr, flush=True)
            with TemporaryDirectory(prefix="torture-", dir=place) as folder:
                found = FAULTS[name](server, Path(folder), effort)
            injected, broken = sum(row.injected for row in found), sum(len(row.violations) for row in found)
            print(f"  {injected} faults, {broken} broken promises", file=sys.stderr, flush=True)
            rows += found
    return rows


if __name__ == "__main__":
    sys.exit(main())
