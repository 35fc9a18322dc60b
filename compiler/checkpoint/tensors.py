"""What an architecture asks of a checkpoint, and what a checkpoint holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from compiler.checkpoint.regular_file import RegularFile
from compiler.dtypes import DType
from compiler.source import SourceRef

MAX_RANK = 32
MAX_DIMENSION = 1 << 48


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor that an architecture needs.

    Attributes:
        name: Hugging Face name, unique among the specs of a model.
        shape: exact shape.
        aliases: other spellings accepted in the checkpoint, first match wins.
        tied_to: name of the spec whose values this tensor shares.
        optional: without `tied_to`, the tensor may be missing and is then left out. With `tied_to`, the
            tie holds only where the checkpoint has no values of its own; a tie that is not optional
            always holds, and a copy in the checkpoint is not read.
        source: module, tensor and layer.
    """

    name: str
    shape: tuple[int, ...]
    aliases: tuple[str, ...] = ()
    tied_to: str = ""
    optional: bool = False
    source: SourceRef = field(default_factory=SourceRef)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a checkpoint file.

    Attributes:
        name: name in the file.
        dtype: element type, None for types that are only listed (integers, booleans, quantised).
        dtype_name: element type as the file spells it.
        shape: dimensions, each in [0, 2**48].
        bytes: size of the elements.
        file: the file that holds it.
        begin: byte offset of the first element in the file.
        strides: in elements; empty when the elements lie in row-major order without gaps.
    """

    name: str
    dtype: DType | None
    dtype_name: str
    shape: tuple[int, ...]
    bytes: int
    file: RegularFile
    begin: int
    strides: tuple[int, ...] = ()


def element_count(shape: Sequence[int]) -> int:
    """Elements of a tensor; a scalar has one."""
    return math.prod(shape)


def is_shape(value: object) -> bool:
    """Whether untrusted `value` is a list or tuple of at most 32 dimensions in [0, 2**48]."""
    if not isinstance(value, list | tuple) or len(value) > MAX_RANK:
        return False
    for size in value:  # noqa: SIM110 - a generator costs 100 thousand tensors a third of their time
        if type(size) is not int or not 0 <= size <= MAX_DIMENSION:
            return False
    return True
