"""Run the benchmarks, print the table, write docs/performance.md."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from bench import copying, emulator, families, first_paint, inspector, instructions, passes, timing
from bench.measure import Row

BENCHMARKS: dict[str, Callable[[], list[Row]]] = {
    "first-paint": first_paint.measure,
    "inspector": inspector.measure,
    "phase-4": instructions.measure,
    "passes": passes.measure,
    "timing": timing.measure,
    "phases-2-3": copying.measure_time,
    "memory-13b": copying.measure_memory,
    "families": families.measure,
    "emulator": emulator.measure,
}
REPORT = Path(__file__).parent.parent / "docs" / "performance.md"


def main() -> int:
    """Exit code 1 when a limit is not met."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(BENCHMARKS)}; default: all")
    chosen = parser.parse_args().names or list(BENCHMARKS)
    if unknown := [name for name in chosen if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}")
    rows: list[Row] = []
    for name in chosen:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        rows += BENCHMARKS[name]()
    table = format_table(rows)
    print(table)
    if set(chosen) == set(BENCHMARKS):
        REPORT.write_text(f"{_introduction()}\n{table}", encoding="utf-8")
    return 0 if all(row.met for row in rows) else 1


def format_table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| measured | value | limit | met |", "|---|---|---|---|"]
    for row in rows:
        met = ("yes" if row.met else "NO") if row.limit else ""
        lines.append(f"| {row.name} | {row.value} | {row.limit} | {met} |")
    return "\n".join(lines) + "\n"


def _introduction() -> str:
    return (
        "# Performance\n\n"
        "<!-- Written by `make bench`; do not edit. -->\n\n"
        f"Measured with Python {platform.python_version()} on {os.cpu_count()} cores ({platform.machine()}).\n"
        "Times of one table come from one run: medians of three (first paint: of seven), the yardstick measured in\n"
        "turn with what it is compared to. Memory is anonymous memory (RssAnon), sampled every 10 ms. Weights are\n"
        "made up, shapes are real. The machine is shared: a ratio says more than a time, and the emulator's rows\n"
        "against transformers differ by a factor of two and more from run to run.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
