"""Any sequence of compiles, kills, failing disks, damage and new weights: what is accepted is whole and right."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from torture.forked import Commands, Outcome, commands
from torture.interposer import Fault
from torture.subject import MODEL_ID, Subject, manners, write_checkpoint

DEVICES = (1, 2)
SEEDS = (1, 2, 3)
FAULTS = ("kill", "tear", "EIO", "ENOSPC")


@pytest.fixture(scope="module")
def server() -> Iterator[Commands]:
    """Children that can be killed."""
    with commands() as started:
        yield started


class Prefix(RuleBasedStateMachine):
    """One model in one prefix; the model of it is which weights are there, and whether something was damaged."""

    server: Commands
    root: Path
    references: dict[tuple[int, int], dict[str, bytes]]

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(dir=self.root))
        self.subject = Subject(self.server, self.place / "prefix")
        self.seed = 0
        self.damaged = False

    def teardown(self) -> None:
        """Remove the prefix."""
        shutil.rmtree(self.place)

    @initialize(seed=st.sampled_from(SEEDS))
    def place_weights(self, seed: int) -> None:
        write_checkpoint(self.subject.ckpt, seed)
        self.seed = seed

    @rule(seed=st.sampled_from(SEEDS))
    def replace_weights(self, seed: int) -> None:
        write_checkpoint(self.subject.ckpt, seed)
        self.seed = seed

    @rule(devices=st.sampled_from(DEVICES), force=st.booleans())
    def compile(self, devices: int, force: bool) -> None:
        outcome = self._compile(devices, force)
        assert manners(outcome) == ""
        if outcome.code == 6 and self.damaged:  # a damaged converted model is not mapped
            assert "--force" in outcome.stderr
            outcome = self._compile(devices, True)
        assert outcome.code == 0, outcome.stderr
        assert self.subject.leftovers() == []
        if force or not self.damaged:
            assert self._build(devices) == self._reference(self.seed, devices)
            assert self._verify(devices).code == 0

    @rule(
        devices=st.sampled_from(DEVICES), action=st.sampled_from(FAULTS), at=st.integers(1, 400), lasting=st.booleans()
    )
    def compile_with_a_fault(self, devices: int, action: str, at: int, lasting: bool) -> None:
        outcome = self._compile(devices, False, Fault(at, action, lasting and action.isupper()))
        assert manners(outcome) == ""
        if outcome.code == 0 and not self.damaged:
            assert self._build(devices) == self._reference(self.seed, devices)

    @precondition(lambda self: self.seed)
    @rule(data=st.data())
    def flip_a_bit(self, data: st.DataObject) -> None:
        kinds = [self.subject.folder / kind for kind in ("param", "inst")]
        files = sorted(path for kind in kinds for path in kind.rglob("*") if path.is_file())
        files += [path for path in (self.subject.ckpt / "hyperdex_model.bin",) if path.exists()]
        if files:
            path = data.draw(st.sampled_from(files))
            content = bytearray(path.read_bytes())
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            path.write_bytes(content)
            self.damaged = True

    @rule(devices=st.sampled_from(DEVICES))
    def verify(self, devices: int) -> None:
        """What verify accepts is a build of some weights, bit for bit."""
        if self._verify(devices).code == 0:
            assert self._build(devices) in [self._reference(seed, devices) for seed in SEEDS]

    def _compile(self, devices: int, force: bool, fault: Fault | None = None) -> Outcome:
        options = ["--num-device", str(devices), *(["--force"] if force else [])]
        faults = {"root": self.subject.prefix, "fault": fault} if fault is not None else {}
        return self.subject.compile(*options, **faults)

    def _verify(self, devices: int) -> Outcome:
        command = ["verify", MODEL_ID, "--prefix", str(self.subject.prefix), "--build", f"u55c-{devices}x"]
        outcome = self.server.run(command)
        assert manners(outcome) == ""
        return outcome

    def _build(self, devices: int, folder: Path | None = None) -> dict[str, bytes]:
        root = folder or self.subject.folder
        files = [path for kind in ("param", "inst") for path in (root / kind / f"u55c-{devices}x").rglob("*")]
        return {str(path.relative_to(root)): path.read_bytes() for path in files}

    def _reference(self, seed: int, devices: int) -> dict[str, bytes]:
        """The build of some weights as a compile without faults makes it."""
        if (seed, devices) not in self.references:
            clean = Subject(self.server, self.place / f"clean-{seed}-{devices}")
            write_checkpoint(clean.ckpt, seed)
            assert clean.compile("--num-device", str(devices)).code == 0
            self.references[seed, devices] = self._build(devices, clean.folder)
        return self.references[seed, devices]


def _run(server: Commands, root: Path, examples: int, steps: int) -> None:
    machine = type("PrefixOfServer", (Prefix,), {"server": server, "root": root, "references": {}})
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)


def test_a_few_sequences(server: Commands, tmp_path: Path) -> None:
    _run(server, tmp_path, 3, 8)


@pytest.mark.slow
def test_many_sequences(server: Commands, tmp_path: Path) -> None:
    _run(server, tmp_path, 10, 12)
