"""SIGKILL and failing disks within a download from a local hub, and the download that goes on after it.

Whatever the moment: what is there is not taken for a whole checkpoint, and the next download ends
with the hub's bytes, the same record and no leftovers.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.hub.local_hub import LocalHub, running
from torture.forked import Commands, Outcome
from torture.interposer import Fault
from torture.report import Effort, Row, timed
from torture.subject import MODEL_ID, Subject, manners, safetensors_bytes, weights, write_checkpoint

POINTS = 60
RANDOM_TIMES = 40
SHARDS = 3
TOKENIZER_BYTES = 5_000_000
PROMISE = "nothing that is not whole is used; the next download gives the hub's bytes and no leftovers"
FAULTS = (("kill", False), ("tear", False), ("EIO", False), ("ENOSPC", True), ("EDQUOT", False))


@dataclass(frozen=True)
class _Source:
    """A hub with one model in shards, and the commands that download it.

    Attributes:
        commands: server of the children.
        place: folder for prefixes.
        files: what the hub has.
        environment: points a command at the hub.
    """

    commands: Commands
    place: Path
    files: dict[str, bytes]
    environment: dict[str, str]

    def fresh(self) -> Subject:
        """An empty prefix."""
        subject = Subject(self.commands, self.place / "victim")
        shutil.rmtree(subject.prefix, ignore_errors=True)
        return subject

    def download(self, subject: Subject, **fault: object) -> Outcome:
        """`hyperdex download`; see `Commands.run`."""
        arguments = ["download", MODEL_ID, "--prefix", str(subject.prefix)]
        return self.commands.run(arguments, environment=self.environment, **fault)  # type: ignore[arg-type]


def killed_downloads(commands: Commands, place: Path, effort: Effort) -> list[Row]:
    """Kill and fail chosen operations of a download, and kill it at random times."""
    chosen = effort.random("downloads")
    rows = []
    with _source(commands, place) as source:
        sound = source.fresh()
        outcome = source.download(sound, root=sound.prefix)
        if outcome.code:
            raise RuntimeError(f"a download without faults failed: {outcome.stderr}")
        for action, lasting in FAULTS:

            def at_operations(row: Row, action: str = action, lasting: bool = lasting) -> None:
                for at in effort.chosen(outcome.operations, POINTS):
                    _attack(row, source, f"operation {at}", root=True, fault=Fault(at, action, lasting))

            rows.append(timed(Row(f"{action} within a download", PROMISE), at_operations))

        def at_times(row: Row) -> None:
            for _ in range(effort.of(RANDOM_TIMES)):
                after_s = chosen.random() * outcome.seconds
                _attack(row, source, f"after {after_s:.3f} s", kill_after_s=after_s)

        rows.append(timed(Row("SIGKILL at a random time of a download", PROMISE), at_times))
    return rows


def _attack(row: Row, source: _Source, where: str, *, root: bool = False, **fault: object) -> None:
    subject = source.fresh()
    outcome = source.download(subject, **({"root": subject.prefix} if root else {}), **fault)
    wrong = manners(outcome) or _judge_offline(source, subject) or _judge_next(source, subject)
    ending = {0: "not needed, same bytes", -9: "killed, next download whole"}.get(outcome.code, f"exit {outcome.code}")
    if outcome.code == 0 and not wrong and _content(subject) != source.files:
        wrong = "exit 0 with other bytes"
    row.count(ending, f"{row.name}, {where}: {wrong}" if wrong else "")


def _judge_offline(source: _Source, subject: Subject) -> str:
    """A compile that may not ask the hub uses the whole checkpoint or none."""
    outcome = subject.compile()
    if outcome.code == 0 and _content(subject) != source.files:
        return "a compile used part of a download"
    return manners(outcome)


def _judge_next(source: _Source, subject: Subject) -> str:
    outcome = source.download(subject)
    if outcome.code:
        return f"the next download fails: {outcome.stderr[-300:]!r}"
    if (found := _content(subject)) != source.files:
        return f"the next download gives other files: {sorted(found)}"
    if left := subject.leftovers():
        return f"the next download leaves {left[0]}"
    return manners(outcome)


def _content(subject: Subject) -> dict[str, bytes]:
    """The files of the checkpoint, without what a compile and the download itself add."""
    ours = [path for path in subject.ckpt.glob("*") if not path.name.startswith((".", "hyperdex_"))]
    return {path.name: path.read_bytes() for path in ours}


@contextmanager
def _source(commands: Commands, place: Path) -> Iterator[_Source]:
    """The tiny model in shards, with a tokenizer that takes several pieces to fetch."""
    write_checkpoint(place / "source", seed=7)
    tensors = list(weights(7).items())
    files = {"config.json": (place / "source" / "config.json").read_bytes()}
    weight_map: dict[str, str] = {}
    for number in range(SHARDS):
        name = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
        part = dict(tensors[number::SHARDS])
        files[name] = safetensors_bytes(part)
        weight_map |= dict.fromkeys(part, name)
    files["model.safetensors.index.json"] = json.dumps({"weight_map": weight_map}).encode()
    files["tokenizer.json"] = json.dumps({"padding": "x" * TOKENIZER_BYTES}).encode()
    with running(LocalHub()) as hub:
        hub.add(MODEL_ID, files)
        yield _Source(commands, place, files, {"HF_ENDPOINT": hub.endpoint})
