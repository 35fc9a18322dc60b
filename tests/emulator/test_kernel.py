"""The compiled kernel computes the definition, bit for bit, however its tasks are shared."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32
from compiler.emulator import kernel as kernel_module
from compiler.emulator.arguments import aligned_zeros
from compiler.emulator.arithmetic import dot_rows
from compiler.emulator.kernel import PARALLEL_PRODUCTS, Kernel
from compiler.emulator.tape import PACKED_HEADER_BYTES, Row, assemble
from compiler.emulator.task import Task
from compiler.isa.spec import REGISTER_COUNT
from compiler.rounding import from_float32, to_float32

DTYPES = pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16, FLOAT32], ids=str)
KERNELS = pytest.mark.parametrize("native", [True, False], ids=["compiled", "numpy"])


def products(kernel, dtype, stored, vectors, parts=1, packed=None):
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
                *((packed.ctypes.data, packed.strides[0]) if packed is not None else ()),
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


def packed(kernel, vectors):
    """Vectors as the tape's operation packs them, [vectors, floats]; None where nothing is packed."""
    code = kernel.tape_code(BFLOAT16)
    if code is None or not code.packed_from:
        return None
    count, cols = vectors.shape
    target = aligned_zeros((count, (PACKED_HEADER_BYTES + 2 * cols + 63) // 64 * 16))
    places = {"packed": target.ctypes.data, "src": vectors.ctypes.data}
    lanes = {"packed_lane": target.strides[0], "src_lane": vectors.strides[0], "devices": 1}
    tape = assemble([[Row("pack", count, {**places, **lanes, "length": cols})]], code.operations)
    assert kernel.run_tape(code, tape, np.zeros((count, REGISTER_COUNT), np.int64), 0)
    return target


def bfloat16(values):
    """The nearest numbers of bfloat16, as float32."""
    return to_float32(from_float32(values.astype(np.float32), BFLOAT16), BFLOAT16)


@pytest.mark.parametrize(
    ("rows", "cols", "count"), [(1, 1, 1), (8, 32, 3), (17, 47, 16), (9, 512, 33), (5, 1100, 70), (16, 2048, 64)]
)
def test_packed_vectors_have_the_same_products(rows, cols, count):
    rng = np.random.default_rng(rows + cols)
    kernel = Kernel()
    stored = from_float32(rng.standard_normal((rows, cols)).astype(np.float32), BFLOAT16)
    vectors = bfloat16(rng.standard_normal((count, cols)))
    expected = np.stack([dot_rows(to_float32(stored, BFLOAT16), vector) for vector in vectors])
    assert products(kernel, BFLOAT16, stored, vectors, 2, packed(kernel, vectors)).tobytes() == expected.tobytes()


@pytest.mark.parametrize("scale", [2.0**-133, 2.0**-100, 2.0**-60, 1.0, 2.0**100])
@pytest.mark.parametrize("kind", ["bits", "small", "large", "subnormal", "zero", "uneven"])
def test_packed_vectors_have_the_same_products_at_the_ends_of_the_range(kind, scale):
    rng = np.random.default_rng(11)
    rows, cols, count = 24, 544, 17
    numbers = rng.standard_normal((rows, cols)).astype(np.float32) * np.float32(2.0**-62 if kind == "small" else 1.0)
    if kind == "large":
        numbers[8:16] = 0.0
        numbers[8:16, [0, 16]] = -(2.0**27), 2.0**28  # of one running sum
    stored = from_float32(numbers, BFLOAT16)
    if kind == "bits":
        stored[8:16] = rng.integers(0, 1 << 16, (8, cols))
    if kind == "subnormal":
        stored[8:16, 7] = rng.integers(1, 1 << 7, 8)
    vectors = bfloat16(rng.standard_normal((count, cols)) * scale * (kind != "zero"))
    if kind == "large":
        vectors[:] = scale
    if kind == "uneven":
        vectors[3, 5] = np.float32(1.0 + 2.0**-20)
    kernel = Kernel()
    with np.errstate(all="ignore"):
        expected = np.stack([dot_rows(to_float32(stored, BFLOAT16), vector) for vector in vectors])
    found = products(kernel, BFLOAT16, stored, vectors, 1, packed(kernel, vectors))
    assert np.array_equal(found.view(np.uint32)[~np.isnan(found)], expected.view(np.uint32)[~np.isnan(expected)])
    assert np.array_equal(np.isnan(found), np.isnan(expected))


def test_what_is_packed_is_what_is_multiplied():
    kernel = Kernel()
    twice = packed(kernel, np.full((16, 64), 2.0, np.float32))
    if twice is None:
        pytest.skip("this processor has no instruction for pairs")
    ones = np.ones((16, 64), np.float32)
    assert np.all(products(kernel, BFLOAT16, from_float32(ones, BFLOAT16), ones, packed=twice) == 128.0)


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
    monkeypatch.setattr(kernel_ir, "module_text", lambda _native_half, pairs: module_text(False, pairs))
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
