"""A build's program made once more with other passes, beside the prefix: nothing of the model is touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from compiler.artifacts.manifest import Manifest
from compiler.artifacts.writer import write_inst_build
from compiler.cli.rebuild import options_of, stored_config
from compiler.graph.activations import activation_table
from compiler.isa.encode import encode_program
from compiler.planning import CompileOptions, make_plan, make_program
from compiler.workspace import Workspace
from hyperdex_tui.backend.variants import EVERY_PASS


def write_variant(folder: Path, manifest: Manifest, change: str, into: Path) -> None:
    """Write an instruction folder like `folder` with other passes.

    Args:
        folder: instruction folder of a build, inside its prefix.
        manifest: of that folder.
        change: as `variants.Rival.change`.
        into: empty folder.

    Raises:
        HyperDexError: the build cannot be planned again, or does not fit without the pass.
        OSError: `into` cannot be written.
    """
    prefix = folder.parents[2 + manifest.model_id.count("/")]
    model = Workspace(prefix).model(manifest.model_id)
    config = stored_config(model, manifest)
    options = changed_options(options_of(manifest), change)
    plan = make_plan(config, options)
    program = make_program(plan, options)
    overlap = [program.overlap.name] if program.overlap is not None else []
    made = replace(manifest, passes=(*plan.pass_names, *overlap), tables=program.tables, files=())
    tables = [activation_table(name) for name in program.tables]
    write_inst_build(into, made, encode_program(program.instructions), tables, program.debug)


def changed_options(options: CompileOptions, change: str) -> CompileOptions:
    """The options of a build with a `change`."""
    verb, _, what = change.partition(" ")
    if verb == "with" and what == EVERY_PASS:
        return replace(options, fusion=True, reorder=True, without=())
    if what in ("fusion", "reordering", "any pass"):
        return replace(
            options,
            fusion=options.fusion and what == "reordering",
            reorder=options.reorder and what == "fusion",
        )
    return replace(options, without=(*options.without, what))
