"""What a prefix holds: models, phases done, builds, sizes, and what is stale.

Reads names, sizes and small JSON files; never a tensor. A folder that is
damaged or vanishes meanwhile becomes a note on its row, not a failure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.checkpoint.json_object import read_json
from compiler.checkpoint.model_card import read_card
from compiler.errors import HyperDexError
from compiler.sanitize import one_line
from compiler.workspace import ModelFolder, Workspace, folder_bytes, parse_build_name
from hyperdex_tui.backend.jobs import running_job
from hyperdex_tui.backend.words import config_dtype, config_words, weights_of

if TYPE_CHECKING:
    from compiler.staleness import CheckpointState

DEMO_ID = "hyperdex/demo"
_MOST_PASSES = 32
_BUNDLED = "bundled with the app: needs no network, compiles in seconds"


@dataclass(frozen=True, slots=True)
class BuildEntry:
    """One build of a model.

    Attributes:
        name: `{target}-{N}x[-{dtype}]`.
        has_param, has_inst: whether phase 3 and 4 are complete.
        bytes: size of both folders.
        max_length: tokens the caches hold, 0 when unknown.
        stale: why it no longer matches the checkpoint, "" when it does.
        passes: of the compiler that ran, with what they chose.
        topology: how the devices are wired, "" when unknown.
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
    passes: tuple[str, ...] = ()
    topology: str = ""

    @property
    def complete(self) -> bool:
        """Whether it can be looked at and run."""
        return self.has_param and self.has_inst


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model of the prefix, or the bundled demo.

    Attributes:
        phases: for phase 0 to 4 whether its result is there; phase 0 of a model that went no further is for
            `support.Support` to say.
        bytes: size of the whole folder.
        bundled: not in the prefix yet; ships with the compiler.
        note: what is wrong with it, "" when nothing is.
        job: id of the compile that works on it now, "" when none does.
        words: what its config says, in plain words.
        parameters, dtype: of its weights; 0 and "" when unknown.
        licence: as its card says, "" when it does not.
        is_gated: whether the hub asks for an agreement before access, as its card says.
        unsupported: why this compiler refuses it, "" when it does not or nobody asked.
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
    words: tuple[str, ...] = ()
    parameters: int = 0
    dtype: str = ""
    licence: str = ""
    is_gated: bool = False
    unsupported: str = ""


def read_inventory(prefix: Path) -> tuple[ModelEntry, ...]:
    """Every model of the prefix, the demo included."""
    found = [read_model(folder) for folder in Workspace(prefix).models()]
    if all(entry.model_id != DEMO_ID for entry in found):
        found.append(_bundled(Workspace(prefix).model(DEMO_ID)))
    return tuple(sorted(found, key=lambda entry: entry.model_id))


def _bundled(folder: ModelFolder) -> ModelEntry:
    """The demo before it is in the prefix, as its packaged files say."""
    from compiler.demo import demo_folder

    demo = ModelEntry(DEMO_ID, (True, True, False, False, False), 0, summary=_BUNDLED, bundled=True)
    try:
        place = demo_folder()
    except HyperDexError as error:
        return replace(demo, note=str(error))
    config, _ = read_json(place / "config.json")
    parameters, dtype = weights_of(place)
    return replace(
        demo,
        architecture=_architecture(config),
        job=running_job(folder),
        words=config_words(config),
        parameters=parameters,
        dtype=dtype,
        licence=read_card(place).licence,
    )


def read_model(folder: ModelFolder) -> ModelEntry:
    """One model's entry; problems end up in `note`."""
    from compiler.staleness import checkpoint_state  # knows the formats, which the first frame need not wait for

    config, note = read_json(folder.ckpt / "config.json")
    converted, damage = read_json(folder.ckpt / "hyperdex_config.json")
    checkpoint = checkpoint_state(folder)
    builds = tuple(_read_build(folder, name, checkpoint) for name in folder.builds())
    names = _names(folder.ckpt)
    phases = (
        bool(config) and (bool(converted) or bool(builds)),
        any(name.endswith((".safetensors", ".bin")) and name != "hyperdex_model.bin" for name in names),
        bool(converted) and "hyperdex_model.bin" in names,
        any(build.has_param for build in builds),
        any(build.has_inst for build in builds),
    )
    card = read_card(folder.ckpt)
    parameters, dtype = weights_of(folder.ckpt)
    return ModelEntry(
        folder.model_id,
        phases,
        folder_bytes(folder.ckpt) + sum(build.bytes for build in builds),
        builds,
        _architecture(config),
        note=note or damage,
        job=running_job(folder),
        words=config_words(config),
        parameters=parameters,
        dtype=dtype or config_dtype(config),
        licence=card.licence,
        is_gated=card.is_gated,
    )


def delete_build(prefix: Path, model_id: str, build: str) -> int:
    """Delete a build; bytes freed.

    Raises:
        HyperDexError: it is gone, somebody compiles the model, or the folder cannot be removed.
    """
    from compiler.removal import remove_builds

    return sum(size.bytes for size in remove_builds(Workspace(prefix).model(model_id), [build]))


def _read_build(folder: ModelFolder, name: str, checkpoint: CheckpointState) -> BuildEntry:
    from compiler.staleness import stale_build

    parsed = parse_build_name(name)
    param, param_note = read_json(folder.param(name) / "manifest.json")
    inst, inst_note = read_json(folder.inst(name) / "manifest.json")
    stale = param_note or inst_note
    if not stale and param and inst:
        stale = stale_build(folder, name, checkpoint)
    length = inst.get("max_length", param.get("max_length", 0))
    passes = inst.get("passes")
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
        tuple(one_line(str(name), 80) for name in passes[:_MOST_PASSES]) if isinstance(passes, list) else (),
        one_line(str(inst.get("topology", "")), 20),
    )


def _architecture(config: dict[str, object]) -> str:
    names = config.get("architectures")
    return one_line(str(names[0]), 60) if isinstance(names, list) and names else ""


def _names(path: Path) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in path.iterdir())
    except OSError:
        return frozenset()
