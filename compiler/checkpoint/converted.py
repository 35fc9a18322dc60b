"""The converted checkpoint: `hyperdex_config.json` and the layout of `hyperdex_model.bin`.

The JSON file describes the binary one completely, names the files both were
made from, and carries a hash of itself. Reading checks every field; offsets
must be the ones that the layout rule gives.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compiler.checkpoint.regular_file import find_file
from compiler.checkpoint.tensors import MAX_DIMENSION, MAX_RANK, element_count
from compiler.dtypes import BUILD_DTYPES, DType, build_dtype
from compiler.errors import ArtifactError, UnsupportedModelError
from compiler.header import HEADER_BYTES
from compiler.strict_json import RECOMPILE, Fields, check_seal, load_object, seal_object

CONFIG_NAME = "hyperdex_config.json"
MODEL_NAME = "hyperdex_model.bin"
FORMAT_VERSION = 1
ALIGNMENT = 64
MAX_CONFIG_BYTES = 200_000_000
_MAX_ITEMS = 200_000
_HEX_DIGITS = 64


@dataclass(frozen=True, slots=True)
class ConvertedTensor:
    """A tensor of `hyperdex_model.bin`.

    Attributes:
        name: name in the architecture's specs.
        dtype: float16, bfloat16 or float32.
        shape: dimensions.
        offset: of the first element in the file, in bytes; a multiple of 64.
        bytes: size of the elements.
        absmax: largest magnitude, 0.0 for a tensor without elements.
        crc32: checksum of the bytes in the file.
        tied_to: the tensor whose offset this one has, or "".
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    offset: int
    bytes: int
    absmax: float
    crc32: int
    tied_to: str = ""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the checkpoint: name, bytes, SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ConvertedModel:
    """The content of `hyperdex_config.json`.

    Attributes:
        tool_version: of the tool that converted.
        architecture: e.g. `OPTForCausalLM`.
        config: content of config.json.
        tensors: in the order of the file.
        files: what the model was made from.
        fingerprint: SHA-256 in hex over `files` and `config`.
    """

    tool_version: str
    architecture: str
    config: Mapping[str, object]
    tensors: tuple[ConvertedTensor, ...]
    files: tuple[SourceFile, ...]
    fingerprint: str

    @property
    def file_bytes(self) -> int:
        """Size of `hyperdex_model.bin`."""
        return max((tensor.offset + tensor.bytes for tensor in self.tensors), default=HEADER_BYTES)

    @property
    def flags(self) -> int:
        """Header flags of the binary file that belongs to this JSON file."""
        return int(self.fingerprint[:8], 16)


