"""Phase 2: the tensors an architecture needs, out of a checkpoint, into one aligned file and its description.

Every source byte is read once: hashed, searched for NaN and its largest
magnitude, and written to its place. Nothing is published before everything was
checked. Memory stays below 100 MB whatever the model's size.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from compiler import __version__
from compiler.checkpoint.converted import (
    CONFIG_NAME,
    MODEL_NAME,
    ConvertedModel,
    ConvertedTensor,
    SourceFile,
    aligned,
    dump_converted,
    fingerprint_of,
)
from compiler.checkpoint.fingerprint import remember_hashes
from compiler.checkpoint.matching import Match, match_tensors
from compiler.checkpoint.reader import Checkpoint, open_checkpoint
from compiler.checkpoint.regular_file import RegularFile
from compiler.checkpoint.scan import largest_magnitude, refuse_not_finite, scan_file
from compiler.checkpoint.shards import SHOWN
from compiler.checkpoint.tensors import StoredTensor, TensorSpec, element_count
from compiler.dtypes import FLOAT16, FLOAT32, FLOAT64, DType
from compiler.errors import CheckpointError
from compiler.header import HEADER_BYTES, Payload, write_header
from compiler.publish import ensure_free_space, publish_file
from compiler.quantity import counted
from compiler.rounding import Stored, cast, overflows
from compiler.sanitize import one_line
from compiler.writeback import BackgroundWriter

Progress = Callable[[int, int, TensorSpec], None]
"""Called with bytes done, bytes in all, and the tensor at hand."""


def convert(
    folder: Path,
    specs: Sequence[TensorSpec],
    config: Mapping[str, object],
    architecture: str,
    dtype: DType,
    *,
    allow_overflow: bool = False,
    ignored: Callable[[str], bool],
    on_progress: Progress,
) -> ConvertedModel:
    """Write `hyperdex_model.bin` and then `hyperdex_config.json` into `folder`.

    Args:
        folder: the checkpoint.
        specs: tensors to convert, in the order in which they are stored.
        config: content of config.json.
        architecture: name for the description.
        dtype: of the build that is to come; values that it cannot hold are refused.
        allow_overflow: they are not.
        ignored: whether a tensor that no spec asks for is harmless.
        on_progress: told about every few megabytes.

    Raises:
        CheckpointError: damaged, incomplete, NaN or infinity, or values beyond `dtype`.
        CapacityError: the disk is full.
    """
    with open_checkpoint(folder) as checkpoint:
        matches = match_tensors(specs, checkpoint.tensors, ignored)
        fingerprint_of((), config)  # refuse a config that cannot be written before the work, not after
        conversion = _Conversion(checkpoint, matches, on_progress)
        ensure_free_space(folder, conversion.file_bytes)
        written: list[ConvertedModel] = []

        def write(target: BinaryIO) -> None:
            target.truncate(conversion.file_bytes)
            with BackgroundWriter(target.fileno()) as writer:
                hashed = conversion.stream(writer)
            files = tuple(SourceFile(file.name, file.size, sha256) for file, sha256 in hashed)
            fingerprint = fingerprint_of(files, config)
            model = ConvertedModel(__version__, architecture, config, conversion.tensors(), files, fingerprint)
            if not allow_overflow:
                check_range(model.tensors, dtype)
            target.seek(0)
            target.write(write_header(Payload.MODEL, model.flags))
            (folder / CONFIG_NAME).unlink(missing_ok=True)  # never beside a binary file it does not describe
            written.append(model)
            remember_hashes(folder, hashed)

        publish_file(folder / MODEL_NAME, write, in_prefix=True)
    content = dump_converted(written[0])
    publish_file(folder / CONFIG_NAME, lambda file: file.write(content), in_prefix=True)
    return written[0]


def check_range(tensors: Iterable[ConvertedTensor], dtype: DType) -> None:
    """Check that no value becomes infinite when the tensors are rounded to `dtype`.

    Raises:
        CheckpointError: names every tensor that has such values, with its largest magnitude.
    """
    beyond = overflowing(tensors, dtype)
    if not beyond:
        return
    wider = "bfloat16 or --dtype float32" if dtype == FLOAT16 else "float32"
    raise CheckpointError(
        overflow_text(beyond, dtype), f"compile with --dtype {wider}, or --allow-overflow to clamp them"
    )


def overflowing(tensors: Iterable[ConvertedTensor], dtype: DType) -> tuple[ConvertedTensor, ...]:
    """The tensors with values that become infinite when they are rounded to `dtype`."""
    return tuple(tensor for tensor in tensors if not tensor.tied_to and overflows(tensor.absmax, dtype))


def overflow_text(beyond: Sequence[ConvertedTensor], dtype: DType) -> str:
    """Say which tensors have values beyond `dtype`, and how large they are."""
    shown = ", ".join(f"{one_line(tensor.name, 100)} ({tensor.absmax:.6g})" for tensor in beyond[:SHOWN])
    more = f" and {len(beyond) - SHOWN} more" if len(beyond) > SHOWN else ""
    verb = "holds" if len(beyond) == 1 else "hold"
    held = f"{counted(len(beyond), 'tensor')} {verb} values beyond {dtype}, which ends at {dtype.max_finite:g}"
    return f"{held}: {shown}{more}"


@dataclass(slots=True)
class _Place:
    """Where a tensor goes, and what was seen of it."""

    spec: TensorSpec
    stored: StoredTensor
    dtype: DType
    offset: int
    bytes: int
    absmax: float = 0.0
    crc32: int = 0


class _Conversion:
    """One run over the checkpoint."""

    def __init__(self, checkpoint: Checkpoint, matches: Sequence[Match], on_progress: Progress) -> None:
        self._checkpoint = checkpoint
        self._matches = matches
        self._on_progress = on_progress
        self._places: dict[str, _Place] = {}
        end = HEADER_BYTES
        for match in matches:
            if match.stored is None or match.stored.dtype is None:
                continue
            kept = FLOAT32 if match.stored.dtype == FLOAT64 else match.stored.dtype
            size = element_count(match.spec.shape) * kept.itemsize
            place = _Place(match.spec, match.stored, kept, aligned(end), size)
            self._places[match.stored.name] = place
            end = place.offset + size
        self.file_bytes = end
        self._total = sum(place.bytes for place in self._places.values())
        self._done = 0

    def stream(self, writer: BackgroundWriter) -> list[tuple[RegularFile, str]]:
        """Write all tensors and return every source file with its hash."""

        def store(tensor: StoredTensor, first: int, elements: Stored) -> Future[None]:
            place = self._places[tensor.name]
            assert tensor.dtype is not None
            peak = largest_magnitude(elements, tensor.dtype)
            if not np.isfinite(peak):
                refuse_not_finite(elements, tensor, first)
            place.absmax = max(place.absmax, _stored_magnitude(peak, tensor))
            kept = cast(elements, tensor.dtype, place.dtype)
            writing = writer.write(place.offset + first * place.dtype.itemsize, kept.data.cast("B"))
            place.crc32 = zlib.crc32(kept.data, place.crc32)
            self._done += kept.nbytes
            self._on_progress(self._done, self._total, place.spec)
            return writing

        wanted: dict[str, list[StoredTensor]] = {file.name: [] for file in self._checkpoint.files}
        for place in self._places.values():
            wanted[place.stored.file.name].append(place.stored)
        return [(file, scan_file(file, wanted[file.name], store)) for file in self._checkpoint.files]

    def tensors(self) -> tuple[ConvertedTensor, ...]:
        """Describe what was written, in the order of the specs."""
        by_spec = {place.spec.name: place for place in self._places.values()}
        return tuple(self._described(match.spec, by_spec) for match in self._matches)

    def _described(self, spec: TensorSpec, by_spec: Mapping[str, _Place]) -> ConvertedTensor:
        own = by_spec.get(spec.name)
        place = own or by_spec[spec.tied_to]
        tied_to = "" if own else spec.tied_to
        return ConvertedTensor(
            spec.name, place.dtype, spec.shape, place.offset, place.bytes, place.absmax, place.crc32, tied_to
        )


def _stored_magnitude(peak: float, tensor: StoredTensor) -> float:
    """Return the largest magnitude as it is stored; a float64 beyond float32 is refused."""
    if tensor.dtype != FLOAT64:
        return peak
    with np.errstate(over="ignore"):
        single = float(np.float32(peak))
    if np.isinf(single):
        raise CheckpointError(
            f"{tensor.file.name}: tensor {one_line(tensor.name, 160)!r} holds {peak:g}, beyond float32",
            "no build can hold it",
        )
    return single
