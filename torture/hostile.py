"""Checkpoints from strangers: what is in the files, and what stands in their place.

Every one is refused in one line or compiled; nothing in it is run, nothing outside the model's
folder is read or written, and a refusal costs less than 2 s of a processor and 300 MB.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from torture.forked import Commands, Outcome
from torture.hostile_files import (
    BIN_ATTACKS,
    bin_mutant,
    config_mutant,
    fixed_safetensors,
    safetensors_attack,
    valid_bin,
)
from torture.report import Effort, Row, timed
from torture.subject import BUILD, CONFIG, MODEL_ID, Subject, manners, safetensors_bytes, weights, write_checkpoint

CONFIGS = 1500
SAFETENSORS = 800
BINS = 800
SECONDS = 2.0
PEAK_BYTES = 300_000_000
PROMISE = "refused in one line or compiled; nothing run, nothing outside the folder touched; 2 s, 300 MB"
SECRET = b"outside the model's folder"


def hostile_checkpoints(commands: Commands, place: Path, effort: Effort) -> list[Row]:
    """Compile mutated configs, weights, and folders with links and pipes in them."""
    chosen = effort.random("hostile")
    weights_file = safetensors_bytes(weights(5))
    archive = valid_bin(weights(5))
    victim = _Victim(commands, place)

    def configs(row: Row) -> None:
        for index in range(effort.of(CONFIGS)):
            victim.fresh()
            (victim.ckpt / "config.json").write_bytes(config_mutant(CONFIG, chosen))
            victim.attack(row, f"config {index}")

    def safetensors(row: Row) -> None:
        drawn = (safetensors_attack(weights_file, chosen) for _ in range(effort.of(SAFETENSORS)))
        for index, (name, content) in enumerate(chain(_some(fixed_safetensors(weights_file), effort), drawn)):
            victim.fresh()
            (victim.ckpt / "model.safetensors").write_bytes(content)
            victim.attack(row, f"safetensors {index}, {name}")

    def archives(row: Row) -> None:
        attacks = _some({name: partial(make, victim.canary) for name, make in BIN_ATTACKS.items()}, effort)
        mutants = ((f"mutant {index}", bin_mutant(archive, chosen)) for index in range(effort.of(BINS)))
        for name, content in chain([("a sound archive", archive)], attacks, mutants):
            victim.fresh()
            (victim.ckpt / "model.safetensors").unlink()
            (victim.ckpt / "pytorch_model.bin").write_bytes(content)
            victim.attack(row, name)

    def folders(row: Row) -> None:
        everything = [(target, name) for target in TARGETS for name in PLACES]
        for number in effort.chosen(len(everything), len(everything)):
            target, name = everything[number - 1]
            victim.fresh(compiled=target.startswith((".lock", "hyperdex_", "param", "inst")))
            own = "/" in target or target.startswith(".")
            PLACES[name](victim.subject.folder / target if own else victim.ckpt / target, victim)
            victim.attack(row, f"{name} for {target}", READERS if name == "a pipe" else ())

    return [
        timed(Row("a hostile config.json", PROMISE), configs),
        timed(Row("hostile safetensors", PROMISE), safetensors),
        timed(Row("a hostile .bin", PROMISE), archives),
        timed(Row("a link, pipe, device or folder in place of a file", PROMISE), folders),
    ]


def _some(attacks: dict[str, Callable[[], bytes]], effort: Effort) -> Iterator[tuple[str, bytes]]:
    """All of them once; some when the effort is less than a tenth."""
    names = list(attacks)
    for number in effort.chosen(len(names), 10 * len(names)):
        yield names[number - 1], attacks[names[number - 1]]()


class _Victim:
    """A model folder that is attacked, and what lies beside it."""

    def __init__(self, commands: Commands, place: Path) -> None:
        self.subject = Subject(commands, place / "prefix")
        self.canary = place / "canary"
        self.outside = place / "outside"
        self._sound = Subject(commands, place / "sound")
        write_checkpoint(self._sound.ckpt, seed=5)
        self._compiled = Subject(commands, place / "compiled")
        write_checkpoint(self._compiled.ckpt, seed=5)
        if (outcome := self._compiled.compile()).code:
            raise RuntimeError(f"a compile without faults failed: {outcome.stderr}")

    @property
    def ckpt(self) -> Path:
        """The checkpoint to put hostile files into."""
        return self.subject.ckpt

    def fresh(self, *, compiled: bool = False) -> None:
        """Start from a sound model, and a secret outside of it."""
        shutil.rmtree(self.subject.prefix, ignore_errors=True)
        shutil.copytree((self._compiled if compiled else self._sound).prefix, self.subject.prefix)
        shutil.rmtree(self.outside, ignore_errors=True)
        shutil.copytree(self._sound.ckpt, self.outside)
        (self.outside / "secret").write_bytes(SECRET)

    def attack(self, row: Row, what: str, also: Iterable[list[str]] = ()) -> None:
        """Compile, verify and list the model, do what `also` says, and judge."""
        before = _contents(self.outside)
        compiled = self._run(["compile", MODEL_ID, "--offline"])
        outcomes = [compiled, *map(self._run, (["verify", MODEL_ID], ["models"], *also))]
        wrong = next(filter(None, (self._judge(outcome) for outcome in outcomes)), "")
        if self.canary.exists():
            self.canary.unlink()
            wrong = "something in the checkpoint was run"
        elif _contents(self.outside) != before:
            wrong = "something outside the model's folder was changed"
        row.count(f"exit {compiled.code}", f"{row.name}, {what}: {wrong}" if wrong else "")

    def _run(self, arguments: list[str]) -> Outcome:
        command = [*arguments, "--prefix", str(self.subject.prefix)]
        return self.subject.commands.run(command, inside=self.subject.folder, timeout_s=20)

    @staticmethod
    def _judge(outcome: Outcome) -> str:
        if outcome.found:
            return f"it did {outcome.found[0]}"
        if wrong := manners(outcome):
            return wrong
        if outcome.code and (outcome.cpu_seconds > SECONDS or outcome.peak_bytes > PEAK_BYTES):
            return f"the refusal took {outcome.cpu_seconds:.1f} s and {outcome.peak_bytes / 1e6:.0f} MB"
        return ""


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _link_to(name: str) -> Callable[[Path, _Victim], None]:
    def put(path: Path, victim: _Victim) -> None:
        _clear(path)
        path.symlink_to(victim.outside / (name or path.name))

    return put


def _link(target: str) -> Callable[[Path, _Victim], None]:
    def put(path: Path, _victim: _Victim) -> None:
        _clear(path)
        path.symlink_to(target.format(name=path.name))

    return put


def _pipe(path: Path, _victim: _Victim) -> None:
    _clear(path)
    os.mkfifo(path)


def _folder(path: Path, _victim: _Victim) -> None:
    _clear(path)
    path.mkdir()


def _clear(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


READERS = (
    ["generate", MODEL_ID, "--prompt-ids", "1,2", "--max-new-tokens", "2"],
    ["generate", MODEL_ID, "a b", "--max-new-tokens", "2"],
    ["debug", MODEL_ID, "--prompt-ids", "1,2", "--execute", "step", "--execute", "quit"],
    ["disasm", MODEL_ID],
    ["map", MODEL_ID],
    ["estimate", MODEL_ID, "--offline"],
    ["diff", MODEL_ID, BUILD, BUILD],
    ["download", MODEL_ID, "--offline"],
    ["delete", MODEL_ID, "--yes"],
)
"""What else opens the files of a model."""

TARGETS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "README.md",
    "model.safetensors",
    "model.safetensors.index.json",
    "hyperdex_config.json",
    "hyperdex_model.bin",
    "hyperdex_state.json",
    "hyperdex_download.json",
    ".lock",
    ".lock.json",
    "param/u55c-1x/manifest.json",
    "param/u55c-1x/memory_map.json",
    "param/u55c-1x/param_1fpga_00_00.bin",
    "inst/u55c-1x/manifest.json",
    "inst/u55c-1x/inst_1fpga.bin",
    "inst/u55c-1x",
    "param/u55c-1x",
    "param/.u55c-1x.tmp-0",
)
"""Files that something else stands in place of; without a folder they are of the checkpoint."""

PLACES: dict[str, Callable[[Path, _Victim], None]] = {
    "a link to the same file outside": _link_to(""),
    "a link to a secret outside": _link_to("secret"),
    "a link to /dev/zero": _link("/dev/zero"),
    "a link to /etc/passwd": _link("/etc/passwd"),
    "a link to itself": _link("{name}"),
    "a link to nothing": _link("absent"),
    "a link up": _link("../../../../outside/secret"),
    "a pipe": _pipe,
    "a folder": _folder,
}
"""What stands in their place."""
