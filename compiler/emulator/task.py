"""A task of the kernel: one matrix times several vectors, as raw addresses."""

from __future__ import annotations

from typing import NamedTuple

from compiler.dtypes import DType


class Task(NamedTuple):
    """One matrix times several vectors.

    Attributes:
        matrix: address of row 0; row r lies r * row_bytes behind.
        row_bytes: bytes between rows.
        rows, cols: extent.
        vectors: address of vector 0, float32 [cols]; vector v lies v * vector_step elements behind.
        vector_step: elements between vectors.
        result: address of the product of row 0 and vector 0, float32.
        result_step: elements between the products of neighbouring rows.
        next: elements between the products of neighbouring vectors.
        vector_count: number of vectors.
        packed: address of the same vectors as `pairs_ir` packs them, for matrices of bfloat16; 0: they are not.
        packed_step: bytes between packed vectors.
    """

    matrix: int
    row_bytes: int
    rows: int
    cols: int
    vectors: int
    vector_step: int
    result: int
    result_step: int
    next: int
    vector_count: int
    packed: int = 0
    packed_step: int = 0


TASK_FIELDS = Task._fields
"""In the order in which they lie in a table of tasks, 64 bits each."""


def function_name(dtype: DType) -> str:
    """Name of the compiled product for matrices of `dtype`: void (tasks, count)."""
    return f"dot_{dtype}"
