"""One flipped bit in every kind of file, at random places: `hyperdex verify` finds it and says which file.

The model was downloaded from a local hub, so that the record of the download is there, too.
A flipped bit must also never be run: a small file is refused when a build is opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compiler.artifacts.manifest import debug_file
from tests.hub.local_hub import LocalHub, running
from torture.forked import Commands
from torture.report import Effort, Row, timed
from torture.subject import BUILD, MODEL_ID, Subject, manners, write_checkpoint

FLIPS = 200
PROMISE = "verify finds it, names the file and exits 6"
TOKENIZER = {"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}
KINDS = {
    "weights": "ckpt/model.safetensors",
    "config": "ckpt/config.json",
    "tokenizer": "ckpt/tokenizer.json",
    "converted description": "ckpt/hyperdex_config.json",
    "converted model": "ckpt/hyperdex_model.bin",
    "record of the download": "ckpt/hyperdex_download.json",
    "parameters": f"param/{BUILD}/param_1fpga_00_0b.bin",
    "memory map": f"param/{BUILD}/memory_map.json",
    "manifest of the parameters": f"param/{BUILD}/manifest.json",
    "program": f"inst/{BUILD}/inst_1fpga.bin",
    "activation tables": f"inst/{BUILD}/actfn_1fpga.bin",
    "debug information": f"inst/{BUILD}/{debug_file(1)}",
    "manifest of the program": f"inst/{BUILD}/manifest.json",
}
"""Kind of file -> its path in the model's folder; one of the 32 parameter files stands for all."""


@contextmanager
def downloaded(commands: Commands, place: Path) -> Iterator[Subject]:
    """The tiny model, fetched from a local hub and compiled."""
    source = place / "source"
    write_checkpoint(source, seed=3)
    files = {path.name: path.read_bytes() for path in source.iterdir()}
    files["tokenizer.json"] = json.dumps(TOKENIZER).encode()
    subject = Subject(commands, place / "downloaded")
    with running(LocalHub()) as hub:
        hub.add(MODEL_ID, files)
        outcome = commands.run(
            ["compile", MODEL_ID, "--prefix", str(subject.prefix)],
            environment={"HF_ENDPOINT": hub.endpoint},
        )
        if outcome.code:
            raise RuntimeError(f"a compile from the local hub failed: {outcome.stderr}")
        yield subject


def flipped_bits(commands: Commands, place: Path, effort: Effort) -> list[Row]:
    """Flip bits in every kind of file."""
    chosen = effort.random("bits")
    rows = []
    with downloaded(commands, place) as subject:
        if (sound := subject.verify()).code:
            raise RuntimeError(f"verify refuses a sound build: {sound.stdout}{sound.stderr}")
        for kind, name in KINDS.items():
            path = subject.folder / name

            def attack(row: Row, path: Path = path) -> None:
                original = path.read_bytes()
                for _ in range(effort.of(FLIPS)):
                    place_of_bit = chosen.randrange(8 * len(original))
                    _flip(row, subject, path, original, place_of_bit)
                path.write_bytes(original)

            rows.append(timed(Row(f"a flipped bit in the {kind}", PROMISE), attack))
        if (sound := subject.verify()).code:
            raise RuntimeError(f"verify refuses a restored build: {sound.stdout}{sound.stderr}")
    return rows


def _flip(row: Row, subject: Subject, path: Path, original: bytes, bit: int) -> None:
    content = bytearray(original)
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    outcome = subject.verify()
    wrong = manners(outcome)
    if not wrong and outcome.code != 6:
        wrong = f"verify exits {outcome.code}"
    if not wrong and path.name not in outcome.stdout:
        wrong = f"verify does not name the file: {outcome.stdout!r}"
    row.count("found" if outcome.code else "not found", f"{row.name}, bit {bit}: {wrong}" if wrong else "")
