"""SIGKILL before every operation on a file, in the middle of writes, and at random times.

The compile replaces a build of other weights, or makes the first one. Whatever the moment:
what a reader accepts afterwards is the old build or the new one, and the next compile ends
with the same bytes as one that was never killed, and with no leftovers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torture.forked import Commands, Outcome
from torture.interposer import Fault
from torture.report import Effort, Row, timed
from torture.subject import Subject, copy_subject, manners, write_checkpoint

KILL_POINTS = 240
TORN_WRITES = 60
RANDOM_TIMES = 60
SIGNAL_POINTS = 40
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
PROMISE_OF_SIGNALS = "exit 130, one line, nothing half written; the next compile gives the same bytes"
PROMISE = "old build or new build, never a mixture; the next compile gives the same bytes and no leftovers"


@dataclass(frozen=True)
class Scenario:
    """A prefix before a compile, and what the compile must lead to.

    Attributes:
        name: for the report.
        before: the prefix to start from; copied for every fault.
        old: files of the build before.
        new: files after a compile without faults.
        operations: how many operations on files that compile does.
        seconds: how long it takes.
    """

    name: str
    before: Subject
    old: dict[str, bytes]
    new: dict[str, bytes]
    operations: int
    seconds: float


def scenarios(commands: Commands, place: Path) -> list[Scenario]:
    """A first compile, and one that replaces a build after the weights changed."""
    fresh = Subject(commands, place / "fresh")
    write_checkpoint(fresh.ckpt, seed=1)
    changed = copy_subject(fresh, place / "changed")
    _must(changed.compile())
    write_checkpoint(changed.ckpt, seed=2)
    return [_scenario("first compile", fresh, place), _scenario("recompile", changed, place)]


def _scenario(name: str, before: Subject, place: Path) -> Scenario:
    clean = copy_subject(before, place / "clean")
    outcome = clean.compile(root=clean.prefix)
    _must(outcome)
    return Scenario(name, before, before.results(), clean.results(), outcome.operations, outcome.seconds)


def _must(outcome: Outcome) -> None:
    if outcome.code:
        raise RuntimeError(f"a compile without faults failed: {outcome.stderr}")


def judge_state(scenario: Scenario, subject: Subject) -> str:
    """What is wrong with what a fault left behind, as readers see it; "" when nothing is."""
    verified = subject.verify()
    if verified.code == 0 and subject.artifacts() not in (_builds(scenario.old), _builds(scenario.new)):
        return "verify accepts what is neither the old build nor the new one"
    return manners(verified)


def judge_next_compile(scenario: Scenario, subject: Subject) -> str:
    """What is wrong with the compile after a fault; "" when nothing is."""
    outcome = subject.compile()
    if outcome.code:
        return f"the next compile fails: {outcome.stderr[-300:]!r}"
    if subject.results() != scenario.new:
        differ = sorted(set(subject.results().items()) ^ set(scenario.new.items()))
        return f"the next compile gives other bytes: {differ[0][0]}"
    if left := subject.leftovers():
        return f"the next compile leaves {left[0]}"
    if (verified := subject.verify()).code:
        return f"verify refuses the next compile: {verified.stdout!r}"
    return ""


def _builds(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if "/" in name}


def killed_at_operations(commands: Commands, place: Path, effort: Effort) -> list[Row]:
    """Kill before chosen operations, and in the middle of chosen writes."""
    rows = []
    for scenario in scenarios(commands, place):
        for action, full, kinds in (("kill", KILL_POINTS // 2, None), ("tear", TORN_WRITES // 2, ("write",))):
            fault = Fault(0, action) if kinds is None else Fault(0, action, kinds=kinds)
            name = f"SIGKILL {'before an operation' if action == 'kill' else 'within a write'}, {scenario.name}"

            def attack(row: Row, scenario: Scenario = scenario, fault: Fault = fault, full: int = full) -> None:
                total = scenario.operations if fault.action == "kill" else _count_writes(scenario, place, fault)
                for at in effort.chosen(total, full):
                    _kill(row, scenario, place, Fault(at, fault.action, kinds=fault.kinds))

            rows.append(timed(Row(name, PROMISE), attack))
    return rows


def killed_at_random_times(commands: Commands, place: Path, effort: Effort) -> list[Row]:
    """Kill after a random part of the time that a compile takes."""
    chosen = effort.random("times")
    rows = []
    for scenario in scenarios(commands, place):

        def attack(row: Row, scenario: Scenario = scenario) -> None:
            for _ in range(effort.of(RANDOM_TIMES // 2)):
                subject = copy_subject(scenario.before, place / "victim")
                after_s = chosen.random() * scenario.seconds
                outcome = subject.compile(kill_after_s=after_s)
                _judge(row, scenario, subject, outcome, f"after {after_s:.3f} s")

        rows.append(timed(Row(f"SIGKILL at a random time, {scenario.name}", PROMISE), attack))
    return rows


def signalled_at_operations(commands: Commands, place: Path, effort: Effort) -> list[Row]:
    """Send the signals of a person, a service manager and a terminal at chosen operations."""
    rows = []
    for scenario in scenarios(commands, place):
        for name in SIGNALS:

            def attack(row: Row, scenario: Scenario = scenario, name: str = name) -> None:
                for at in effort.chosen(scenario.operations, SIGNAL_POINTS):
                    _interrupt(row, scenario, place, Fault(at, name))

            rows.append(timed(Row(f"{name} at an operation, {scenario.name}", PROMISE_OF_SIGNALS), attack))
    return rows


def _interrupt(row: Row, scenario: Scenario, place: Path, fault: Fault) -> None:
    subject = copy_subject(scenario.before, place / "victim")
    outcome = subject.compile(root=subject.prefix, fault=fault)
    wrong = manners(outcome)
    if not wrong and outcome.code not in (0, 130):
        wrong = f"exit {outcome.code}"
    if not wrong and outcome.code == 0 and subject.results() != scenario.new:
        wrong = "exit 0 with other bytes"
    if not wrong and (left := [name for name in subject.leftovers() if name != ".lock.json"]):
        wrong = f"it leaves {left[0]}"
    wrong = wrong or judge_state(scenario, subject) or judge_next_compile(scenario, subject)
    row.count(f"exit {outcome.code}", f"{row.name}, operation {fault.at}: {wrong}" if wrong else "")


def _count_writes(scenario: Scenario, place: Path, fault: Fault) -> int:
    subject = copy_subject(scenario.before, place / "victim")
    outcome = subject.compile(root=subject.prefix, fault=fault)
    _must(outcome)
    return outcome.operations


def _kill(row: Row, scenario: Scenario, place: Path, fault: Fault) -> None:
    subject = copy_subject(scenario.before, place / "victim")
    outcome = subject.compile(root=subject.prefix, fault=fault)
    _judge(row, scenario, subject, outcome, f"operation {fault.at}, {fault.action}")


def _judge(row: Row, scenario: Scenario, subject: Subject, outcome: Outcome, where: str) -> None:
    wrong = manners(outcome) or judge_state(scenario, subject) or judge_next_compile(scenario, subject)
    ending = "killed, next compile whole" if outcome.code == -9 else "finished before"
    row.count(ending, f"{row.name}, {where}: {wrong}" if wrong else "")
