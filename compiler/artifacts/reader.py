"""Opens a build: the parameter and the instruction folder that belong together.

Two folders -> `Build`, or an ArtifactError that says what is damaged. Sizes,
headers, formats, fingerprints and the hashes of all but the parameter files are
always checked, those of the parameter files on request. The files may come from
anybody: nothing in them is believed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compiler.artifacts.activation import decode_tables
from compiler.artifacts.debug import debug_from_bytes
from compiler.artifacts.files import REPEAT, find_build_file, read_begin, read_build_file, read_manifest, where_of
from compiler.artifacts.layout import memory_map_from_json
from compiler.artifacts.manifest import (
    MEMORY_MAP,
    Manifest,
    activation_file,
    debug_file,
    param_file,
    program_file,
)
from compiler.debug_info import DebugInfo
from compiler.errors import ArtifactError, CheckpointError
from compiler.header import HEADER_BYTES, Payload, check_header
from compiler.isa.spec import INSTRUCTION_BYTES, ISA_VERSION, WORD_COUNT
from compiler.isa.tables import ActivationTable
from compiler.memory_map import MemoryMap
from compiler.strict_json import RECOMPILE

_MAP_BYTES = 512 << 20
_DEBUG_BYTES = 1 << 30
_PROGRAM_BYTES = 1 << 30
_TABLES_BYTES = 512 << 20


class Build:
    """An opened build.

    Attributes:
        param_dir, inst_dir: the folders.
        param_manifest: manifest of the parameter folder.
        manifest: manifest of the instruction folder.
        memory_map: where everything lies.
        program_words: int32 [instructions, 8].
        tables: activation tables, table 1 first.
    """

    def __init__(self, param_dir: Path, inst_dir: Path) -> None:
        self.param_dir = param_dir
        self.inst_dir = inst_dir
        self.param_manifest = read_manifest(param_dir, "param")
        self.manifest = read_manifest(inst_dir, "inst")
        _check_pair(self.param_manifest, self.manifest)
        self.memory_map = read_memory_map(param_dir, self.param_manifest)
        _check_map(self.param_manifest, self.memory_map)
        self._check_param_files()
        self.program_words = read_program(inst_dir, self.manifest)
        self.tables = read_tables(inst_dir, self.manifest)

    @cached_property
    def debug(self) -> DebugInfo:
        """Debug information, read when it is first asked for."""
        name = debug_file(self.manifest.num_devices)
        content = read_build_file(self.inst_dir, name, _DEBUG_BYTES, self.manifest.entry(name))
        return debug_from_bytes(content, len(self.program_words), where_of(self.inst_dir, name))

    def param_file(self, device: int, channel: int) -> Path:
        """Path of the parameter file of one channel; address a lies at HEADER_BYTES + a."""
        return self.param_dir / param_file(self.memory_map.num_devices, device, channel)

    def _check_param_files(self) -> None:
        expected = HEADER_BYTES + self.memory_map.file_bytes
        for device in range(self.memory_map.num_devices):
            for channel in range(self.memory_map.channels):
                name = param_file(self.memory_map.num_devices, device, channel)
                where = where_of(self.param_dir, name)
                listed = self.param_manifest.entry(name).size
                file = find_build_file(self.param_dir, name)
                if file.size != expected or listed != expected:
                    raise ArtifactError(
                        f"{where} has {file.size} bytes, the manifest says {listed}, the memory map {expected}",
                        RECOMPILE,
                    )
                code = _param_header(read_begin(self.param_dir, file, HEADER_BYTES), where)
                if code != self.memory_map.dtype.code:
                    raise ArtifactError(f"{where} holds dtype code {code}, not {self.memory_map.dtype}", REPEAT)


def open_build(param_dir: Path, inst_dir: Path, *, verify: bool = False) -> Build:
    """Open and check a build.

    Args:
        param_dir: `param/BUILD/` of a model folder.
        inst_dir: `inst/BUILD/` of the same model folder.
        verify: also compare the hash of every file, which reads all of them.

    Raises:
        ArtifactError: something is missing, damaged, foreign or of another version.
    """
    build = Build(param_dir, inst_dir)
    if verify:
        damaged = verify_hashes(build)
        if damaged:
            more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
            raise ArtifactError(f"{damaged[0]}{more}: content does not match the manifest", REPEAT)
    return build


def verify_hashes(build: Build, on_bytes: Callable[[int], None] | None = None) -> tuple[str, ...]:
    """Names, as FOLDER/FILE, of the files whose size or SHA-256 is not the manifest's.

    Args:
        build: the build.
        on_bytes: called with the size of every piece that was read.
    """
    damaged = []
    for folder, manifest in ((build.param_dir, build.param_manifest), (build.inst_dir, build.manifest)):
        for entry in manifest.files:
            try:
                file = find_build_file(folder, entry.name)
                sound = file.size == entry.size and file.sha256(on_bytes) == entry.sha256
            except (ArtifactError, CheckpointError):
                sound = False
            if not sound:
                damaged.append(where_of(folder, entry.name))
    return tuple(damaged)


def read_memory_map(param_dir: Path, manifest: Manifest | None = None) -> MemoryMap:
    """Read the memory map of a parameter folder; with a manifest, it must be the one that was written.

    Raises:
        ArtifactError: there is none, or it cannot be read.
    """
    entry = manifest.entry(MEMORY_MAP) if manifest is not None else None
    content = read_build_file(param_dir, MEMORY_MAP, _MAP_BYTES, entry)
    return memory_map_from_json(content, where_of(param_dir, MEMORY_MAP))


def read_program(inst_dir: Path, manifest: Manifest) -> NDArray[np.int32]:
    """Instruction words [instructions, 8] of an instruction folder; their meaning is not checked.

    Raises:
        ArtifactError: missing, cut short, or of another instruction set version.
    """
    name = program_file(manifest.num_devices)
    where = where_of(inst_dir, name)
    content = read_build_file(inst_dir, name, _PROGRAM_BYTES, manifest.entry(name))
    version = check_header(content, Payload.PROGRAM, where)
    if version != ISA_VERSION:
        raise ArtifactError(f"{where} has instruction set {version}, this program runs {ISA_VERSION}", RECOMPILE)
    size = len(content) - HEADER_BYTES
    if size % INSTRUCTION_BYTES or not size:
        raise ArtifactError(f"{where} has {size} bytes of instructions, {INSTRUCTION_BYTES} make one", RECOMPILE)
    return np.frombuffer(content, dtype="<i4", offset=HEADER_BYTES).astype(np.int32).reshape(-1, WORD_COUNT)


def read_tables(inst_dir: Path, manifest: Manifest) -> tuple[ActivationTable, ...]:
    """Activation tables of an instruction folder.

    Raises:
        ArtifactError: missing, damaged, or not as many as the manifest names.
    """
    name = activation_file(manifest.num_devices)
    tables = decode_tables(
        read_build_file(inst_dir, name, _TABLES_BYTES, manifest.entry(name)), where_of(inst_dir, name)
    )
    if len(tables) != len(manifest.tables):
        raise ArtifactError(
            f"{where_of(inst_dir, name)} holds {len(tables)} tables, the manifest names {len(manifest.tables)}",
            RECOMPILE,
        )
    return tables


def _param_header(header: bytes, where: str) -> int:
    """The dtype code of a parameter file."""
    try:
        return check_header(header, Payload.PARAM, where)
    except ArtifactError as error:
        raise ArtifactError(error.problem, REPEAT) from None


def _check_pair(param: Manifest, inst: Manifest) -> None:
    if inst.param_fingerprint != param.fingerprint:
        raise ArtifactError("the program was compiled for other parameters than those beside it", RECOMPILE)
    for name in ("model_id", "target", "num_devices", "dtype", "max_length"):
        ours, theirs = getattr(param, name), getattr(inst, name)
        if ours != theirs:
            raise ArtifactError(f"parameters have {name} {ours}, the program has {theirs}", RECOMPILE)


def _check_map(manifest: Manifest, memory_map: MemoryMap) -> None:
    for name in ("target", "num_devices", "dtype", "max_length"):
        ours, theirs = getattr(manifest, name), getattr(memory_map, name)
        if ours != theirs:
            raise ArtifactError(f"manifest has {name} {ours}, the memory map has {theirs}", RECOMPILE)
