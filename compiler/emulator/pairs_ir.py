"""Products of bfloat16 two columns at a time, where the processor has an instruction for that.

The instruction (VDPBF16PS, Intel SDM) adds two products to each running sum,
one after the other, each product exact and each sum rounded once; but it takes
what is subnormal for 0. So it computes what `arithmetic.dot_rows` means where
every element of the vector is a bfloat16 number, no product overflows, no
operand is subnormal, and all products are multiples of the least normal
number, as their sums then are. The exponents of the operands tell: `pack`
notes those of a vector, `Paired` those of a tile's rows, and what fails is
computed the other way.

Packed are two groups of LANES at a time: 32 bits for each lane, the first
group's element in the upper half, which the instruction takes first.
Imported only where llvmlite is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from compiler.emulator.arithmetic import LANES
from compiler.emulator.ir_builder import CACHE_LINE, FLOATS, I1, I16, I32, I64, INTS, PTR, Code, Group, Value, splat
from compiler.emulator.operation_ir import Operation
from compiler.emulator.panels_ir import SUM_BYTES, Panel, Panels, internal, tiled
from compiler.emulator.tape import PACKED_HEADER_BYTES

TILE_ROWS, TILE_VECTORS = 8, 3
"""Rows times vectors computed together: 24 running sums and their operands fit the registers of AVX-512."""

BLOCK_COLS = 1024
"""Columns of a tile's rows that are packed together: they stay in the first-level cache."""

PAIR = 2 * LANES
_PAIR_BYTES = 2 * PAIR
_ROW_BYTES = 2 * BLOCK_COLS + CACHE_LINE
"""Between the packed rows of a block; no power of two, so that they lie in different cache sets."""

_LEAST_EXPONENT = 1
"""Biased; below are subnormal numbers."""

_LEAST_SUM = 142
"""Of the biased exponents of two factors: 2 * (127 + 7) - 126, as a bfloat16 is a multiple of 2**-7 of its power."""

_GREATEST_SUM = 379
"""Of the biased exponents of two factors: 2 * (127 - 1) + 127, so that a product is below 2**127."""

_NEVER = 1024
"""An exponent that makes every sum too great."""


class _BFloat(ir.Type):  # type: ignore[misc]
    """bfloat, which llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_PAIRS = ir.VectorType(_BFloat(), PAIR)
_SHORTS = ir.VectorType(I16, PAIR)


def pack(f: Operation) -> None:
    """The tape's operation: a vector packed, behind the least and the greatest exponent in it."""
    b = f.b
    target, source = f.vector("packed"), f.vector("src")
    data = f.at(target, I64(PACKED_HEADER_BYTES))

    def pair(first: Group, second: Group, seen: tuple[Value, ...]) -> tuple[Value, ...]:
        spare, lowest, highest = seen
        upper, lower = (b.bitcast(group.load(source), INTS) for group in (first, second))
        b.store(b.or_(upper, b.lshr(lower, splat(I32, 16))), f.at(data, b.mul(first.index, I64(2))), align=CACHE_LINE)
        for each in (upper, lower):
            spare = b.or_(spare, each)
            lowest, highest = _extremes(f, each, lowest, highest)
        return spare, lowest, highest

    begin = splat(I32, 0), splat(I32, -1), splat(I32, 0)
    spare, lowest, highest = f.pairs(f["length"], pair, begin)
    is_exact = b.icmp_unsigned("==", b.and_(_reduced(f, "or", spare), I32(0xFFFF)), I32(0))
    low, high = (
        b.zext(b.lshr(_reduced(f, name, each), I32(24)), I64) for name, each in (("umin", lowest), ("umax", highest))
    )
    b.store(low, f.element(target, I64(0), I64))
    b.store(b.select(is_exact, high, I64(_NEVER)), f.element(target, I64(1), I64))
    f.end()


def _extremes(code: Code, bits: Value, lowest: Value, highest: Value) -> tuple[Value, Value]:
    """The least and the greatest with those of `bits`, without the sign; 0 becomes the greatest of the least."""
    b = code.b
    one = ir.Constant(bits.type, [1] * bits.type.count)
    doubled = b.shl(bits, one)
    below = b.sub(doubled, one)
    lowest = b.select(b.icmp_unsigned("<", below, lowest), below, lowest)
    return lowest, b.select(b.icmp_unsigned(">", doubled, highest), doubled, highest)


def _reduced(code: Code, name: str, vector: Value) -> Value:
    kind = vector.type
    suffix = f"v{kind.count}i{kind.element.width}"
    return code.b.call(code.intrinsic(f"llvm.vector.reduce.{name}.{suffix}", kind.element, (kind,)), (vector,))


