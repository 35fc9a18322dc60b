"""The dot-product kernel as LLVM code: what `arithmetic.dot_rows` means, for any processor.

Vectors of LANES floats are spelled out and every product and sum is a
separate rounding, so LLVM has no freedom to change a bit: a processor with
narrower registers uses several of them. Stored 16-bit weights are widened in
registers, which is exact.

A task is one matrix of rows that lie `row_bytes` apart, times several vectors:
`task.TASK_FIELDS`. Few vectors wait for memory: rows are read once, in the
order they lie in. Many vectors wait for arithmetic: a block of rows and columns
is widened once, and all vectors go over it. Imported only where llvmlite is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32, DType
from compiler.emulator.arithmetic import LANES
from compiler.emulator.ir_builder import CACHE_LINE, F32, FLOATS, I64, PTR, Code, Group, Value, splat
from compiler.emulator.pairs_ir import Paired
from compiler.emulator.panels_ir import KINDS, SUM_BYTES, VOID, Panel, Panels, internal, tiled
from compiler.emulator.task import TASK_FIELDS, function_name

TILE_ROWS = 4  # `Code.fold_four`
TILE_VECTORS = 4
"""Rows times vectors computed together: 16 running sums and their operands fit the registers of AVX-512."""

BLOCK_COLS = 512
"""Columns of a tile's rows that are widened together: they stay in the first-level cache."""

BLOCKED_VECTORS = 16
"""From so many vectors on, widening once pays."""

_ROW_BYTES = 4 * (BLOCK_COLS + LANES)
"""Between the widened rows of a block; no power of two, so that they lie in different cache sets."""


def module_text(native_half: bool, pairs: bool) -> str:
    """The whole module.

    Args:
        native_half: whether the processor converts half to float; else it is done with integers.
        pairs: whether it has the instruction of `pairs_ir`.
    """
    module = ir.Module("kernel")
    tiles = {count: _block_tile(module, count) for count in (1, TILE_VECTORS)}
    for dtype in (FLOAT16, BFLOAT16, FLOAT32):
        rows = {
            (count, vectors): _row_tile(module, dtype, count, vectors, native_half)
            for count in (1, TILE_ROWS)
            for vectors in (1, TILE_VECTORS)
        }
        blocked = _Blocked(module, dtype, tiles, native_half).function
        _driver(module, dtype, rows, blocked, Paired(module, blocked).function if pairs and dtype == BFLOAT16 else None)
    return str(module)


def _row_tile(module: Any, dtype: DType, rows: int, vectors: int, native_half: bool) -> Any:
    """void (rows, row_bytes, cols, vectors, vector_step, result, result_step, next): some rows times some vectors.

    Asks for the bytes behind its rows meanwhile, in the order of memory: the next tile's, where rows are not padded.
    """
    code = internal(module, f"rows_{dtype}_{rows}x{vectors}", (PTR, I64, I64, PTR, I64, PTR, I64, I64))
    b = code.b
    matrix, row_bytes, cols, first, vector_step, result, result_step, next_ = code.arguments
    begins = [code.at(matrix, b.mul(row_bytes, I64(row))) for row in range(rows)]
    behind = code.at(matrix, b.mul(row_bytes, I64(rows)))
    inputs = [code.element(first, b.mul(vector_step, I64(vector))) for vector in range(vectors)]

    def group(g: Group, sums: tuple[Value, ...]) -> tuple[Value, ...]:
        xs = [g.load(each) for each in inputs]
        if g.mask is None and rows > 1:
            ahead = code.at(behind, b.mul(g.index, I64(rows * dtype.itemsize)))
            for line in range(0, rows * LANES * dtype.itemsize, CACHE_LINE):
                code.prefetch(code.at(ahead, I64(line)))
        added = []
        for row, begin in enumerate(begins):
            weight = g.load_stored(begin, dtype, native_half)
            added += [b.fadd(sums[row * vectors + at], b.fmul(weight, x)) for at, x in enumerate(xs)]
        return tuple(added)

    sums = code.groups(cols, group, (splat(F32, 0.0),) * (rows * vectors))
    for vector in range(vectors):
        own = sums[vector::vectors]
        totals = code.fold_four(own) if rows == TILE_ROWS else [code.fold(each, b.fadd) for each in own]
        for row, total in enumerate(totals):
            place = b.add(b.mul(result_step, I64(row)), b.mul(next_, I64(vector)))
            b.store(total, code.element(result, place))
    b.ret_void()
    return code.function


def _block_tile(module: Any, vectors: int) -> Any:
    """void (block, cols, vectors, vector_step, sums, ahead, ahead_step): TILE_ROWS widened rows times some vectors.

    `sums` is [vectors, TILE_ROWS, LANES]. With every group it asks for memory `ahead_step` further behind `ahead`.
    """
    code = internal(module, f"block_{vectors}", (PTR, I64, PTR, I64, PTR, PTR, I64))
    b = code.b
    block, cols, first, vector_step, kept, ahead, ahead_step = code.arguments
    rows = [code.at(block, I64(row * _ROW_BYTES)) for row in range(TILE_ROWS)]
    begins = [code.element(first, b.mul(vector_step, I64(vector))) for vector in range(vectors)]
    places = [code.at(kept, I64(at * SUM_BYTES)) for at in range(vectors * TILE_ROWS)]

    def group(g: Group, sums: tuple[Value, ...]) -> tuple[Value, ...]:
        if g.mask is None:
            code.prefetch(code.at(ahead, b.mul(b.lshr(g.index, I64(LANES.bit_length() - 1)), ahead_step)))
        xs = [g.load(begin) for begin in begins]
        added: list[Value] = [None] * len(sums)
        for row, begin in enumerate(rows):
            weight = g.load(begin)
            for vector, x in enumerate(xs):
                at = vector * TILE_ROWS + row
                added[at] = b.fadd(sums[at], b.fmul(weight, x))
        return tuple(added)

    sums = code.groups(cols, group, tuple(b.load(place, align=4, typ=FLOATS) for place in places))
    for place, total in zip(places, sums, strict=True):
        b.store(total, place, align=4)
    b.ret_void()
    return code.function


