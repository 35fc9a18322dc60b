"""manifest.json: what a build is made from and which files it consists of.

`Manifest` <-> bytes, and the names of the files. A manifest is written last,
so a folder without one is not a build; it carries a hash of itself. It holds no
time and no path: two compiles of the same inputs give the same bytes.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace

from compiler.artifacts.layout import check_format
from compiler.dtypes import BUILD_DTYPES, DType, build_dtype
from compiler.errors import ArtifactError
from compiler.memory_map import MAX_DEVICES
from compiler.strict_json import RECOMPILE, Fields, check_seal, load_object, seal_object
from compiler.target.topology import TOPOLOGIES

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
MEMORY_MAP = "memory_map.json"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_FILE_BYTES = 1 << 42
_MAX_TOKENS = 1 << 24
_MAX_TENSORS = 200_000
_MAX_LMU_ELEMENTS = 1 << 26


def param_file(num_devices: int, device: int, channel: int) -> str:
    """Name of the parameter file of one HBM channel."""
    return f"param_{num_devices}fpga_{device:02x}_{channel:02x}.bin"


def program_file(num_devices: int) -> str:
    """Name of the instruction file."""
    return f"inst_{num_devices}fpga.bin"


def activation_file(num_devices: int) -> str:
    """Name of the file of activation tables."""
    return f"actfn_{num_devices}fpga.bin"


def debug_file(num_devices: int) -> str:
    """Name of the file of debug information."""
    return f"debug_{num_devices}fpga.bin"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a build: name, size in bytes, SHA-256 in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """One build folder.

    Attributes:
        kind: "param" or "inst".
        tool_version: version of the compiler that wrote it.
        model_id, revision: what was compiled.
        target, num_devices, dtype, max_length: the options of the build.
        fingerprint: of all inputs; equal fingerprints give equal bytes.
        checkpoint_fingerprint: of the converted checkpoint.
        passes: names of the passes that ran, in order.
        clamped: tensors with values beyond the dtype, which were replaced by its largest (--allow-overflow).
        files: every other file of the folder.
    The rest belongs to kind "inst":
        vocab_size: tokens that the sampler sees and the host counts.
        eos_token_ids: tokens that end a text.
        architecture: Hugging Face class name.
        tables: name of each activation table, table 1 first.
        lmu_elements: size of the vector register file.
        num_layers: decoder layers.
        param_fingerprint: fingerprint of the parameter build it belongs to.
        sources: the small files of the checkpoint as they were: config, tokenizer, generation settings.
        topology: how the devices are wired for which the program was ordered and is timed.
    """

    kind: str
    tool_version: str
    model_id: str
    revision: str
    target: str
    num_devices: int
    dtype: DType
    max_length: int
    fingerprint: str
    checkpoint_fingerprint: str
    passes: tuple[str, ...] = ()
    clamped: tuple[str, ...] = ()
    files: tuple[FileEntry, ...] = ()
    vocab_size: int = 0
    eos_token_ids: tuple[int, ...] = ()
    architecture: str = ""
    tables: tuple[str, ...] = ()
    lmu_elements: int = 0
    num_layers: int = 0
    param_fingerprint: str = ""
    sources: tuple[FileEntry, ...] = ()
    topology: str = TOPOLOGIES[0]

    def to_json(self) -> bytes:
        """The content of manifest.json; equal manifests give equal bytes."""
        value: dict[str, object] = {
            "format_version": FORMAT_VERSION,
            "tool_version": self.tool_version,
            "kind": self.kind,
            "model_id": self.model_id,
            "revision": self.revision,
            "target": self.target,
            "num_devices": self.num_devices,
            "dtype": self.dtype.name,
            "max_length": self.max_length,
            "passes": list(self.passes),
            "clamped": list(self.clamped),
            "fingerprint": self.fingerprint,
            "checkpoint_fingerprint": self.checkpoint_fingerprint,
        }
        if self.kind == "inst":
            value |= {
                "vocab_size": self.vocab_size,
                "eos_token_ids": list(self.eos_token_ids),
                "architecture": self.architecture,
                "tables": list(self.tables),
                "lmu_elements": self.lmu_elements,
                "num_layers": self.num_layers,
                "param_fingerprint": self.param_fingerprint,
                "sources": [asdict(entry) for entry in self.sources],
                "topology": self.topology,
            }
        return seal_object(value | {"files": [asdict(entry) for entry in self.files]})

    @staticmethod
    def from_json(content: bytes, kind: str, where: str = MANIFEST) -> Manifest:
        """Read what `to_json` wrote.

        Raises:
            ArtifactError: not JSON, of another format, of another kind, a field is missing,
                of the wrong type or out of range, or anything was changed since it was written.
        """
        fields = load_object(content, where)
        check_format(fields, FORMAT_VERSION)
        found = fields.text("kind")
        if found != kind:
            raise ArtifactError(f"{where}: kind is {found!r}, expected {kind!r}", RECOMPILE)
        manifest = Manifest(
            kind=kind,
            tool_version=fields.text("tool_version", 100),
            model_id=fields.text("model_id", 200),
            revision=fields.text("revision", 200),
            target=fields.text("target", 100),
            num_devices=fields.integer("num_devices", 1, MAX_DEVICES),
            dtype=build_dtype(fields.choice("dtype", tuple(dtype.name for dtype in BUILD_DTYPES))),
            max_length=fields.integer("max_length", 1, _MAX_TOKENS),
            fingerprint=fields.text("fingerprint", 200),
            checkpoint_fingerprint=fields.text("checkpoint_fingerprint", 200),
            passes=fields.texts("passes", 1000),
            clamped=fields.texts("clamped", _MAX_TENSORS),
            files=_entries(fields, "files"),
        )
        if kind == "inst":
            manifest = _with_program(manifest, fields)
        check_seal(content, fields)
        return manifest

    def entry(self, name: str) -> FileEntry:
        """The entry of the file called `name`.

        Raises:
            ArtifactError: the manifest does not list it.
        """
        for entry in self.files:
            if entry.name == name:
                return entry
        raise ArtifactError(f"{MANIFEST} of the {self.kind} build does not list {name}", RECOMPILE)


def _with_program(manifest: Manifest, fields: Fields) -> Manifest:
    return replace(
        manifest,
        vocab_size=fields.integer("vocab_size", 1, _MAX_TOKENS),
        eos_token_ids=fields.integers("eos_token_ids", 1000, 0, _MAX_TOKENS),
        architecture=fields.text("architecture", 200),
        tables=fields.texts("tables", 255, 200),
        lmu_elements=fields.integer("lmu_elements", 1, _MAX_LMU_ELEMENTS),
        num_layers=fields.integer("num_layers", 0, 1 << 20),
        param_fingerprint=fields.text("param_fingerprint", 200),
        sources=_entries(fields, "sources"),
        topology=fields.choice("topology", TOPOLOGIES),
    )


def _entries(fields: Fields, list_name: str) -> tuple[FileEntry, ...]:
    entries = []
    for item in fields.objects(list_name, 10_000):
        name, sha256 = item.text("name"), item.text("sha256")
        if not _NAME.fullmatch(name):
            raise ArtifactError(f"{item.where}: name {name!r} is not a plain file name", RECOMPILE)
        if not _SHA256.fullmatch(sha256):
            raise ArtifactError(f"{item.where}: sha256 {sha256!r} is not 64 hex digits", RECOMPILE)
        entries.append(FileEntry(name, item.integer("size", 0, _MAX_FILE_BYTES), sha256))
    if len({entry.name for entry in entries}) != len(entries):
        raise ArtifactError(f"{fields.where}: {list_name} lists a name twice", RECOMPILE)
    return tuple(entries)
