"""Which files of a checkpoint are needed, and where its weights are.

In: the names a hub or a folder has, and a weight index. Out: names, all of them
plain (no folders), never code. safetensors are preferred over `.bin`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from compiler.checkpoint.untrusted_json import parse_object
from compiler.errors import CheckpointError, UnsupportedModelError
from compiler.quantity import counted
from compiler.sanitize import one_line

CONFIG_NAME = "config.json"
CONFIG_LIMIT_BYTES = 16 << 20
INDEX_LIMIT_BYTES = 64 << 20

WEIGHT_NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Where weights begin, in the order of preference."""

_INDEX_SUFFIX = ".index.json"
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.(?:safetensors|bin)")
_SHOWN_NAMES = 5
_RELOAD = "its weights are incomplete or damaged: download the model again"


def check_names(names: Iterable[str], model_id: str) -> None:
    """Refuse names that lead out of the folder they are put in.

    Raises:
        CheckpointError: a name is absolute or contains `..` or a NUL.
    """
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if not name or path.is_absolute() or ".." in path.parts or "\0" in name:
            raise CheckpointError(
                f"{model_id} has a file named '{one_line(name, 80)}', which leads out of its folder",
                "choose another repository",
            )


def weights_entry(names: Iterable[str], model_id: str) -> str:
    """Return the file through which the weights are found, one of WEIGHT_NAMES.

    Raises:
        UnsupportedModelError: there is none of them.
    """
    present = set(names)
    for name in WEIGHT_NAMES:
        if name in present:
            return name
    raise UnsupportedModelError(
        f"{model_id} has no model.safetensors and no pytorch_model.bin, whole or sharded",
        "choose a repository in one of these formats",
    )


def is_index(name: str) -> bool:
    """Whether a weights entry is a list of shards."""
    return name.endswith(_INDEX_SUFFIX)


def shards_of(index: bytes, index_name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the shards a weight index names, sorted.

    Args:
        index: content of the index file, at most INDEX_LIMIT_BYTES.
        index_name: its name, for messages and for the format of the shards.
        names: the files there are.

    Raises:
        CheckpointError: the index is malformed, names something that is not a
            plain shard of its format, or names files that do not exist.
    """
    weight_map = parse_object(index, index_name).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index_name} has no weight_map, or an empty one", _RELOAD)
    suffix = PurePosixPath(index_name.removesuffix(_INDEX_SUFFIX)).suffix
    shards = set()
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard) or not shard.endswith(suffix):
            raise CheckpointError(
                f"{index_name} places tensor '{one_line(tensor, 80)}' in '{one_line(str(shard), 80)}', "
                f"which is not a plain {suffix} file name",
                _RELOAD,
            )
        shards.add(shard)
    missing = sorted(shards - set(names))
    if missing:
        shown = ", ".join(missing[:_SHOWN_NAMES]) + (", ..." if len(missing) > _SHOWN_NAMES else "")
        verb = "does" if len(missing) == 1 else "do"
        raise CheckpointError(
            f"{index_name} names {counted(len(missing), 'file')} that {verb} not exist: {shown}", _RELOAD
        )
    return tuple(sorted(shards))
