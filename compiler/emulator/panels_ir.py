"""Many vectors over one matrix: panels of vectors, tiles of rows, and the running sums between them.

What `kernel_ir` and `pairs_ir` have in common. A panel's vectors all go over a
tile of rows before the next tile is touched; LANES running sums are kept for
each of its rows and vectors. Imported only where llvmlite is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir

from compiler.emulator.arithmetic import LANES
from compiler.emulator.ir_builder import CACHE_LINE, F32, FLOATS, I8, I64, PTR, Code, Value, splat
from compiler.emulator.task import TASK_FIELDS

PANEL_VECTORS = 64
"""Vectors that go over a tile before the next tile is touched: so many running sums are kept."""

SUM_BYTES = 4 * LANES

POINTERS = ("matrix", "vectors", "result", "packed")
KINDS = tuple(PTR if name in POINTERS else I64 for name in TASK_FIELDS)
"""Types of a task's fields."""

VOID = ir.VoidType()


class Panel(NamedTuple):
    """Some vectors of a task.

    Attributes:
        begin: the first one.
        count: at most PANEL_VECTORS.
        results: of row 0 and the first vector.
    """

    begin: Value
    count: Value
    results: Value


class Panels(ABC):
    """void (fields of a task), under construction.

    Attributes:
        function: the function.

    Args:
        module: where to.
        name: of the function.
        rows: of a tile; a multiple of four.
    """

    def __init__(self, module: Any, name: str, rows: int) -> None:
        self._rows = rows
        self._code = code = internal(module, name, KINDS)
        self.function = code.function
        self._task = dict(zip(TASK_FIELDS, code.arguments, strict=True))
        self._sums = self._scratch(PANEL_VECTORS * rows * SUM_BYTES)

    @abstractmethod
    def _tiles(self, panel: Panel) -> Callable[[Value, Value], None]:
        """What writes the products of rows [row, row + rows), at most a tile, with a panel: `tile(row, rows)`."""

    def _build(self) -> None:
        """Write the function."""
        code, task = self._code, self._task
        b = code.b

        def panel(begin: Value, _: object) -> None:
            count = code.least(b.sub(task["vector_count"], begin), I64(PANEL_VECTORS))
            made = Panel(begin, count, code.element(task["result"], b.mul(begin, task["next"])))
            tile = self._tiles(made)
            rows = task["rows"]
            code.loop(rows, lambda row, _: tile(row, code.least(b.sub(rows, row), I64(self._rows))), step=self._rows)

        code.loop(task["vector_count"], panel, step=PANEL_VECTORS)
        b.ret_void()

    def _scratch(self, size: int) -> Value:
        found = self._code.b.alloca(I8, size)
        found.align = CACHE_LINE
        return self._code.b.inttoptr(self._code.b.ptrtoint(found, I64), PTR)  # llvmlite: a pointer to anything

    def _matrix(self, row: Value) -> Value:
        return self._code.at(self._task["matrix"], self._code.b.mul(row, self._task["row_bytes"]))

    def _sums_of(self, vector: Value) -> Value:
        return self._code.at(self._sums, self._code.b.mul(vector, I64(self._rows * SUM_BYTES)))

    def _clear(self, panel: Panel) -> None:
        code = self._code

        def clear(index: Value, _: object) -> None:
            code.b.store(splat(F32, 0.0), code.element(self._sums, index, FLOATS), align=CACHE_LINE)

        code.loop(code.b.mul(panel.count, I64(self._rows)), clear)

    def _store(self, panel: Panel, row: Value, rows: Value) -> None:
        """Fold the sums of existing rows."""
        code, task = self._code, self._task
        b = code.b
        results = code.element(panel.results, b.mul(row, task["result_step"]))

        def vector(index: Value, _: object) -> None:
            sums = self._sums_of(index)
            target = code.element(results, b.mul(index, task["next"]))
            for first in range(0, self._rows, 4):
                four = range(first, first + 4)
                kept = [b.load(code.at(sums, I64(at * SUM_BYTES)), align=CACHE_LINE, typ=FLOATS) for at in four]
                for at, total in zip(four, code.fold_four(kept), strict=True):
                    with code.when(b.icmp_signed("<", I64(at), rows)):
                        b.store(total, code.element(target, b.mul(task["result_step"], I64(at))))

        code.loop(panel.count, vector)


def internal(module: Any, name: str, arguments: tuple[Any, ...]) -> Code:
    """A function that only its module calls."""
    code = Code(module, name, VOID, arguments)
    code.function.linkage = "internal"
    return code


def tiled(code: Code, count: Value, width: int, body: Callable[[Value, int], None]) -> None:
    """`body(first, n)` for whole groups of `width`, then one by one."""
    whole = code.b.sub(count, code.b.urem(count, I64(width)))
    code.loop(whole, lambda index, _: body(index, width), step=width)
    code.loop(count, lambda index, _: body(index, 1), begin=whole)