def _pair_tile(module: Any, vectors: int) -> Any:
    """void (block, pairs, packed, packed_step, sums, ahead): TILE_ROWS packed rows times some vectors.

    `sums` is [vectors, TILE_ROWS, LANES]. With every pair it asks for one more line of memory from `ahead` on.
    """
    code = internal(module, f"pairs_{vectors}", (PTR, I64, PTR, I64, PTR, PTR))
    b = code.b
    block, pairs, packed, packed_step, kept, ahead = code.arguments
    rows = [code.at(block, I64(row * _ROW_BYTES)) for row in range(TILE_ROWS)]
    begins = [code.at(packed, b.mul(packed_step, I64(vector))) for vector in range(vectors)]
    places = [code.at(kept, I64(at * SUM_BYTES)) for at in range(vectors * TILE_ROWS)]
    add = code.intrinsic("llvm.x86.avx512bf16.dpbf16ps.512", FLOATS, (FLOATS, _PAIRS, _PAIRS))

    def pair(index: Value, sums: tuple[Value, ...]) -> tuple[Value, ...]:
        offset = b.mul(index, I64(_PAIR_BYTES))
        code.prefetch(code.at(ahead, offset))
        xs = [b.load(code.at(begin, offset), align=CACHE_LINE, typ=_PAIRS) for begin in begins]
        added: list[Value] = [None] * len(sums)
        for row, begin in enumerate(rows):
            weight = b.load(code.at(begin, offset), align=CACHE_LINE, typ=_PAIRS)
            for vector, x in enumerate(xs):
                at = vector * TILE_ROWS + row
                added[at] = b.call(add, (sums[at], weight, x))
        return tuple(added)

    sums = code.loop(pairs, pair, tuple(b.load(place, align=CACHE_LINE, typ=FLOATS) for place in places))
    for place, total in zip(places, sums, strict=True):
        b.store(total, place, align=CACHE_LINE)
    b.ret_void()
    return code.function


