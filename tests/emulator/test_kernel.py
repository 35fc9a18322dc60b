"""The compiled kernel computes the definition, bit for bit, however its tasks are shared."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32
from compiler.emulator import kernel as kernel_module
from compiler.emulator.arithmetic import dot_rows
from compiler.emulator.kernel import PARALLEL_PRODUCTS, Kernel
from compiler.emulator.task import Task
from compiler.rounding import from_float32, to_float32

DTYPES = pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16, FLOAT32], ids=str)
KERNELS = pytest.mark.parametrize("native", [True, False], ids=["compiled", "numpy"])


def products(kernel, dtype, stored, vectors, parts=1):
    """Matrix times every vector, rows shared among `parts` tasks: [vectors, rows]."""
    rows, cols = stored.shape
    results = np.full((len(vectors), rows), np.nan, np.float32)
    cuts = [rows * part // parts for part in range(parts + 1)]
    table = np.array(
        [
            Task(
                stored.ctypes.data + begin * stored.strides[0],
                stored.strides[0],
                end - begin,
                cols,
                vectors.ctypes.data,
                cols,
                results.ctypes.data + 4 * begin,
                1,
                rows,
                len(vectors),
            )
            for begin, end in pairwise(cuts)
        ],
        np.int64,
    )
    kernel.dot(dtype, table)
    return results


@DTYPES
@KERNELS
@pytest.mark.parametrize(
    ("rows", "cols", "count"),
    [(1, 1, 1), (4, 16, 4), (9, 31, 3), (37, 100, 9), (6, 9000, 2), (5, 1100, 70), (3, 512, 64), (7, 1024, 5)],
)
def test_the_kernel_computes_the_definition(native, dtype, rows, cols, count):
    rng = np.random.default_rng(rows + cols)
    stored = from_float32(rng.standard_normal((rows, cols)).astype(np.float32), dtype)
    vectors = rng.standard_normal((count, cols)).astype(np.float32)
    expected = np.stack([dot_rows(to_float32(stored, dtype), vector) for vector in vectors])
    assert products(Kernel(native), dtype, stored, vectors, 3).tobytes() == expected.tobytes()


@DTYPES
def test_results_do_not_depend_on_the_number_of_threads(dtype):
    rng = np.random.default_rng(5)
    cols = 512
    stored = from_float32(rng.standard_normal((PARALLEL_PRODUCTS // cols + 1, cols)).astype(np.float32), dtype)
    vectors = rng.standard_normal((1, cols)).astype(np.float32)
    outcomes = {products(Kernel(threads=threads), dtype, stored, vectors, 32).tobytes() for threads in (1, 2, 3, 7)}
    assert len(outcomes) == 1


def test_every_float16_widens_exactly_with_and_without_the_instruction(monkeypatch):
    llvm = pytest.importorskip("llvmlite.binding")
    from compiler.emulator import kernel_ir

    every = np.arange(0x10000, dtype=np.uint16).view(np.float16)[:, None]
    expected = every.astype(np.float32)[:, 0]
    one = np.ones((1, 1), np.float32)
    module_text = kernel_ir.module_text
    monkeypatch.setattr(kernel_ir, "module_text", lambda _native_half: module_text(False))
    kernel_module._engine.cache_clear()
    try:
        without = products(Kernel(), FLOAT16, every, one)[0]
    finally:
        kernel_module._engine.cache_clear()
    assert llvm.get_host_cpu_features() is not None
    for found in (without, products(Kernel(native=False), FLOAT16, every, one)[0]):
        assert np.array_equal(found, expected, equal_nan=True)


def test_the_threads_are_those_of_other_numerical_programs(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert Kernel().threads == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert Kernel().threads >= 1
