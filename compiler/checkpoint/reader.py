"""A checkpoint folder opened for reading: what tensors it has, and their elements in chunks.

Reads go through a bounded buffer, never through a memory map, so that a file
that shrinks is an error and not a signal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import as_strided

from compiler.checkpoint.regular_file import OpenFile, RegularFile
from compiler.checkpoint.safetensors_file import list_safetensors
from compiler.checkpoint.shards import SHOWN, Shards, find_shards
from compiler.checkpoint.tensors import StoredTensor, element_count
from compiler.checkpoint.torch_file import list_torch_file
from compiler.checkpoint.untrusted_json import uncollected
from compiler.errors import CheckpointError
from compiler.quantity import counted
from compiler.rounding import Stored, storage
from compiler.sanitize import one_line

CHUNK_BYTES = 8 << 20
MAX_GATHER_BYTES = 64 << 20
"""Largest byte span of a tensor that is not contiguous; it is read whole."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tensors of a checkpoint.

    Attributes:
        folder: where it is.
        files: weight files, then the index if there is one.
        tensors: by name, in file order.
    """

    folder: Path
    files: tuple[RegularFile, ...]
    tensors: Mapping[str, StoredTensor]

    def chunks(self, name: str, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Stored]:
        """Yield the elements of a tensor in row-major order, one-dimensional, in the stored dtype.

        bfloat16 comes as uint16 bits. A yielded array is overwritten by the next one.

        Raises:
            CheckpointError: the dtype is not a floating-point one, or the file was truncated or replaced.
        """
        tensor = self.tensors[name]
        with tensor.file.open() as opened:
            yield from read_chunks(opened, tensor, chunk_bytes)
            opened.check_unchanged()


@contextmanager
def open_checkpoint(folder: Path) -> Iterator[Checkpoint]:
    """List the tensors of `folder`; elements are read on demand.

    Raises:
        CheckpointError: no weights, missing shards, or a file that is damaged.
    """
    shards = find_shards(folder)
    tensors = _list_tensors(shards)
    missing = [name for name in shards.weight_map if name not in tensors]
    if missing and shards.index is not None:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        listed_names = ", ".join(one_line(name, 100) for name in missing[:SHOWN])
        raise CheckpointError(
            f"{shards.index.name} names {counted(len(missing), 'tensor')} that its shards lack: {listed_names}{more}",
            "download the model again",
        )
    index = () if shards.index is None else (shards.index,)
    yield Checkpoint(folder, shards.files + index, tensors)


@uncollected()
def _list_tensors(shards: Shards) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    for file in shards.files:
        with file.open() as opened:
            listed = list_safetensors(opened) if file.name.endswith(".safetensors") else list_torch_file(opened)
        for tensor in listed:
            if shards.weight_map.get(tensor.name, file.name) == file.name:
                tensors[tensor.name] = tensor
    return tensors


def read_chunks(opened: OpenFile, tensor: StoredTensor, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Stored]:
    """`Checkpoint.chunks` on a file that is already open."""
    if tensor.dtype is None:
        raise CheckpointError(
            f"{tensor.file.name}: tensor {one_line(tensor.name, 160)!r} has dtype {tensor.dtype_name}, "
            "which is not a floating-point type",
            "use a checkpoint in float16, bfloat16 or float32",
        )
    kind = storage(tensor.dtype)
    if tensor.strides:
        yield from _gathered(opened, tensor, kind, chunk_bytes)
        return
    step = max(chunk_bytes // kind.itemsize, 1) * kind.itemsize
    buffer = memoryview(bytearray(min(step, tensor.bytes)))
    for offset in range(0, tensor.bytes, step):
        piece = buffer[: min(step, tensor.bytes - offset)]
        opened.read_into(piece, tensor.begin + offset)
        yield np.frombuffer(piece, kind)


def _gathered(opened: OpenFile, tensor: StoredTensor, kind: np.dtype[np.generic], chunk_bytes: int) -> Iterator[Stored]:
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    span = (last + 1) * kind.itemsize
    if span > MAX_GATHER_BYTES:
        raise CheckpointError(
            f"{tensor.file.name}: tensor {one_line(tensor.name, 160)!r} is not contiguous and spans {span} bytes, "
            f"at most {MAX_GATHER_BYTES} are read",
            "save the model as safetensors",
        )
    content = bytearray(span)
    opened.read_into(memoryview(content), tensor.begin)
    elements = np.frombuffer(content, kind)
    view = as_strided(elements, tensor.shape, [stride * kind.itemsize for stride in tensor.strides], writeable=False)
    step = max(chunk_bytes // kind.itemsize, 1)
    for begin in range(0, element_count(tensor.shape), step):
        yield view.flat[begin : begin + step]
