"""Native code: the products of `kernel_ir` and the tapes of `tape_ir`, compiled when first needed, on all cores.

A table of tasks, or a tape -> results in place. Where LLVM is missing, numpy
computes the products by their definition, slower and with the same bits, and
there are no tapes. Tasks and rows are raw addresses: the arrays behind them
belong to whoever made them and must outlive them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32, DType
from compiler.emulator.arithmetic import Vector, dot_rows
from compiler.emulator.tape import ABANDONED_WORD, FAULT_WORD, OPS, SHARED_WORDS, Rows
from compiler.emulator.task import TASK_FIELDS, Task, function_name
from compiler.emulator.workers import Workers, thread_count
from compiler.rounding import storage, to_float32

Tasks = NDArray[np.int64]
"""[tasks, len(TASK_FIELDS)], rows of `Task`."""

PARALLEL_PRODUCTS = 1 << 17
"""Below so many multiplications (some 20 us of one core) waking other cores costs more than it saves."""

PARALLEL_TAPE_PRODUCTS = 1 << 22
"""The same for a whole tape, at whose barriers the threads meet many times."""

_Function = Callable[[int, int], None]
_Interpreter = Callable[[int, int, int, int, int, int, int], int]
_FIELDS = len(TASK_FIELDS)


ROWS = Task._fields.index("rows")
COLS = Task._fields.index("cols")
VECTOR_COUNT = Task._fields.index("vector_count")


class TapeCode(NamedTuple):
    """The compiled operations for one dtype.

    Attributes:
        operations: address by name.
        run: the interpreter.
        give_way: address of what it calls to let other threads run; 0: nothing.
        packed_from: so many vectors of one matrix are worth packing; 0: none.
    """

    operations: dict[str, int]
    run: _Interpreter
    give_way: int
    packed_from: int


class Kernel:
    """The functions by dtype, and the threads that share a table's tasks.

    Attributes:
        native: whether LLVM compiled them.
        threads: how many share the work: OMP_NUM_THREADS, else the processors this process may use.

    Args:
        native: use LLVM where it is.
        threads: see above.
        eager: share even what is too small to be worth it.
    """

    def __init__(self, native: bool = True, threads: int | None = None, eager: bool = False) -> None:
        self._eager = eager
        self._engine = _engine() if native else None  # kept: the code is its
        self.native = self._engine is not None
        self.threads = threads or thread_count()
        self._functions: dict[int, _Function] = (  # by code: a DType's own hash costs as much as a small product
            {dtype.code: _defined(dtype) for dtype in (FLOAT16, BFLOAT16, FLOAT32)}
            if self._engine is None
            else self._engine.products()
        )
        self._workers = Workers()

    def tape_code(self, dtype: DType) -> TapeCode | None:
        """Operations and interpreter for builds of `dtype`; None without LLVM."""
        return None if self._engine is None else self._engine.tape_code(dtype)

    def run_tape(self, code: TapeCode, rows: Rows, registers: NDArray[np.int64], products: int) -> bool:
        """Execute a tape; False after a fault.

        Args:
            code: whose operations it names.
            rows: the tape.
            registers: of all lanes, [lanes, registers].
            products: multiplications in it, to judge whether threads pay.
        """
        threads = self.threads if self._eager or products >= PARALLEL_TAPE_PRODUCTS else 1
        shared = np.zeros(SHARED_WORDS, dtype=np.int64)
        common = rows.ctypes.data, len(rows), registers.ctypes.data, shared.ctypes.data
        if threads == 1:
            return code.run(*common, 0, 1, code.give_way) == 0
        jobs = [partial(code.run, *common, thread, threads, code.give_way) for thread in range(threads)]
        self._workers.run(jobs, abandon=lambda: shared.__setitem__(ABANDONED_WORD, 1))
        return not shared[FAULT_WORD]

    def parts(self, tasks: Tasks) -> list[tuple[int, int]]:
        """Split a table for the threads: (address, number of tasks) of each part; the table must stay where it is."""
        work = tasks[:, ROWS] * tasks[:, COLS] * tasks[:, VECTOR_COUNT]
        ends = np.cumsum(work)
        total = int(ends[-1]) if len(ends) else 0
        count = self.threads if self._eager or total >= PARALLEL_PRODUCTS else 1
        cuts = [0, *(int(np.searchsorted(ends, total * part // count)) for part in range(1, count)), len(tasks)]
        address, size = tasks.ctypes.data, tasks.strides[0]
        pairs = pairwise(cuts)
        return [(address + begin * size, end - begin) for begin, end in pairs if end > begin]

    def run(self, dtype: DType, parts: Sequence[tuple[int, int]]) -> None:
        """Compute all parts, the first one on this thread."""
        function = self._functions[dtype.code]
        if len(parts) == 1:
            function(*parts[0])
        elif parts:
            self._workers.run([partial(function, *part) for part in parts])

    def dot(self, dtype: DType, tasks: Tasks) -> None:
        """Compute a table once."""
        self.run(dtype, self.parts(tasks))


@cache
def default_kernel() -> Kernel:
    """The kernel of this process."""
    return Kernel()


class _Engine:
    """Compiled code; it lives as long as this object.

    Args:
        llvm: llvmlite.binding, initialised.
        machine_code: its engine.
        native_half: whether the processor converts float16.
        pairs: whether it has the instruction of `pairs_ir`.
    """

    def __init__(self, llvm: Any, machine_code: Any, native_half: bool, pairs: bool) -> None:
        self.native_half = native_half
        self._pairs = pairs
        self._llvm = llvm
        self._machine_code = machine_code
        self._tapes: dict[int, TapeCode | None] = {}

    def add(self, text: str) -> None:
        """Compile a module."""
        module = self._llvm.parse_assembly(text)
        module.verify()
        self._machine_code.add_module(module)
        self._machine_code.finalize_object()

    def address(self, name: str) -> int:
        """Of a compiled function."""
        return int(self._machine_code.get_function_address(name))

    def products(self) -> dict[int, _Function]:
        """The product by code of the matrix's dtype."""
        prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
        return {dtype.code: prototype(self.address(function_name(dtype))) for dtype in (FLOAT16, BFLOAT16, FLOAT32)}

    def tape_code(self, dtype: DType) -> TapeCode | None:
        """Operations and interpreter for builds of `dtype`; None when LLVM cannot make them for this processor."""
        if dtype.code not in self._tapes:
            self._tapes[dtype.code] = self._compile_tape(dtype)
        return self._tapes[dtype.code]

    def _compile_tape(self, dtype: DType) -> TapeCode | None:
        from compiler.emulator import tape_ir
        from compiler.emulator.kernel_ir import BLOCKED_VECTORS
        from compiler.emulator.operation_ir import operation_name

        try:
            self.add(tape_ir.module_text(dtype, self.native_half))
        except (RuntimeError, OSError):
            return None
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        prototype = ctypes.CFUNCTYPE(number, pointer, number, pointer, pointer, number, number, pointer)
        return TapeCode(
            {name: self.address(operation_name(name, dtype)) for name in OPS},
            prototype(self.address(tape_ir.interpreter_name(dtype))),
            int(self._llvm.address_of_symbol("sched_yield") or 0),
            BLOCKED_VECTORS if self._pairs and dtype == BFLOAT16 else 0,
        )


@cache
def _engine() -> _Engine | None:
    """The compiler with the products; None when LLVM is missing or cannot make code for this processor."""
    try:
        import llvmlite.binding as llvm

        from compiler.emulator import kernel_ir
    except ImportError:
        return None
    try:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features()
        triple = llvm.get_process_triple()
        native_half = bool(features.get("f16c")) or triple.startswith(("aarch64", "arm64"))
        machine = llvm.Target.from_triple(triple).create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=2
        )
        pairs = bool(features.get("avx512bf16"))
        engine = _Engine(llvm, llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine), native_half, pairs)
        engine.add(kernel_ir.module_text(native_half, pairs))
    except (RuntimeError, OSError):
        return None
    return engine


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
