"""What a prefix holds: models, phases done, builds, sizes, and what is stale.

Reads names, sizes and small JSON files; never a tensor. A folder that is
damaged or vanishes meanwhile becomes a note on its row, not a failure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from compiler.errors import HyperDexError
from compiler.quantity import bytes_text
from compiler.sanitize import one_line
from compiler.staleness import CheckpointState, checkpoint_state, stale_build
from compiler.workspace import ModelFolder, Workspace, parse_build_name
from hyperdex_tui.backend.jobs import running_job

DEMO_ID = "hyperdex/demo"
_JSON_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class BuildEntry:
    """One build of a model.

    Attributes:
        name: `{target}-{N}x[-{dtype}]`.
        has_param, has_inst: whether phase 3 and 4 are complete.
        bytes: size of both folders.
        max_length: tokens the caches hold, 0 when unknown.
        stale: why it no longer matches the checkpoint, "" when it does.
    """

    model_id: str
    name: str
    target: str
    num_devices: int
    dtype: str
    has_param: bool
    has_inst: bool
    bytes: int
    max_length: int = 0
    stale: str = ""

    @property
    def complete(self) -> bool:
        """Whether it can be looked at and run."""
        return self.has_param and self.has_inst


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model of the prefix, or the bundled demo.

    Attributes:
        phases: for phase 0 to 4 whether its result is there.
        bytes: size of the whole folder.
        bundled: not in the prefix yet; ships with the compiler.
        note: what is wrong with it, "" when nothing is.
        job: id of the compile that works on it now, "" when none does.
    """

    model_id: str
    phases: tuple[bool, bool, bool, bool, bool]
    bytes: int
    builds: tuple[BuildEntry, ...] = ()
    architecture: str = ""
    summary: str = ""
    bundled: bool = False
    note: str = ""
    job: str = ""


def read_inventory(prefix: Path) -> tuple[ModelEntry, ...]:
    """Every model of the prefix, the demo included."""
    found = [read_model(folder) for folder in Workspace(prefix).models()]
    if all(entry.model_id != DEMO_ID for entry in found):
        summary = "bundled with the app: needs no network, compiles in seconds"
        demo = ModelEntry(DEMO_ID, (True, True, False, False, False), 0, summary=summary, bundled=True)
        found.append(replace(demo, job=running_job(Workspace(prefix).model(DEMO_ID))))
    return tuple(sorted(found, key=lambda entry: entry.model_id))


def read_model(folder: ModelFolder) -> ModelEntry:
    """One model's entry; problems end up in `note`."""
    config, note = read_json(folder.ckpt / "config.json")
    converted, damage = read_json(folder.ckpt / "hyperdex_config.json")
    checkpoint = checkpoint_state(folder)
    builds = tuple(_read_build(folder, name, checkpoint) for name in folder.builds())
    names = _names(folder.ckpt)
    phases = (
        bool(config),
        any(name.endswith((".safetensors", ".bin")) and name != "hyperdex_model.bin" for name in names),
        bool(converted) and "hyperdex_model.bin" in names,
        any(build.has_param for build in builds),
        any(build.has_inst for build in builds),
    )
    architectures = config.get("architectures")
    architecture = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    return ModelEntry(
        folder.model_id,
        phases,
        folder_bytes(folder.ckpt) + sum(build.bytes for build in builds),
        builds,
        one_line(architecture, 60),
        _summary(config),
        note=note or damage,
        job=running_job(folder),
    )


def folder_bytes(path: Path) -> int:
    """Size of all files below `path`; what cannot be read counts as nothing."""
    total = 0
    try:
        for entry in path.rglob("*"):
            if entry.is_file() and not entry.is_symlink():
                total += entry.stat().st_size
    except OSError:
        pass
    return total


def _read_build(folder: ModelFolder, name: str, checkpoint: CheckpointState) -> BuildEntry:
    parsed = parse_build_name(name)
    param, param_note = read_json(folder.param(name) / "manifest.json")
    inst, inst_note = read_json(folder.inst(name) / "manifest.json")
    stale = param_note or inst_note
    if not stale and param and inst:
        stale = stale_build(folder, name, checkpoint)
    length = inst.get("max_length", param.get("max_length", 0))
    return BuildEntry(
        folder.model_id,
        name,
        parsed.target,
        parsed.num_devices,
        parsed.dtype,
        bool(param),
        bool(inst),
        folder_bytes(folder.param(name)) + folder_bytes(folder.inst(name)),
        length if isinstance(length, int) else 0,
        stale,
    )


_FACTS: tuple[tuple[str, str], ...] = (
    ("num_hidden_layers", "layers"),
    ("hidden_size", "hidden"),
    ("num_attention_heads", "heads"),
    ("num_key_value_heads", "KV heads"),
    ("vocab_size", "tokens in the vocabulary"),
    ("max_position_embeddings", "positions"),
)


def _summary(config: dict[str, object]) -> str:
    parts = [f"{config[name]:,} {word}" for name, word in _FACTS if isinstance(config.get(name), int)]
    return ", ".join(parts)


def _names(path: Path) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in path.iterdir())
    except OSError:
        return frozenset()


def read_json(path: Path) -> tuple[dict[str, object], str]:
    """The object in a file, and what is wrong with it; a missing file is empty and fine."""
    try:
        if path.stat().st_size > _JSON_LIMIT:
            return {}, f"{path.name} is larger than {bytes_text(_JSON_LIMIT)}"
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, RecursionError, HyperDexError) as error:
        return {}, f"{path.name} cannot be read ({one_line(str(error), 80)})"
    return (loaded, "") if isinstance(loaded, dict) else ({}, f"{path.name} is not an object")
