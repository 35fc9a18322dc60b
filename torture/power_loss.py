"""The power fails after every operation on a file: see `torture.disk` for what is left then.

What a reader accepts is the old build or the new one, the next compile is whole, and what a
compile that ended with exit 0 has made is there after the power failed at once.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from torture.disk import MODES, replay
from torture.forked import Commands
from torture.kill_points import Scenario, judge_next_compile, judge_state, scenarios
from torture.recorded import Operation, read_operations
from torture.report import Effort, Row, timed
from torture.subject import Subject, copy_subject

POINTS = 90
PROMISE = "old build or new build; the next compile gives the same bytes; after exit 0 all of it is durable"


def power_lost(commands: Commands, place: Path, effort: Effort) -> list[Row]:
    """Cut the power at chosen operations of a first compile and of one that replaces a build."""
    chosen = effort.random("power")
    rows = []
    for scenario in scenarios(commands, place):
        recorded = copy_subject(scenario.before, place / "recorded")
        outcome = recorded.compile(root=recorded.prefix, record=True)
        if outcome.code:
            raise RuntimeError(f"a compile without faults failed: {outcome.stderr}")
        operations = list(read_operations(commands.folder / "operations"))
        shutil.rmtree(recorded.prefix)
        shutil.copytree(scenario.before.prefix, recorded.prefix)
        for mode in MODES:

            def attack(
                row: Row,
                scenario: Scenario = scenario,
                before: Subject = recorded,
                operations: list[Operation] = operations,
                mode: str = mode,
            ) -> None:
                for count in effort.chosen(len(operations), POINTS):
                    victim = Subject(commands, place / "victim")
                    shutil.rmtree(victim.prefix, ignore_errors=True)
                    replay(before.prefix, operations, count).crash(victim.prefix, mode, chosen)
                    _judge(row, scenario, victim, count, len(operations))

            rows.append(timed(Row(f"power lost, {mode}, {scenario.name}", PROMISE), attack))
    return rows


def _judge(row: Row, scenario: Scenario, victim: Subject, count: int, total: int) -> None:
    wrong = judge_state(scenario, victim)
    ending = "old or none"
    if {**scenario.new, **victim.results()} == scenario.new and len(victim.results()) == len(scenario.new):
        ending = "new"
    elif count == total:
        wrong = wrong or "a compile had ended, but not all of it is durable"
    wrong = wrong or judge_next_compile(scenario, victim)
    row.count(ending, f"{row.name}, after operation {count} of {total}: {wrong}" if wrong else "")
