"""From a build back to what it was compiled from: its options, and its plan made again from config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from compiler.errors import ArtifactError

if TYPE_CHECKING:
    from compiler.artifacts.manifest import Manifest
    from compiler.planning import CompileOptions, Plan
    from compiler.workspace import ModelFolder


def options_of(manifest: Manifest) -> CompileOptions:
    """The options that give the program of a build; `manifest` is the program's.

    Raises:
        ArtifactError: passes that this version does not have.
    """
    from compiler.planning import PASS_NAMES, CompileOptions

    names = {text.partition(" ")[0] for text in manifest.passes}
    if not names <= {*PASS_NAMES}:
        raise ArtifactError("the build was made by other passes than this version has", "compile the model again")
    return CompileOptions(
        manifest.num_devices,
        manifest.target,
        manifest.dtype.name,
        manifest.max_length,
        topology=manifest.topology,
        without=tuple(name for name in PASS_NAMES if name not in names),
    )


def stored_config(folder: ModelFolder, manifest: Manifest) -> Mapping[str, Any]:
    """The config a build was planned from, which says of a tied head what the checkpoint holds.

    Raises:
        CheckpointError: config.json cannot be read.
        ArtifactError: the converted checkpoint is damaged.
    """
    from compiler.checkpoint.config import load_config
    from compiler.checkpoint.converted import load_converted
    from compiler.graph.tensors import config_as_stored

    config = load_config(folder.ckpt)
    model = load_converted(folder.ckpt)
    return config if model is None else config_as_stored(config, graph_of(config, manifest).graph, model)


def graph_of(config: Mapping[str, Any], manifest: Manifest) -> Plan:
    """The plan of a build up to its graph and its partition.

    Raises:
        ArtifactError: chunks that this version does not write.
    """
    from compiler.mapping.partition import Chunks
    from compiler.planning import make_plan
    from compiler.program.chunks import ChunkTransmit

    chosen = [rest for name, _, rest in (text.partition(" ") for text in manifest.passes) if name == ChunkTransmit.name]
    try:
        chunks = Chunks.parse(" ".join(chosen))
    except ValueError:
        raise ArtifactError(f"the build was made with chunks {chosen}", "compile the model again") from None
    return make_plan(config, replace(options_of(manifest), chunks=chunks))
