"""Operations of the tape on vectors: what is behind a product, and element by element.

Imported only where llvmlite is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from compiler.emulator.arithmetic import LANES
from compiler.emulator.ir_builder import F32, FLOATS, I32, I64, INTS, PTR, Group, Value, splat
from compiler.emulator.operation_ir import Operation
from compiler.isa.spec import RopeStyle

TABLE_HEAD = 8
"""Numbers before the coefficients, see `tape.table_block`."""


def finish(f: Operation) -> None:
    b = f.b
    source, result, length = f.vector("src"), f.vector("dst"), f["length"]
    with b.if_else(f.given("bias")) as (biased, plain):
        with biased:
            bias = f.vector("bias")
            f.groups(length, lambda g, _: g.store(result, b.fadd(g.load(source), g.load(bias))))
        with plain:
            f.groups(length, lambda g, _: g.store(result, g.load(source)))
    with f.when(f.given("rotary_dim")):
        _rotate(f, result, f.vector("rope"))
    with b.if_else(f.given("table")) as (curved, straight):
        with curved:
            table = f.address("table")
            f.groups(length, lambda g, _: g.store(result, f.round(_evaluate(f, table, g.load(result)))))
        with straight:
            f.groups(length, lambda g, _: g.store(result, f.round(g.load(result))))
    f.end()


def _rotate(f: Operation, vector: Value, rope: Value) -> None:
    """`arithmetic.rotate` in place."""
    b = f.b
    size, half = f["head_dim"], b.sdiv(f["rotary_dim"], I64(2))
    sines = f.element(rope, half)
    interleaved = b.icmp_signed("==", f["style"], I64(RopeStyle.INTERLEAVED))

    def head(index: Value, _: object) -> None:
        begin = f.element(vector, b.mul(index, size))
        with b.if_else(interleaved) as (pairs, halves):
            with pairs:
                f.loop(half, lambda k, _: _turn_pair(f, begin, k, rope, sines))
            with halves:
                second = f.element(begin, half)
                f.groups(half, lambda g, _: _turn_group(f, g, begin, second, rope, sines))

    f.loop(b.sdiv(f["length"], size), head)


def _turn_pair(f: Operation, begin: Value, index: Value, cosines: Value, sines: Value) -> None:
    b = f.b
    first = f.element(begin, b.mul(index, I64(2)))
    second = f.element(first, I64(1))
    x, y = b.load(first, typ=F32), b.load(second, typ=F32)
    cos, sin = f.load(cosines, index, F32), f.load(sines, index, F32)
    b.store(b.fsub(b.fmul(x, cos), b.fmul(y, sin)), first)
    b.store(b.fadd(b.fmul(y, cos), b.fmul(x, sin)), second)


def _turn_group(f: Operation, g: Group, first: Value, second: Value, cosines: Value, sines: Value) -> None:
    b = f.b
    x, y, cos, sin = (g.load(each) for each in (first, second, cosines, sines))
    g.store(first, b.fsub(b.fmul(x, cos), b.fmul(y, sin)))
    g.store(second, b.fadd(b.fmul(y, cos), b.fmul(x, sin)))


def _evaluate(f: Operation, table: Value, x: Value) -> Value:
    """`ActivationTable.evaluate`."""
    b = f.b
    head = [f.load(table, I64(at), F32) for at in range(TABLE_HEAD)]
    begin, end, width, *lines, last = (f.spread(value) for value in head)
    low, high = b.fcmp_ordered("<", x, begin), b.fcmp_ordered(">=", x, end)
    nan = b.fcmp_unordered("uno", x, x)
    outside = b.or_(b.or_(low, high), nan)
    offset = b.select(outside, splat(F32, 0.0), b.fsub(x, begin))
    floor = f.intrinsic("llvm.floor.v16f32", FLOATS, (FLOATS,))
    index = b.call(floor, (b.fdiv(offset, width),))
    index = b.select(b.fcmp_ordered("<", index, last), index, last)
    t = b.select(outside, splat(F32, 0.0), b.fsub(x, b.fadd(begin, b.fmul(index, width))))
    c = _coefficients(f, table, b.fptosi(index, INTS))
    y = c[3]
    for lower in (c[2], c[1], c[0]):
        y = b.fadd(b.fmul(y, t), lower)
    left, right = (_line(f, x, lines[at], lines[at + 1]) for at in (0, 2))
    y = b.select(low, left, b.select(high, right, y))
    return b.select(nan, x, y)


def _coefficients(f: Operation, table: Value, segments: Value) -> list[Value]:
    """c0 .. c3 of the segment of each lane."""
    b = f.b
    wide, masks = ir.VectorType(I64, LANES), ir.VectorType(ir.IntType(1), LANES)
    pointers = ir.VectorType(PTR, LANES)
    gather = f.intrinsic("llvm.masked.gather.v16f32.v16p0", FLOATS, (pointers, I32, masks, FLOATS))
    first = f.spread(b.ptrtoint(f.element(table, I64(TABLE_HEAD)), I64), wide)
    begins = b.add(first, b.shl(b.zext(segments, wide), splat(I64, 4)))
    every = ir.Constant(masks, [1] * LANES)
    return [
        b.call(
            gather,
            (b.inttoptr(b.add(begins, splat(I64, 4 * power)), pointers), I32(4), every, splat(F32, 0.0)),
        )
        for power in range(4)
    ]


def _line(f: Operation, x: Value, slope: Value, intercept: Value) -> Value:
    b = f.b
    flat = b.fcmp_ordered("==", slope, splat(F32, 0.0))
    return b.select(flat, intercept, b.fadd(b.fmul(x, slope), intercept))


def elementwise(combine: Callable[[Any, Value, Value], Value]) -> Callable[[Operation], None]:
    def build(f: Operation) -> None:
        a, other, result = f.vector("a"), f.vector("b"), f.vector("dst")
        f.groups(f["length"], lambda g, _: g.store(result, f.round(combine(f.b, g.load(a), g.load(other)))))
        f.end()

    return build


def scale(f: Operation) -> None:
    b = f.b
    a, result, length = f.vector("a"), f.vector("dst"), f.extent("length", "length_reg")
    scale = f.spread(f.number("scale"))
    with b.if_else(f.given("by")) as (more, plain):
        with more:
            by = f.spread(b.load(f.vector("by"), typ=F32))
            f.groups(length, lambda g, _: g.store(result, f.round(b.fmul(b.fmul(g.load(a), scale), by))))
        with plain:
            f.groups(length, lambda g, _: g.store(result, f.round(b.fmul(g.load(a), scale))))
    f.end()
