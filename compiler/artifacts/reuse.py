"""Whether a build on disk may be kept: made from the same inputs, and its files as they were written.

In: a folder and the manifest a compile would write. Out: "" or, in a few words,
why it has to be made. Parameter files are as large as the model: their sizes are
compared; every other file is hashed.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from compiler.artifacts.files import find_build_file, read_manifest
from compiler.artifacts.manifest import (
    MANIFEST,
    MEMORY_MAP,
    Manifest,
    activation_file,
    debug_file,
    param_file,
    program_file,
)
from compiler.errors import ArtifactError, CheckpointError
from compiler.memory_map import CHANNELS

_TOLD = ("tool_version", "revision", "checkpoint_fingerprint", "max_length", "passes", "clamped", "eos_token_ids")
"""Fields whose change is worth a word."""


def reason_to_build(folder: Path, wanted: Manifest) -> str:
    """Why the build in `folder` has to be made, "" when the one there is right and whole.

    Args:
        folder: `param/BUILD/` or `inst/BUILD/`.
        wanted: with its fingerprint; without files, and without tables.
    """
    if not os.path.lexists(folder / MANIFEST):
        return "not built yet"
    try:
        found = read_manifest(folder, wanted.kind)
    except ArtifactError as error:
        return error.problem
    if found.fingerprint != wanted.fingerprint:
        changed = [name.replace("_", " ") for name in _TOLD if getattr(found, name) != getattr(wanted, name)]
        changed += sorted({entry.name for entry in {*found.sources} ^ {*wanted.sources}})
        return f"{', '.join(changed)} changed" if changed else "its inputs changed"
    if replace(found, files=(), tables=()) != wanted:
        return f"{MANIFEST} is not what was written"
    return _damage(folder, found)


def _damage(folder: Path, manifest: Manifest) -> str:
    parameters = _parameter_files(manifest)
    small = {MEMORY_MAP} if manifest.kind == "param" else _instruction_files(manifest)
    if parameters | small != {entry.name for entry in manifest.files}:
        return f"{MANIFEST} lists other files than were written"
    for entry in manifest.files:
        try:
            file = find_build_file(folder, entry.name)
            if file.size != entry.size:
                return f"{entry.name} has another size"
            if entry.name in small and file.sha256() != entry.sha256:
                return f"{entry.name} is not what was written"
        except (ArtifactError, CheckpointError) as error:
            return error.problem
    return ""


def _parameter_files(manifest: Manifest) -> set[str]:
    if manifest.kind != "param":
        return set()
    num = manifest.num_devices
    return {param_file(num, device, channel) for device in range(num) for channel in range(CHANNELS)}


def _instruction_files(manifest: Manifest) -> set[str]:
    num = manifest.num_devices
    return {program_file(num), activation_file(num), debug_file(num)}
