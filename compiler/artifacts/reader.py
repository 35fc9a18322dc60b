"""Opens a build: the parameter and the instruction folder that belong together.

Two folders -> `Build`, or an ArtifactError that says what is damaged. Sizes,
headers, formats, fingerprints and the hashes of all but the parameter files are
always checked, those of the parameter files on request. The files may come from
anybody: nothing in them is believed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compiler.artifacts.activation import decode_tables
from compiler.artifacts.debug import debug_from_bytes
from compiler.artifacts.layout import memory_map_from_json
from compiler.artifacts.manifest import (
    MANIFEST,
    MEMORY_MAP,
    Manifest,
    activation_file,
    debug_file,
    param_file,
    program_file,
)
from compiler.debug_info import DebugInfo
from compiler.errors import ArtifactError
from compiler.header import HEADER_BYTES, Payload, check_header
from compiler.isa.spec import INSTRUCTION_BYTES, ISA_VERSION, WORD_COUNT
from compiler.isa.tables import ActivationTable
from compiler.memory_map import MemoryMap
from compiler.publish import sha256_file
from compiler.strict_json import RECOMPILE

REPEAT = f"{RECOMPILE} with --force"
"""What the user can do about damage in place, which a compile takes no notice of in parameter files."""

_MANIFEST_BYTES = 16 << 20
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
        content = _read(self.inst_dir, name, _DEBUG_BYTES, self.manifest)
        return debug_from_bytes(content, len(self.program_words), _where(self.inst_dir, name))

    def param_file(self, device: int, channel: int) -> Path:
        """Path of the parameter file of one channel; address a lies at HEADER_BYTES + a."""
        return self.param_dir / param_file(self.memory_map.num_devices, device, channel)

    def _check_param_files(self) -> None:
        expected = HEADER_BYTES + self.memory_map.file_bytes
        for device in range(self.memory_map.num_devices):
            for channel in range(self.memory_map.channels):
                path = self.param_file(device, channel)
                where = _where(self.param_dir, path.name)
                listed = self.param_manifest.entry(path.name).size
                size = _size(path, where)
                if size != expected or listed != expected:
                    raise ArtifactError(
                        f"{where} has {size} bytes, the manifest says {listed}, the memory map {expected}", RECOMPILE
                    )
                code = _param_header(_read_file(path, where, HEADER_BYTES), where)
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
            path = folder / entry.name
            try:
                sound = path.stat().st_size == entry.size and sha256_file(path, on_bytes) == entry.sha256
            except OSError:
                sound = False
            if not sound:
                damaged.append(_where(folder, entry.name))
    return tuple(damaged)


def read_manifest(folder: Path, kind: str) -> Manifest:
    """Read the manifest of a `kind` folder, "param" or "inst".

    Raises:
        ArtifactError: there is none, or it cannot be read.
    """
    return Manifest.from_json(_read(folder, MANIFEST, _MANIFEST_BYTES), kind, _where(folder, MANIFEST))


def read_memory_map(param_dir: Path, manifest: Manifest | None = None) -> MemoryMap:
    """Read the memory map of a parameter folder; with a manifest, it must be the one that was written.

    Raises:
        ArtifactError: there is none, or it cannot be read.
    """
    return memory_map_from_json(_read(param_dir, MEMORY_MAP, _MAP_BYTES, manifest), _where(param_dir, MEMORY_MAP))


def read_program(inst_dir: Path, manifest: Manifest) -> NDArray[np.int32]:
    """Instruction words [instructions, 8] of an instruction folder; their meaning is not checked.

    Raises:
        ArtifactError: missing, cut short, or of another instruction set version.
    """
    name = program_file(manifest.num_devices)
    where = _where(inst_dir, name)
    content = _read(inst_dir, name, _PROGRAM_BYTES, manifest)
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
    tables = decode_tables(_read(inst_dir, name, _TABLES_BYTES, manifest), _where(inst_dir, name))
    if len(tables) != len(manifest.tables):
        raise ArtifactError(
            f"{_where(inst_dir, name)} holds {len(tables)} tables, the manifest names {len(manifest.tables)}", RECOMPILE
        )
    return tables


def _where(folder: Path, name: str) -> str:
    return f"{folder.parent.name}/{folder.name}/{name}"


def _size(path: Path, where: str) -> int:
    try:
        found = path.stat()
    except OSError as error:
        raise ArtifactError(f"{where} cannot be read: {error.strerror}", RECOMPILE) from None
    if not path.is_file():
        raise ArtifactError(f"{where} is not a file", RECOMPILE)
    return found.st_size


def _read(folder: Path, name: str, limit: int, manifest: Manifest | None = None) -> bytes:
    """Read a whole file of at most `limit` bytes; its size and hash must be the manifest's."""
    where = _where(folder, name)
    path = folder / name
    size = _size(path, where)
    if size > limit:
        raise ArtifactError(f"{where} has {size} bytes, at most {limit} are allowed", RECOMPILE)
    if manifest is not None and manifest.entry(name).size != size:
        raise ArtifactError(f"{where} has {size} bytes, the manifest says {manifest.entry(name).size}", RECOMPILE)
    content = _read_file(path, where, size)
    if manifest is not None and hashlib.sha256(content).hexdigest() != manifest.entry(name).sha256:
        raise ArtifactError(f"{where} is damaged: its content does not match the manifest", REPEAT)
    return content


def _param_header(header: bytes, where: str) -> int:
    """The dtype code of a parameter file."""
    try:
        return check_header(header, Payload.PARAM, where)
    except ArtifactError as error:
        raise ArtifactError(str(error).removesuffix("; compile again"), REPEAT) from None


def _read_file(path: Path, where: str, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise ArtifactError(f"{where} cannot be read: {error.strerror}", RECOMPILE) from None


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
