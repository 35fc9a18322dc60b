"""The compile, phase by phase, as one readable function.

    0 check      config.json -> a graph, and whether it fits
    1 download   hub or files placed by hand -> ckpt/
    2 convert    ckpt/ -> hyperdex_config.json, hyperdex_model.bin
    3 map        -> param/BUILD/
    4 generate   -> inst/BUILD/

A phase is skipped when the fingerprint of its inputs is the one its result
carries; otherwise it says what changed. Each phase verifies what it made by a
second algorithm before it is published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Any

from compiler import __version__
from compiler.checkpoint.config import CheckpointConfig
from compiler.checkpoint.special_tokens import stop_tokens
from compiler.errors import ArtifactError
from compiler.events import Listener
from compiler.graph.architectures import build_graph, is_harmless
from compiler.planning import CompileOptions, Plan, check_options, make_plan, make_program, plan_memory
from compiler.publish import ensure_writable
from compiler.quantity import bytes_text, counted
from compiler.reporting import Reporter
from compiler.source import SourceRef
from compiler.workspace import ModelFolder, Workspace, build_name, lock

if TYPE_CHECKING:
    from compiler.artifacts.manifest import Manifest
    from compiler.checkpoint.converted import ConvertedModel

__all__ = ["CompileOptions", "compile_model", "download_model", "make_plan", "plan_memory"]


def compile_model(workspace: Workspace, model_id: str, options: CompileOptions, listener: Listener) -> str:
    """Run phases 0 to 4 and return the name of the build.

    Raises:
        HyperDexError: one line; nothing half-written is left behind.
    """
    report = Reporter(listener)
    folder = workspace.model(model_id)
    build = build_name(options.target, options.num_devices, options.dtype)
    check_options(options)
    with report.phase(0, f"config.json of {model_id}"):
        ensure_writable(folder.path)
        config = _read_config(folder, options, report)
        plan = make_plan(config, options)
        memory = plan_memory(config, options)
        report.message(
            f"{plan.graph.architecture}, {counted(plan.graph.num_layers, 'layer')}: each of {options.num_devices} x "
            f"{options.target} holds {bytes_text(memory.bytes_per_device)} of {bytes_text(memory.capacity_bytes)} "
            f"at {plan.max_length} tokens"
        )
    with lock(folder):
        with report.phase(1, f"to {folder.ckpt}"):
            revision = _download(folder, options, report)
            config = _read_local_config(folder)
            plan = make_plan(config, options)
            stops = stop_tokens(folder.ckpt, config, plan.graph.vocab_size)  # refused before the work, not after
            if stops.beyond:
                named = ", ".join(map(str, stops.beyond))[:60]
                report.message(
                    f"{stops.file}: eos_token_id {named} is beyond the vocabulary of {plan.graph.vocab_size} tokens: "
                    "it never ends a text",
                    "warning",
                )
        with report.phase(2, f"{len(plan.graph.parameters)} parameters"):
            model, reused = _convert(folder, plan, options, report)
            plan = _as_stored(plan, model, options, report)
        with report.phase(
            3, f"{counted(options.num_devices, 'device')}, {plan.mapping.memory_map.channels} channels each"
        ):
            params = _param_manifest(folder, plan, options, model, revision)
            _map(folder, build, plan, options, params, report, reused=reused)
        with report.phase(4, f"{len(plan.graph.nodes)} nodes"):
            _generate(folder, build, plan, options, params, report)
    return build


def download_model(workspace: Workspace, model_id: str, options: CompileOptions, listener: Listener) -> None:
    """Phase 0 as far as no device matters, and phase 1.

    Raises:
        HyperDexError: one line; a download that was begun goes on the next time.
    """
    report = Reporter(listener)
    folder = workspace.model(model_id)
    with report.phase(0, f"config.json of {model_id}"):
        ensure_writable(folder.path)
        graph = build_graph(CheckpointConfig(_read_config(folder, options, report)))
        report.message(f"{graph.architecture}, {counted(graph.num_layers, 'layer')}")
    with lock(folder), report.phase(1, f"to {folder.ckpt}"):
        _download(folder, options, report)


def _read_config(folder: ModelFolder, options: CompileOptions, report: Reporter) -> Mapping[str, Any]:
    from compiler.hub import read_config

    return read_config(
        folder.model_id, folder, revision=options.revision, offline=options.offline, on_message=report.message
    )


def _read_local_config(folder: ModelFolder) -> Mapping[str, Any]:
    from compiler.hub import read_config

    return read_config(folder.model_id, folder, offline=True)


def _download(folder: ModelFolder, options: CompileOptions, report: Reporter) -> str:
    """Phase 1; returns the commit, or "" for files placed by hand."""
    from compiler.hub import download

    snapshot = download(
        folder.model_id,
        folder,
        revision=options.revision,
        offline=options.offline,
        on_progress=lambda done, total, name: report.progress(done, total, "bytes", SourceRef(name)),
        on_message=report.message,
    )
    if snapshot.origin == "local":
        report.skip("using the files in ckpt/")
    elif snapshot.fetched_bytes == 0:
        report.skip(f"commit {snapshot.revision[:12]} is already here")
    return snapshot.revision


def _convert(folder: ModelFolder, plan: Plan, options: CompileOptions, report: Reporter) -> tuple[ConvertedModel, bool]:
    """Phase 2; the model, and whether it is the one of an earlier compile."""
    from compiler.checkpoint.convert import check_range, convert
    from compiler.checkpoint.converted import load_converted
    from compiler.checkpoint.fingerprint import is_up_to_date
    from compiler.graph.tensors import tensor_specs

    current, reason = is_up_to_date(folder.ckpt)
    if current and not options.force:
        model = load_converted(folder.ckpt)
        if model is None:
            raise ArtifactError(f"{folder.ckpt}: the converted model vanished", "start the compile once more")
        if not options.allow_overflow:
            check_range(model.tensors, plan.dtype)
        report.skip(reason)
        return model, True
    report.message("forced" if current else reason)
    converted = convert(
        folder.ckpt,
        tensor_specs(plan.graph),
        plan.config,
        plan.graph.architecture,
        plan.dtype,
        allow_overflow=options.allow_overflow,
        ignored=lambda name: is_harmless(name, plan.graph),
        on_progress=lambda done, total, spec: report.progress(done, total, "bytes", spec.source),
    )
    return converted, False


def _as_stored(plan: Plan, model: ConvertedModel, options: CompileOptions, report: Reporter) -> Plan:
    """The plan, made again if the checkpoint's head is its own although the config ties it."""
    from compiler.graph.tensors import config_as_stored

    config = config_as_stored(plan.config, plan.graph, model)
    if config is plan.config:
        return plan
    report.message("the head is tied in config.json but stored with other values: using the stored one", "warning")
    return make_plan(config, options)