def aligned(offset: int) -> int:
    """Round up to a multiple of ALIGNMENT."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def fingerprint_of(files: Sequence[SourceFile], config: Mapping[str, object]) -> str:
    """Return one SHA-256 for the content of a checkpoint; the order of keys in config.json does not matter.

    Raises:
        UnsupportedModelError: config.json holds NaN or infinity.
    """
    try:
        text = json.dumps(
            [[[file.name, file.size, file.sha256] for file in files], config], sort_keys=True, allow_nan=False
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise UnsupportedModelError(f"config.json cannot be written as JSON again: {error}") from None
    return hashlib.sha256(text.encode()).hexdigest()


def dump_converted(model: ConvertedModel) -> bytes:
    """Return the bytes of `hyperdex_config.json`."""
    document: dict[str, object] = {
        "format_version": FORMAT_VERSION,
        "tool_version": model.tool_version,
        "architecture": model.architecture,
        "config": model.config,
        "tensors": [_tensor_fields(tensor) for tensor in model.tensors],
        "files": [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in model.files],
        "fingerprint": model.fingerprint,
    }
    return seal_object(document)


def load_converted(folder: Path) -> ConvertedModel | None:
    """Read `hyperdex_config.json` of a checkpoint folder, None where there is none.

    Raises:
        ArtifactError: it is damaged, or of another format version.
        CheckpointError: it cannot be read, or is no file of this folder.
    """
    path = folder / CONFIG_NAME
    file = find_file(folder, CONFIG_NAME)
    if file is None:
        return None
    if file.size > MAX_CONFIG_BYTES:
        raise ArtifactError(f"{path} has {file.size} bytes, at most {MAX_CONFIG_BYTES}", RECOMPILE)
    content = file.content()
    fields = load_object(content, str(path))
    version = fields.integer("format_version", 0, 1 << 31)
    if version != FORMAT_VERSION:
        raise ArtifactError(f"{path} has format version {version}, this tool reads {FORMAT_VERSION}", RECOMPILE)
    check_seal(content, fields)
    return _model(fields)


def _model(fields: Fields) -> ConvertedModel:
    model = ConvertedModel(
        tool_version=fields.text("tool_version", 100),
        architecture=fields.text("architecture", 200),
        config=fields.nested("config").document(),
        tensors=tuple(_tensor(item) for item in fields.objects("tensors", _MAX_ITEMS)),
        files=tuple(_file(item) for item in fields.objects("files", _MAX_ITEMS)),
        fingerprint=_digest(fields, "fingerprint"),
    )
    if model.fingerprint != fingerprint_of(model.files, model.config):
        raise ArtifactError(f"{fields.where}: fingerprint is not that of its files and config", RECOMPILE)
    _check_layout(model.tensors, fields.where)
    return model


def _tensor(fields: Fields) -> ConvertedTensor:
    tensor = ConvertedTensor(
        name=fields.text("name"),
        dtype=build_dtype(fields.choice("dtype", tuple(dtype.name for dtype in BUILD_DTYPES))),
        shape=fields.integers("shape", MAX_RANK, 0, MAX_DIMENSION),
        offset=fields.integer("offset", HEADER_BYTES, 1 << 62),
        bytes=fields.integer("bytes", 0, 1 << 62),
        absmax=fields.number("absmax"),
        crc32=fields.integer("crc32", 0, (1 << 32) - 1),
        tied_to=fields.text("tied_to"),
    )
    if tensor.bytes != element_count(tensor.shape) * tensor.dtype.itemsize:
        raise ArtifactError(f"{fields.where}: {tensor.bytes} bytes do not fit {list(tensor.shape)}", RECOMPILE)
    return tensor


def _file(fields: Fields) -> SourceFile:
    return SourceFile(fields.text("name", 300), fields.integer("size", 0, 1 << 62), _digest(fields, "sha256"))


def _digest(fields: Fields, name: str) -> str:
    text = fields.text(name, _HEX_DIGITS)
    if len(text) != _HEX_DIGITS or any(char not in "0123456789abcdef" for char in text):
        raise ArtifactError(f"{fields.where}: {name} is not a SHA-256", RECOMPILE)
    return text


def _check_layout(tensors: Sequence[ConvertedTensor], where: str) -> None:
    by_name = {tensor.name: tensor for tensor in tensors}
    if len(by_name) != len(tensors):
        raise ArtifactError(f"{where}: a tensor is listed twice", RECOMPILE)
    end = HEADER_BYTES
    for tensor in tensors:
        if tensor.tied_to:
            other = by_name.get(tensor.tied_to)
            sound = other is not None and not other.tied_to and _place(other) == _place(tensor)
        else:
            sound = tensor.offset == aligned(end)
            end = tensor.offset + tensor.bytes
        if not sound:
            raise ArtifactError(f"{where}: tensor {tensor.name!r} is not where the layout puts it", RECOMPILE)


def _place(tensor: ConvertedTensor) -> tuple[object, ...]:
    return (tensor.dtype, tensor.shape, tensor.offset, tensor.absmax, tensor.crc32)


def _tensor_fields(tensor: ConvertedTensor) -> dict[str, object]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype.name,
        "shape": list(tensor.shape),
        "offset": tensor.offset,
        "bytes": tensor.bytes,
        "absmax": tensor.absmax,
        "crc32": tensor.crc32,
        "tied_to": tensor.tied_to,
    }