class Paired(Panels):
    """void (fields of a task): several packed vectors, a tile of rows at a time.

    Args:
        module: where to.
        other: the function for tiles that must be computed the other way, with the same arguments.
    """

    def __init__(self, module: Any, other: Any) -> None:
        super().__init__(module, "paired", TILE_ROWS)
        self._other = other
        self._multiply = {vectors: _pair_tile(module, vectors) for vectors in (1, TILE_VECTORS)}
        self._block = self._scratch(TILE_ROWS * _ROW_BYTES)
        self._build()

    def _packed(self, vector: Value) -> Value:
        return self._code.at(self._task["packed"], self._code.b.mul(vector, self._task["packed_step"]))

    def _tiles(self, panel: Panel) -> Callable[[Value, Value], None]:
        code, task = self._code, self._task
        b = code.b
        bounds = self._bounds(panel)
        nothing = ir.Constant(_SHORTS, [-1] * PAIR), ir.Constant(_SHORTS, [0] * PAIR)

        def tile(row: Value, rows: Value) -> None:
            matrix = self._matrix(row)
            self._clear(panel)
            seen = code.loop(
                task["cols"],
                lambda col, seen: self._columns(panel, matrix, rows, col, seen),
                nothing,
                step=BLOCK_COLS,
            )
            with b.if_else(self._is_exact(bounds, seen)) as (exact, not_exact):
                with exact:
                    self._store(panel, row, rows)
                with not_exact:
                    self._compute_otherwise(panel, matrix, row, rows)

        return tile

    def _bounds(self, panel: Panel) -> tuple[Value, ...]:
        """The least and the greatest exponent in a panel's vectors."""
        code = self._code
        b = code.b

        def vector(index: Value, seen: tuple[Value, ...]) -> tuple[Value, ...]:
            header = self._packed(b.add(panel.begin, index))
            low, high = (code.load(header, I64(at), I64) for at in range(2))
            lowest, highest = seen
            return code.least(low, lowest), code.greatest(high, highest)

        return code.loop(panel.count, vector, (I64(_NEVER), I64(0)))

    def _compute_otherwise(self, panel: Panel, matrix: Value, row: Value, rows: Value) -> None:
        code, task = self._code, self._task
        own = {
            "matrix": matrix,
            "rows": rows,
            "vectors": code.element(task["vectors"], code.b.mul(panel.begin, task["vector_step"])),
            "result": code.element(panel.results, code.b.mul(row, task["result_step"])),
            "vector_count": panel.count,
        }
        code.b.call(self._other, tuple(own.get(name, value) for name, value in task.items()))

    def _is_exact(self, bounds: tuple[Value, ...], seen: tuple[Value, ...]) -> Value:
        """Whether the instruction computes what is meant: of vectors in these bounds, and rows with these extremes."""
        code = self._code
        b = code.b
        low, high = bounds
        row_low, row_high = (
            b.zext(b.lshr(_reduced(code, name, each), I16(8)), I64)
            for name, each in zip(("umin", "umax"), seen, strict=True)
        )
        conditions = (
            b.icmp_signed(">=", low, I64(_LEAST_EXPONENT)),
            b.icmp_signed(">=", row_low, I64(_LEAST_EXPONENT)),
            b.icmp_signed(">=", b.add(low, row_low), I64(_LEAST_SUM)),
            b.icmp_signed("<=", b.add(high, row_high), I64(_GREATEST_SUM)),
        )
        found = I1(1)
        for condition in conditions:
            found = b.and_(found, condition)
        return found

    def _columns(
        self, panel: Panel, matrix: Value, rows: Value, begin: Value, seen: tuple[Value, ...]
    ) -> tuple[Value, ...]:
        """Add the products of columns [begin, begin + BLOCK_COLS) of a tile's rows to the sums; their extremes."""
        code, task = self._code, self._task
        b = code.b
        end = b.add(begin, I64(BLOCK_COLS))
        cols = code.least(b.sub(task["cols"], begin), I64(BLOCK_COLS))
        here = code.at(matrix, b.mul(begin, I64(2)))
        below = b.mul(task["row_bytes"], I64(TILE_ROWS))
        is_last = b.icmp_signed(">=", end, task["cols"])
        ahead = code.at(matrix, b.select(is_last, below, b.mul(end, I64(2))))

        def pack_row(row: Value, extremes: tuple[Value, ...]) -> tuple[Value, ...]:
            source = code.at(here, b.mul(row, task["row_bytes"]))
            return self._pack_row(source, code.at(self._block, b.mul(row, I64(_ROW_BYTES))), cols, extremes)

        seen = code.loop(rows, pack_row, seen)
        pairs = b.udiv(b.add(cols, I64(PAIR - 1)), I64(PAIR))
        offset = b.add(b.mul(begin, I64(2)), I64(PACKED_HEADER_BYTES))

        def multiply(index: Value, width: int) -> None:
            x = code.at(self._packed(b.add(panel.begin, index)), offset)
            row = b.and_(b.udiv(index, I64(TILE_VECTORS)), I64(TILE_ROWS - 1))
            behind = code.at(ahead, b.mul(row, task["row_bytes"]))
            b.call(self._multiply[width], (self._block, pairs, x, task["packed_step"], self._sums_of(index), behind))

        tiled(code, panel.count, TILE_VECTORS, multiply)
        return seen

    def _pack_row(self, source: Value, target: Value, cols: Value, seen: tuple[Value, ...]) -> tuple[Value, ...]:
        code = self._code
        b = code.b
        order = [lane // 2 + (0 if lane % 2 else LANES) for lane in range(PAIR)]

        def pair(index: Value, stored: Value, extremes: tuple[Value, ...]) -> tuple[Value, ...]:
            swapped = b.shuffle_vector(stored, stored, ir.Constant(ir.VectorType(I32, PAIR), order))
            b.store(swapped, code.at(target, b.mul(index, I64(2))), align=CACHE_LINE)
            return _extremes(code, stored, *extremes)

        def whole(index: Value, extremes: tuple[Value, ...]) -> tuple[Value, ...]:
            return pair(index, b.load(code.element(source, index, I16), align=2, typ=_SHORTS), extremes)

        def rest(index: Value, extremes: tuple[Value, ...]) -> tuple[Value, ...]:
            left = code.spread(b.trunc(b.sub(cols, index), I16), _SHORTS)
            mask = b.icmp_signed("<", ir.Constant(_SHORTS, list(range(PAIR))), left)
            load = code.intrinsic(f"llvm.masked.load.v{PAIR}i16.p0", _SHORTS, (PTR, I32, mask.type, _SHORTS))
            arguments = code.element(source, index, I16), I32(2), mask, ir.Constant(_SHORTS, None)
            return pair(index, b.call(load, arguments), extremes)

        full = b.and_(cols, I64(-PAIR))
        seen = code.loop(full, whole, seen, PAIR)
        return code.loop(cols, rest, seen, PAIR, begin=full)