class _Blocked(Panels):
    """void (fields of a task): several vectors, a block of widened weights at a time."""

    def __init__(self, module: Any, dtype: DType, tiles: dict[int, Any], native_half: bool) -> None:
        super().__init__(module, f"blocked_{dtype}", TILE_ROWS)
        self._dtype = dtype
        self._multiply = tiles
        self._native_half = native_half
        self._block = self._scratch(TILE_ROWS * _ROW_BYTES)
        self._build()

    def _tiles(self, panel: Panel) -> Callable[[Value, Value], None]:
        code, task = self._code, self._task
        vectors = code.element(task["vectors"], code.b.mul(panel.begin, task["vector_step"]))

        def tile(row: Value, rows: Value) -> None:
            matrix = self._matrix(row)
            self._clear(panel)
            code.loop(
                task["cols"], lambda col, _: self._columns(matrix, rows, col, vectors, panel.count), step=BLOCK_COLS
            )
            self._store(panel, row, rows)

        return tile

    def _columns(self, matrix: Value, rows: Value, begin: Value, vectors: Value, count: Value) -> None:
        """Add the products of columns [begin, begin + BLOCK_COLS) of a tile's rows to the sums."""
        code, task = self._code, self._task
        b = code.b
        size = self._dtype.itemsize
        end = b.add(begin, I64(BLOCK_COLS))
        cols = code.least(b.sub(task["cols"], begin), I64(BLOCK_COLS))
        here = code.at(matrix, b.mul(begin, I64(size)))
        below = b.mul(task["row_bytes"], I64(TILE_ROWS))
        is_last = b.icmp_signed(">=", end, task["cols"])
        ahead = code.at(matrix, b.select(is_last, below, b.mul(end, I64(size))))

        def widen(row: Value, _: object) -> None:
            source = code.at(here, b.mul(row, task["row_bytes"]))
            target = code.at(self._block, b.mul(row, I64(_ROW_BYTES)))
            code.groups(cols, lambda g, _: g.store(target, g.load_stored(source, self._dtype, self._native_half)))

        code.loop(rows, widen)
        step = I64(LANES * size)

        def multiply(index: Value, width: int) -> None:
            x = code.element(vectors, b.add(begin, b.mul(index, task["vector_step"])))
            row = b.and_(b.sdiv(index, I64(TILE_VECTORS)), I64(TILE_ROWS - 1))
            behind = code.at(ahead, b.mul(row, task["row_bytes"]))
            arguments = self._block, cols, x, task["vector_step"], self._sums_of(index), behind, step
            b.call(self._multiply[width], arguments)

        tiled(code, count, TILE_VECTORS, multiply)


def _driver(module: Any, dtype: DType, row_tiles: dict[tuple[int, int], Any], blocked: Any, paired: Any) -> None:
    """The exported function: void (tasks, count)."""
    code = Code(module, function_name(dtype), VOID, (PTR, I64))
    b = code.b
    tasks, number = code.arguments

    def each(index: Value, _: object) -> None:
        begin = code.element(tasks, b.mul(index, I64(len(TASK_FIELDS))), I64)
        fields = enumerate(zip(TASK_FIELDS, KINDS, strict=True))
        task = {name: code.load(begin, I64(at), kind) for at, (name, kind) in fields}
        with b.if_else(b.icmp_signed("<", task["vector_count"], I64(BLOCKED_VECTORS))) as (few, many):
            with few:
                tiled(code, task["rows"], TILE_ROWS, lambda row, rows: _row(code, task, row, rows, row_tiles))
            with many:
                if paired is None:
                    b.call(blocked, tuple(task.values()))
                else:
                    are_packed = b.icmp_signed("!=", b.ptrtoint(task["packed"], I64), I64(0))
                    with b.if_else(are_packed) as (packed, loose):
                        with packed:
                            b.call(paired, tuple(task.values()))
                        with loose:
                            b.call(blocked, tuple(task.values()))

    code.loop(number, each)
    b.ret_void()


def _row(code: Code, task: dict[str, Value], row: Value, rows: int, row_tiles: dict[tuple[int, int], Any]) -> None:
    """`rows` rows from `row` on, times all vectors."""
    b = code.b
    matrix = code.at(task["matrix"], b.mul(row, task["row_bytes"]))
    results = code.element(task["result"], b.mul(row, task["result_step"]))

    def multiply(vector: Value, count: int) -> None:
        x = code.element(task["vectors"], b.mul(vector, task["vector_step"]))
        result = code.element(results, b.mul(vector, task["next"]))
        source = matrix, task["row_bytes"], task["cols"]
        target = result, task["result_step"], task["next"]
        b.call(row_tiles[rows, count], (*source, x, task["vector_step"], *target))

    tiled(code, task["vector_count"], TILE_VECTORS, multiply)
