"""EIO, ENOSPC, EDQUOT and EROFS from every operation on a file: once, or from then on.

A compile that meets one either says so in one line and fails, or did not need the
operation and has made the same bytes. The next compile, on a sound disk, is whole.
"""

from __future__ import annotations

from pathlib import Path

from torture.forked import Commands
from torture.interposer import Fault
from torture.kill_points import Scenario, judge_next_compile, judge_state, scenarios
from torture.report import Effort, Row, timed
from torture.subject import copy_subject, manners

FAILURES = 40
JOB_OPERATIONS = 30
"""About how many there are of the job file, which a compile in the app has."""

PROMISE = "one line and an exit code, or the same bytes; never exit 0 with loss"
DISKS = (("EIO", False), ("EIO", True), ("ENOSPC", False), ("ENOSPC", True), ("EDQUOT", False), ("EROFS", True))


def failed_operations(commands: Commands, place: Path, effort: Effort) -> list[Row]:
    """Fail chosen operations of a first compile and of one that replaces a build."""
    rows = []
    for scenario in scenarios(commands, place):
        for error, lasting in DISKS:
            name = f"{error} {'from an operation on' if lasting else 'from one operation'}, {scenario.name}"

            def attack(row: Row, scenario: Scenario = scenario, error: str = error, lasting: bool = lasting) -> None:
                for at in effort.chosen(scenario.operations + JOB_OPERATIONS, FAILURES):
                    _fail(row, scenario, place, Fault(at, error, lasting))

            rows.append(timed(Row(name, PROMISE), attack))
    return rows


def _fail(row: Row, scenario: Scenario, place: Path, fault: Fault) -> None:
    subject = copy_subject(scenario.before, place / "victim")
    jobs = subject.folder / "jobs"
    jobs.mkdir()
    outcome = subject.compile("--job", str(jobs / "job.jsonl"), root=subject.prefix, fault=fault)
    wrong = manners(outcome)
    if not wrong and outcome.code == 0 and subject.results() != scenario.new:
        wrong = "exit 0 with other bytes"
    wrong = wrong or judge_state(scenario, subject) or judge_next_compile(scenario, subject)
    ending = f"exit {outcome.code}" if outcome.code else "not needed, same bytes"
    row.count(ending, f"{row.name}, operation {fault.at}: {wrong}" if wrong else "")
