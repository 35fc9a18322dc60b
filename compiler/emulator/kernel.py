"""Dot products at the speed of memory: the kernel of `kernel_ir`, compiled when first needed, on all cores.

A table of tasks -> results in place. Where LLVM is missing, numpy computes
the definition itself: slower, and the same bits. Tasks are raw addresses: the
arrays behind them belong to whoever made the table and must outlive it.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32, DType
from compiler.emulator.arithmetic import Vector, dot_rows
from compiler.emulator.kernel_ir import TASK_FIELDS, function_name, module_text
from compiler.rounding import storage, to_float32

Tasks = NDArray[np.int64]
"""[tasks, len(TASK_FIELDS)]."""

PARALLEL_PRODUCTS = 1 << 17
"""Below so many multiplications (some 20 us of one core) waking other cores costs more than it saves."""

_Function = Callable[[int, int], None]
_FIELDS = len(TASK_FIELDS)


class Task(NamedTuple):
    """One matrix times several vectors; in the order of TASK_FIELDS.

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


ROWS = Task._fields.index("rows")
COLS = Task._fields.index("cols")
VECTORS = Task._fields.index("vectors")
RESULT = Task._fields.index("result")
VECTOR_COUNT = Task._fields.index("vector_count")


class Kernel:
    """The functions by dtype, and the threads that share a table's tasks.

    Attributes:
        native: whether LLVM compiled them.
        threads: how many share the work: OMP_NUM_THREADS, else the processors this process may use.
    """

    def __init__(self, native: bool = True, threads: int | None = None) -> None:
        functions = _compile() if native else None
        self.native = functions is not None
        self.threads = threads or _thread_count()
        self._functions: dict[int, _Function] = (  # by code: a DType's own hash costs as much as a small product
            functions
            if functions is not None
            else {dtype.code: _defined(dtype) for dtype in (FLOAT16, BFLOAT16, FLOAT32)}
        )
        self._workers: list[_Worker] = []

    def parts(self, tasks: Tasks) -> list[tuple[int, int]]:
        """Split a table for the threads: (address, number of tasks) of each part; the table must stay where it is."""
        work = tasks[:, ROWS] * tasks[:, COLS] * tasks[:, VECTOR_COUNT]
        ends = np.cumsum(work)
        total = int(ends[-1]) if len(ends) else 0
        count = self.threads if total >= PARALLEL_PRODUCTS else 1
        cuts = [0, *(int(np.searchsorted(ends, total * part // count)) for part in range(1, count)), len(tasks)]
        address, size = tasks.ctypes.data, tasks.strides[0]
        pairs = pairwise(cuts)
        return [(address + begin * size, end - begin) for begin, end in pairs if end > begin]

    def run(self, dtype: DType, parts: Sequence[tuple[int, int]]) -> None:
        """Compute all parts, the first one on this thread."""
        function = self._functions[dtype.code]
        if len(parts) == 1:
            function(*parts[0])
            return
        while len(self._workers) < len(parts) - 1:
            self._workers.append(_Worker())
        busy = self._workers[: len(parts) - 1]
        for worker, part in zip(busy, parts[1:], strict=True):
            worker.start(function, part)
        try:
            if parts:
                function(*parts[0])
        finally:
            for worker in busy:
                worker.finish()

    def dot(self, dtype: DType, tasks: Tasks) -> None:
        """Compute a table once."""
        self.run(dtype, self.parts(tasks))


class _Worker:
    """A thread that computes one part at a time; ends with the process."""

    def __init__(self) -> None:
        self._ready, self._done = threading.Lock(), threading.Lock()
        self._ready.acquire()
        self._done.acquire()
        self._job: tuple[_Function, tuple[int, int]] | None = None
        threading.Thread(target=self._serve, daemon=True, name="hyperdex-kernel").start()

    def start(self, function: _Function, part: tuple[int, int]) -> None:
        """Begin; `finish` must follow."""
        self._job = (function, part)
        self._ready.release()

    def finish(self) -> None:
        """Wait for the part."""
        self._done.acquire()

    def _serve(self) -> None:
        while True:
            self._ready.acquire()
            if self._job is not None:
                function, part = self._job
                function(*part)
            self._done.release()


def _thread_count() -> int:
    """OMP_NUM_THREADS as for other numerical programs (torchrun sets it), else the processors we may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isascii() and wanted.isdigit() and 0 < int(wanted) <= 1024:
        return int(wanted)
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


@cache
def default_kernel() -> Kernel:
    """The kernel of this process."""
    return Kernel()


@cache
def _engine() -> Any:
    """The compiled module; None when LLVM is missing or cannot make code for this processor."""
    try:
        import llvmlite.binding as llvm
    except ImportError:
        return None
    try:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features()
        triple = llvm.get_process_triple()
        native_half = bool(features.get("f16c")) or triple.startswith(("aarch64", "arm64"))
        module = llvm.parse_assembly(module_text(native_half))
        module.verify()
        machine = llvm.Target.from_triple(triple).create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=2
        )
        engine = llvm.create_mcjit_compiler(module, machine)
        engine.finalize_object()
    except (RuntimeError, OSError):
        return None
    return engine


def _compile() -> dict[int, _Function] | None:
    engine = _engine()
    if engine is None:
        return None
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
    return {
        dtype.code: prototype(engine.get_function_address(function_name(dtype)))
        for dtype in (FLOAT16, BFLOAT16, FLOAT32)
    }


def _defined(dtype: DType) -> _Function:
    """The definition, computed by numpy over a table of tasks."""

    def function(address: int, number: int) -> None:
        table = _array(address, np.dtype(np.int64), (number, _FIELDS), (8 * _FIELDS, 8))
        for row in table.tolist():
            task = Task(*row)
            if task.rows and task.vector_count:
                _compute(task, dtype)

    return function


def _compute(task: Task, dtype: DType) -> None:
    kind = storage(dtype)
    stored = _array(task.matrix, kind, (task.rows, task.cols), (task.row_bytes, kind.itemsize))
    single = np.dtype(np.float32)
    vectors = _array(task.vectors, single, (task.vector_count, task.cols), (4 * task.vector_step, 4))
    shape, strides = (task.vector_count, task.rows), (4 * task.next, 4 * task.result_step)
    results: Vector = _array(task.result, single, shape, strides)
    block = max(1, (1 << 16) // task.cols)
    for begin in range(0, task.rows, block):
        wide = to_float32(stored[begin : begin + block], dtype)
        with np.errstate(all="ignore"):
            for result, vector in zip(results, vectors, strict=True):
                result[begin : begin + block] = dot_rows(wide, vector)


def _array(address: int, kind: np.dtype[Any], shape: tuple[int, int], strides: tuple[int, int]) -> NDArray[Any]:
    size = (shape[0] - 1) * strides[0] + (shape[1] - 1) * strides[1] + kind.itemsize
    memory: Any = (ctypes.c_char * size).from_address(address)
    return np.ndarray(shape, kind, buffer=memory, strides=strides)
