"""Run the benchmarks, print the table, renew their rows in docs/performance.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
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
MEASURED = Path(__file__).parent / "out"


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
        found = BENCHMARKS[name]()
        _keep(name, found)
        rows += found
    print(format_table(rows))
    if all(_kept(name).exists() for name in BENCHMARKS):
        known = [Row(**row) for name in BENCHMARKS for row in json.loads(_kept(name).read_text(encoding="utf-8"))]
        REPORT.write_text(f"{_introduction()}\n{format_table(known)}", encoding="utf-8")
    else:
        print(f"{REPORT.name} is written when every benchmark has run once", file=sys.stderr)
    return 0 if all(row.met for row in rows) else 1


def _kept(name: str) -> Path:
    return MEASURED / f"{name}.json"


def _keep(name: str, rows: list[Row]) -> None:
    """The rows of one run of one benchmark, for the report."""
    MEASURED.mkdir(exist_ok=True)
    _kept(name).write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")


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
        "A row and its yardstick come from one run, measured in turn: medians of three (first paint: of seven).\n"
        "`make bench ARGS=emulator` renews the rows of one benchmark. Memory is anonymous memory (RssAnon),\n"
        "sampled every 10 ms. Weights are made up, shapes are real. The machine is shared: a ratio says more than\n"
        "a time, and the emulator's rows against transformers differ by a factor of two and more from run to run.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