def _param_manifest(
    folder: ModelFolder, plan: Plan, options: CompileOptions, model: ConvertedModel, revision: str
) -> Manifest:
    """What the parameters are made from."""
    from compiler.artifacts.manifest import Manifest
    from compiler.checkpoint.convert import overflowing

    return _with_fingerprint(
        Manifest(
            kind="param",
            tool_version=__version__,
            model_id=folder.model_id,
            revision=revision,
            target=options.target,
            num_devices=options.num_devices,
            dtype=plan.dtype,
            max_length=plan.max_length,
            fingerprint="",
            checkpoint_fingerprint=model.fingerprint,
            passes=plan.pass_names,
            clamped=tuple(tensor.name for tensor in overflowing(model.tensors, plan.dtype)),
        )
    )


def _map(
    folder: ModelFolder,
    build: str,
    plan: Plan,
    options: CompileOptions,
    manifest: Manifest,
    report: Reporter,
    *,
    reused: bool,
) -> None:
    """Phase 3; `reused`: the converted model is that of an earlier compile, which may have been damaged since."""
    from compiler.artifacts.channels import channel_reader
    from compiler.artifacts.reuse import reason_to_build
    from compiler.artifacts.writer import ParamWriter, write_param_build
    from compiler.checkpoint.binary import open_model
    from compiler.checkpoint.convert import overflow_text
    from compiler.mapping.fill import BLOCK_BYTES, device_blocks
    from compiler.mapping.sources import Sources
    from compiler.mapping.verify import verify_contents, verify_map
    from compiler.workspace import ensure_free_space, publish_folder

    reason = reason_to_build(folder.param(build), manifest)
    if not reason and not options.force:
        report.skip("up to date")
        return
    report.message(reason or "forced")
    memory_map = plan.mapping.memory_map
    verify_map(memory_map, plan.graph)
    total = memory_map.file_bytes * memory_map.channels * memory_map.num_devices
    ensure_free_space(folder.path, total)
    model = open_model(folder.ckpt)
    if reused:
        model.check_all()
    if manifest.clamped:
        beyond = tuple(model.tensor(name) for name in manifest.clamped)
        report.message(f"{overflow_text(beyond, plan.dtype)}; they are clamped", "warning")
    sources = Sources(plan.graph, model, clamp=bool(manifest.clamped))
    block_bytes = BLOCK_BYTES // 8 if options.low_memory_usage else BLOCK_BYTES

    def fill(device: int, writer: ParamWriter) -> None:
        done = device * (total // memory_map.num_devices)
        for block in device_blocks(memory_map, sources, device, block_bytes):
            writer.write(block.address, block.content)
            report.progress(
                done + (block.address * memory_map.channels) + block.content.nbytes, total, "bytes", block.region.source
            )

    with publish_folder(folder.param(build)) as temporary:
        write_param_build(temporary, manifest, memory_map, fill)
        with channel_reader(temporary, memory_map.num_devices) as read:
            compared = verify_contents(memory_map, sources, read)
    report.progress(total, total, "bytes", SourceRef())
    report.message(f"verified: no overlap, aligned, complete; {compared} elements read back")


def _generate(
    folder: ModelFolder, build: str, plan: Plan, options: CompileOptions, params: Manifest, report: Reporter
) -> None:
    """Phase 4; `params` is the manifest of the parameters that the program belongs to."""
    from compiler.artifacts.manifest import FileEntry
    from compiler.artifacts.reuse import reason_to_build
    from compiler.artifacts.writer import write_inst_build
    from compiler.checkpoint.small_files import hash_small_files
    from compiler.graph.activations import activation_table
    from compiler.isa.encode import encode_program
    from compiler.workspace import publish_folder

    overlap = options.overlap(plan.max_length)
    manifest = _with_fingerprint(
        replace(
            params,
            kind="inst",
            passes=(*params.passes, *([overlap.name] if overlap else [])),
            vocab_size=plan.graph.vocab_size,
            eos_token_ids=stop_tokens(folder.ckpt, plan.config, plan.graph.vocab_size).ids,
            architecture=plan.graph.architecture,
            lmu_elements=plan.lmu_elements,
            num_layers=plan.graph.num_layers,
            param_fingerprint=params.fingerprint,
            sources=tuple(FileEntry(*astuple(file)) for file in hash_small_files(folder.ckpt)),
            topology=plan.rules.wiring.topology,
        )
    )
    reason = reason_to_build(folder.inst(build), manifest)
    if not reason and not options.force:
        report.skip("up to date")
        return
    report.message(reason or "forced")
    for name, before, after in plan.reports:
        report.message(f"pass {name}: {before} nodes before, {after} after")
    if chunks := str(plan.mapping.partition.chunks):
        report.message(f"pass chunk-transmit: pieces of vectors by their width: {chunks}")
    program = make_program(plan, options)
    if program.overlap is not None:
        report.message(f"pass {program.overlap}: {program.moved} of {len(program.instructions)} instructions moved")
    manifest = replace(manifest, tables=program.tables)
    tables = [activation_table(name) for name in program.tables]
    with publish_folder(folder.inst(build)) as temporary:
        write_inst_build(temporary, manifest, encode_program(program.instructions), tables, program.debug)
    count = len(program.instructions)
    report.progress(count, count, "instructions", SourceRef())
    report.message(f"verified: {count} instructions, {program.used_elements} of {manifest.lmu_elements} LMU elements")


def _with_fingerprint(manifest: Manifest) -> Manifest:
    """The manifest with the hash of everything that decides the bytes of its build."""
    bare = replace(manifest, fingerprint="")
    return replace(manifest, fingerprint=hashlib.sha256(repr(bare).encode()).hexdigest())
