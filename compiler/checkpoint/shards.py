"""Which files of a folder hold the weights, and which tensor is in which.

The order of preference is that of transformers: `model.safetensors`, its index
with shards, `pytorch_model.bin`, its index with shards.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compiler.checkpoint.regular_file import RegularFile, find_file
from compiler.checkpoint.untrusted_json import MAX_JSON_BYTES, parse_object
from compiler.errors import CheckpointError
from compiler.quantity import counted
from compiler.sanitize import one_line

MAX_SHARDS = 4096
SHOWN = 8

_RELOAD = "download the model again"
_NAMES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class Shards:
    """The weight files of a checkpoint.

    Attributes:
        files: sorted by name.
        index: the index file, None for a single file.
        weight_map: tensor name -> file name; empty for a single file.
    """

    files: tuple[RegularFile, ...]
    index: RegularFile | None
    weight_map: Mapping[str, str]


def find_shards(folder: Path) -> Shards:
    """Find the weights in `folder`.

    Raises:
        CheckpointError: no weights, a damaged index, or shards that are missing.
    """
    for name in _NAMES:
        single = find_file(folder, name)
        if single is not None:
            return Shards((single,), None, {})
        index = find_file(folder, f"{name}.index.json")
        if index is not None:
            return _read_index(folder, index, name.rpartition(".")[2])
    raise CheckpointError(
        f"{folder} holds no weights: neither {' nor '.join(_NAMES)}, nor an index of either",
        "download the model, or save it as safetensors",
    )


def _read_index(folder: Path, index: RegularFile, suffix: str) -> Shards:
    if index.size > MAX_JSON_BYTES:
        raise CheckpointError(f"{index.name} has {index.size} bytes, at most {MAX_JSON_BYTES} are allowed", _RELOAD)
    with index.open() as opened:
        weight_map = parse_object(opened.read(0, index.size), index.name).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index.name} has no weight_map, or an empty one", _RELOAD)
    names = set()
    for tensor, name in weight_map.items():
        if not isinstance(name, str) or not _is_shard_name(name, suffix):
            raise CheckpointError(
                f"{index.name} puts tensor {one_line(tensor, 100)!r} into {one_line(reprlib.repr(name), 100)}, "
                f"which is not a .{suffix} file name",
                _RELOAD,
            )
        names.add(name)
    if len(names) > MAX_SHARDS:
        raise CheckpointError(f"{index.name} names {len(names)} shards, at most {MAX_SHARDS} are allowed", _RELOAD)
    found = {name: find_file(folder, name) for name in sorted(names)}
    missing = [name for name, file in found.items() if file is None]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise CheckpointError(
            f"{folder} lacks {len(missing)} of {counted(len(names), 'shard')}: {', '.join(missing[:SHOWN])}{more}",
            _RELOAD,
        )
    return Shards(tuple(file for file in found.values() if file is not None), index, weight_map)


def _is_shard_name(name: str, suffix: str) -> bool:
    plain = name.isprintable() and not any(char in "/\\:" for char in name) and not name.startswith(".")
    return plain and name.endswith(f".{suffix}") and len(name) <= 200
