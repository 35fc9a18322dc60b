"""Whether what was compiled still belongs to the checkpoint beside it, without reading weights.

In: a model folder. Out: "" or a few words. Sizes, times and small JSON files
decide: a weight file that was written since it was hashed, at the same size,
*may* have changed; a compile hashes it and knows. Nothing here raises: what
cannot be read is a reason, too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from compiler.artifacts import files
from compiler.artifacts.manifest import MANIFEST, Manifest
from compiler.checkpoint.converted import CONFIG_NAME, MODEL_NAME
from compiler.checkpoint.fingerprint import STATE_NAME
from compiler.checkpoint.json_object import ReadJson, read_json
from compiler.checkpoint.regular_file import find_file
from compiler.checkpoint.small_files import hash_small_files
from compiler.errors import ArtifactError, CheckpointError, HyperDexError
from compiler.sanitize import one_line
from compiler.workspace import ModelFolder

_HASHED_HERE_BYTES = 32 << 20
"""A smaller file is hashed at once when its time says nothing."""

_CHECKPOINT_CONFIG = "config.json"


def read_manifest(folder: Path, kind: str) -> tuple[Manifest | None, str]:
    """The manifest of a build folder, None where there is none; and why it cannot be read."""
    if not os.path.lexists(folder / MANIFEST):
        return None, ""
    try:
        return files.read_manifest(folder, kind), ""
    except HyperDexError as error:
        return None, error.problem


@dataclass(frozen=True, slots=True)
class CheckpointState:
    """What the converted checkpoint of a model is.

    Attributes:
        converted: whether phase 2 was ever done.
        fingerprint: of the converted checkpoint; "" when unknown.
        stale: why phase 2 has to be done again; "" when it need not, or was never done.
    """

    converted: bool
    fingerprint: str
    stale: str


def checkpoint_state(folder: ModelFolder) -> CheckpointState:
    """Look at `ckpt/`: small files, and the sizes and times of the large ones."""
    converted = read_json(folder.ckpt / CONFIG_NAME)
    return CheckpointState(bool(converted.fields), converted.text("fingerprint"), _stale_checkpoint(folder, converted))


def stale_build(folder: ModelFolder, build: str, checkpoint: CheckpointState | None = None) -> str:
    """Why a build has to be compiled again, "" when it need not.

    Args:
        folder: the model.
        build: name of the build.
        checkpoint: its `checkpoint_state`, where it is known already.
    """
    param, problem = read_manifest(folder.param(build), "param")
    inst, other = read_manifest(folder.inst(build), "inst")
    if problem or other:
        return problem or other
    if param is None or inst is None:
        return "no parameters" if param is None else "no program"
    if inst.param_fingerprint != param.fingerprint:
        return "the program belongs to other parameters"
    if problem := _changed_artifact(folder.param(build), param) or _changed_artifact(folder.inst(build), inst):
        return problem
    state = checkpoint or checkpoint_state(folder)
    if state.fingerprint not in ("", param.checkpoint_fingerprint):
        return "the checkpoint was converted again since"
    return state.stale or _changed_source(folder, inst)


def _changed_artifact(folder: Path, manifest: Manifest) -> str:
    """The first file of a build that is gone or has another size."""
    for entry in manifest.files:
        try:
            size = files.find_build_file(folder, entry.name).size
        except ArtifactError as error:
            return error.problem
        if size != entry.size:
            return f"{files.where_of(folder, entry.name)} has {size} bytes, the manifest says {entry.size}"
    return ""


def _changed_source(folder: ModelFolder, inst: Manifest) -> str:
    """The first of the small files that is not what the program was made from."""
    try:
        found = {(file.name, file.size, file.sha256) for file in hash_small_files(folder.ckpt)}
    except HyperDexError as error:
        return error.problem
    differ = {name for name, *_ in found ^ {(file.name, file.size, file.sha256) for file in inst.sources}}
    if not differ:
        return ""
    gone = min(differ) not in {name for name, *_ in found}
    return f"{min(differ)} {'is gone' if gone else 'changed'}"


def _stale_checkpoint(folder: ModelFolder, converted: ReadJson) -> str:
    if not converted.fields:
        return converted.problem
    try:
        if find_file(folder.ckpt, MODEL_NAME) is None:
            return f"{MODEL_NAME} is gone"
        return _changed_config(folder, converted) or _changed_file(folder, converted)
    except CheckpointError as error:
        return error.problem


def _changed_config(folder: ModelFolder, converted: ReadJson) -> str:
    """Whether config.json says something else than what was converted."""
    before = converted.fields.get("config")
    if not isinstance(before, dict):
        return ""
    found = read_json(folder.ckpt / _CHECKPOINT_CONFIG)
    if found.problem or found.fields == before:
        return found.problem
    return f"{_CHECKPOINT_CONFIG} {'is gone' if find_file(folder.ckpt, _CHECKPOINT_CONFIG) is None else 'changed'}"


def _changed_file(folder: ModelFolder, converted: ReadJson) -> str:
    """The first file of the checkpoint that is not what was converted."""
    hashed = _hashed(folder)
    files = converted.fields.get("files")
    for entry in files if isinstance(files, list) else ():
        name, size = (str(entry.get("name", "")), entry.get("size")) if isinstance(entry, dict) else ("", 0)
        found = find_file(folder.ckpt, name) if name == Path(name).name else None
        if found is None:
            return f"{one_line(name, 100)} is gone"
        if found.size != size:
            return f"{name} changed"
        known = hashed.get((name, found.size, found.mtime_ns))
        if known is None and found.size <= _HASHED_HERE_BYTES:
            known = found.sha256()
        if known is None and hashed:
            return f"{name} was written since, it may have changed"
        if known is not None and known != entry.get("sha256"):
            return f"{name} changed"
    return ""


def _hashed(folder: ModelFolder) -> dict[tuple[str, int, int], str]:
    """Hashes by name, size and time, as the last compile remembered them."""
    files = read_json(folder.ckpt / STATE_NAME).fields.get("files")
    result = {}
    for entry in files if isinstance(files, list) else ():
        if isinstance(entry, dict):
            key = (str(entry.get("name")), _whole(entry.get("size")), _whole(entry.get("mtime_ns")))
            result[key] = str(entry.get("sha256"))
    return result


def _whole(value: object) -> int:
    return value if isinstance(value, int) else -1
