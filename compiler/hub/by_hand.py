"""A checkpoint that somebody put into `ckpt/`: what is there, and the name of what is missing.

In: the folder. Out: the files that make up the checkpoint, or an error that
names the file that is missing, or is no regular file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from compiler.checkpoint.regular_file import find_file
from compiler.checkpoint.small_files import SMALL_NAMES
from compiler.errors import CheckpointError
from compiler.hub.selection import (
    CONFIG_NAME,
    INDEX_LIMIT_BYTES,
    WEIGHT_NAMES,
    is_index,
    shards_of,
)
from compiler.opening import open_regular
from compiler.quantity import counted
from compiler.sanitize import one_line

_WEIGHTS = re.compile(r"[^.].*\.safetensors|pytorch_model.*\.bin")
_SHARD = re.compile(r"(.+)-\d+-of-\d+(\.safetensors|\.bin)")
_NO_WEIGHTS = "neither model.safetensors nor pytorch_model.bin, nor an index of either"


def find_config(ckpt: Path) -> Path | None:
    """The path of `config.json`, None when there is nothing of that name.

    Raises:
        CheckpointError: it, or `ckpt` itself, is something else.
    """
    _names(ckpt)
    return None if find_file(ckpt, CONFIG_NAME) is None else ckpt / CONFIG_NAME


def is_placed(ckpt: Path) -> bool:
    """Whether there are a config and weights, or what goes by their names."""
    names = _names(ckpt)
    return CONFIG_NAME in names and any(_WEIGHTS.fullmatch(name) or name in WEIGHT_NAMES for name in names)


def placed_files(ckpt: Path) -> tuple[tuple[str, int], ...]:
    """Name and size of every file of a checkpoint that `is_placed`.

    Raises:
        CheckpointError: naming the file that is missing, malformed or no regular file.
    """
    entry = next((name for name in WEIGHT_NAMES if find_file(ckpt, name) is not None), None)
    if entry is None:
        raise _without_entry(ckpt)
    names = [name for name in SMALL_NAMES if (ckpt / name).is_file()] + [entry]
    if is_index(entry):
        names += shards_of(read_limited(ckpt / entry, INDEX_LIMIT_BYTES), str(ckpt / entry), _names(ckpt))
    found = [(name, find_file(ckpt, name)) for name in names]
    missing = [name for name, file in found if file is None]
    if missing:
        raise CheckpointError(f"{ckpt}/{missing[0]} is a link to nothing", "copy the file itself")
    return tuple((name, file.size) for name, file in found if file is not None)


def why_incomplete(ckpt: Path) -> CheckpointError | None:
    """What the files that are there lack to be a checkpoint; None when there are no files."""
    names = [name for name in _names(ckpt) if not name.startswith((".", "hyperdex_"))]
    if not names:
        return None
    advice = "place it there, too, or let the hub be asked"
    if CONFIG_NAME not in names:
        return CheckpointError(f"{ckpt} holds {counted(len(names), 'file')}, but {CONFIG_NAME} is missing", advice)
    if not (ckpt / CONFIG_NAME).exists():
        return CheckpointError(f"{ckpt}/{CONFIG_NAME} is a link to nothing", advice)
    return CheckpointError(f"{ckpt} holds no weights: {_NO_WEIGHTS}", advice.replace("it", "them", 1))


def read_limited(path: Path, limit_bytes: int) -> bytes:
    """The content of a file; one byte more than `limit_bytes` when it is longer.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            return file.read(limit_bytes + 1)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}", "check its permissions") from error


def _without_entry(ckpt: Path) -> CheckpointError:
    names = sorted(name for name in _names(ckpt) if _WEIGHTS.fullmatch(name))
    shown = ", ".join(one_line(name, 80) for name in names[:2]) + (", ..." if len(names) > 2 else "")
    shard = next((match for name in names if (match := _SHARD.fullmatch(name))), None)
    if shard is not None:
        index = one_line(f"{shard[1]}{shard[2]}.index.json", 100)
        return CheckpointError(f"{ckpt} holds shards ({shown}), but their index {index} is missing", "place it there")
    return CheckpointError(f"{ckpt} holds {shown}, but {_NO_WEIGHTS}", "rename the file")


def _names(ckpt: Path) -> frozenset[str]:
    """Every name in the folder; none when there is no folder."""
    if not os.path.lexists(ckpt):
        return frozenset()
    if not ckpt.is_dir():
        raise CheckpointError(f"{ckpt} is not a folder", "move it away")
    try:
        return frozenset(path.name for path in ckpt.iterdir())
    except OSError as error:
        raise CheckpointError(f"{ckpt} cannot be read: {error.strerror}", "check its permissions") from error
