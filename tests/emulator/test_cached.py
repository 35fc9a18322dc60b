"""Lanes that read a head of a cache together get what each of them gets alone."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.dtypes import FLOAT32
from compiler.emulator.arguments import aligned_zeros
from compiler.emulator.arithmetic import dot_rows
from compiler.emulator.kernel import Kernel
from compiler.emulator.tape import Row, assemble
from compiler.isa.spec import REGISTER_COUNT
from compiler.memory_map import CHANNELS

TOKENS, HEAD_DIM, REGISTER = 150, 40, 7


def spread(matrix, stride):
    """A matrix over the channels, row r in channel r % 32: float32 [CHANNELS, slots * stride]."""
    rows, cols = matrix.shape
    values = aligned_zeros((CHANNELS, -(-rows // CHANNELS) * stride))
    for row in range(rows):
        begin = row // CHANNELS * stride
        values[row % CHANNELS, begin : begin + cols] = matrix[row]
    return values


def results(matrix, vectors, counts, is_key, together=1):
    """What the operation writes, by lane; lane l reads counts[l] tokens."""
    kernel = Kernel()
    code = kernel.tape_code(FLOAT32)
    if code is None:
        pytest.skip("no LLVM")
    rows, cols = matrix.shape
    stride = -(-cols // 16) * 16
    values, lanes = spread(matrix, stride), len(vectors)
    out, registers = aligned_zeros((lanes, -(-rows // 16) * 16)), np.zeros((lanes, REGISTER_COUNT), np.int64)
    registers[:, REGISTER] = counts
    written = np.ones(TOKENS, np.bool_)
    fields = {
        "base": values.ctypes.data,
        "channel_step": values.strides[0],
        "row_bytes": 4 * stride,
        "rows": rows,
        "cols": cols,
        "rows_reg" if is_key else "cols_reg": REGISTER,
        "dst": out.ctypes.data,
        "dst_lane": out.strides[0],
        "src": vectors.ctypes.data,
        "src_lane": vectors.strides[0],
        "written": written.ctypes.data,
        "tokens": TOKENS,
        "tokens_reg": REGISTER,
        "most": TOKENS,
        "lanes": lanes,
        "together": together,
        "devices": 1,
    }
    tape = assemble([[Row("cached", 1, fields)]], code.operations)
    assert kernel.run_tape(code, tape, registers, 0)
    return out


@pytest.mark.parametrize("lanes", [1, 2, 5, 17, 64])
@pytest.mark.parametrize("is_key", [True, False], ids=["key", "value"])
def test_lanes_of_different_lengths(lanes, is_key):
    rng = np.random.default_rng(lanes)
    counts = rng.integers(1, TOKENS + 1, lanes)
    matrix = rng.standard_normal((TOKENS, HEAD_DIM) if is_key else (HEAD_DIM, TOKENS)).astype(np.float32)
    vectors = aligned_zeros((lanes, 160))
    vectors[:] = rng.standard_normal(vectors.shape)
    asked = vectors.copy()
    found = results(matrix, vectors, counts, is_key)
    for lane, count in enumerate(counts):
        expected = (
            dot_rows(matrix[:count], asked[lane, :HEAD_DIM])
            if is_key
            else dot_rows(matrix[:, :count], asked[lane, :count])
        )
        assert found[lane, : len(expected)].tobytes() == expected.tobytes()


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
def test_a_value_that_is_not_finite_reaches_only_lanes_that_read_it(odd):
    rng = np.random.default_rng(3)
    matrix = rng.standard_normal((HEAD_DIM, TOKENS)).astype(np.float32)
    matrix[11, 100] = odd
    counts = np.array([90, 100, 101, 120])
    vectors = aligned_zeros((4, 160))
    vectors[:] = rng.standard_normal(vectors.shape)
    asked = vectors.copy()
    found = results(matrix, vectors, counts, is_key=False)
    for lane, count in enumerate(counts):
        expected = dot_rows(matrix[:, :count], asked[lane, :count])
        assert np.array_equal(found[lane, :HEAD_DIM], expected, equal_nan=True)
        assert np.all(np.isfinite(expected)) == (count <= 100)


def test_what_lies_behind_a_vector_stays_where_it_is_of_another():
    rng = np.random.default_rng(4)
    matrix = rng.standard_normal((HEAD_DIM, TOKENS)).astype(np.float32)
    vectors = aligned_zeros((4, 160))
    vectors[:] = rng.standard_normal(vectors.shape)
    before = vectors.copy()
    results(matrix, vectors, np.array([3, 150, 20, 70]), is_key=False, together=0)
    assert vectors.tobytes() == before.tobytes()
