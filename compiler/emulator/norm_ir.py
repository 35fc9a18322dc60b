"""Operations of the tape that reduce a vector: norms and softmax, in the order of `arithmetic`.

Imported only where llvmlite is.
"""

from __future__ import annotations

from collections.abc import Callable

from compiler.dtypes import BFLOAT16
from compiler.emulator.ir_builder import F32, FLOATS, I32, I64, INTS, PTR, Group, Value, splat
from compiler.emulator.operation_ir import Operation


def norm(layernorm: bool) -> Callable[[Operation], None]:
    def build(f: Operation) -> None:
        b = f.b
        length, result = f["length"], f.vector("dst")
        with b.if_else(f.given("b")) as (fused, plain):
            with fused:
                a, residual, total = f.vector("a"), f.vector("b"), f.vector("sum")
                f.groups(length, lambda g, _: g.store(total, f.round(b.fadd(g.load(a), g.load(residual)))))
                left = b.block
            with plain:
                alone = f.vector("a")
                right = b.block
        x = b.phi(PTR)
        x.add_incoming(total, left)
        x.add_incoming(alone, right)
        size = b.sdiv(length, f["heads"])

        def head(index: Value, _: object) -> None:
            begin = b.mul(index, size)
            _normalise(f, f.element(x, begin), f.element(result, begin), size, layernorm)

        f.loop(f["heads"], head)
        for given, combine in (("weight", b.fmul), ("bias", b.fadd)):
            with f.when(f.given(given)):
                factor = f.at(f.address(given), b.mul(f.device, f[f"{given}_device"]))
                f.groups(length, lambda g, _: g.store(result, combine(g.load(result), g.load(factor))))  # noqa: B023
        f.groups(length, lambda g, _: g.store(result, f.round(g.load(result))))
        f.end()

    return build


def _normalise(f: Operation, x: Value, result: Value, size: Value, layernorm: bool) -> None:
    """`arithmetic.layernorm` or `rmsnorm` without weight and bias."""
    b = f.b
    of = b.select(f.given("of_length"), f.vector("of"), x)
    count = b.select(f.given("of_length"), f["of_length"], size)
    divisor = b.sitofp(count, F32)
    mean: Value = None
    if layernorm:
        mean = f.spread(b.fdiv(f.total(count, lambda g: g.load(of)), divisor))

    def square(g: Group) -> Value:
        value = b.fsub(g.load(of), mean) if layernorm else g.load(of)
        return g.only(b.fmul(value, value), 0.0)

    variance = b.fdiv(f.total(count, square), divisor)
    root = f.intrinsic("llvm.sqrt.f32", F32, (F32,))
    factor = f.spread(b.fdiv(F32(1.0), b.call(root, (b.fadd(variance, f.number("eps")),))))

    def apply(g: Group, _: object) -> None:
        value = b.fsub(g.load(x), mean) if layernorm else g.load(x)
        g.store(result, b.fmul(value, factor))

    f.groups(size, apply)


def softmax(f: Operation) -> None:
    b = f.b
    a, result, length = f.vector("a"), f.vector("dst"), f.extent("length", "length_reg")
    begin = f.first("length", "length_reg")
    first = b.sub(f.register("first_reg"), begin)
    first = f.greatest(first, I64(0))  # 32 bits hold it
    f.fail_if(b.icmp_signed(">=", first, length))
    hidden, before = (f.spread(b.trunc(each, I32), INTS) for each in (first, begin))
    scale = f.spread(f.number("scale"))
    slope, sink = f.spread(_optional(f, "slope", 0.0)), f.spread(_optional(f, "sink", float("-inf")))
    biased = f.given("slope")
    coarse = f.given("coarse")
    least = splat(F32, float("-inf"))

    def scaled(g: Group, highest: tuple[Value, ...]) -> tuple[Value, ...]:
        value = b.fmul(g.load(a), scale)
        bias = b.fmul(slope, b.sitofp(b.add(g.positions(), before), FLOATS))
        bias = b.select(coarse, b.fmul(f.rounded(bias, BFLOAT16, True), scale), bias)
        value = b.select(biased, b.fadd(value, bias), value)
        value = b.select(b.icmp_signed("<", g.positions(), hidden), least, value)
        g.store(result, value)
        value = g.only(value, float("-inf"))
        return (b.select(b.fcmp_ordered(">", value, highest[0]), value, highest[0]),)

    (highest,) = f.groups(length, scaled, (least,))
    top = f.spread(f.fold(highest, lambda x, y: b.select(b.fcmp_ordered(">", x, y), x, y)))
    top = b.select(b.fcmp_ordered(">", sink, top), sink, top)

    def power(g: Group, sums: tuple[Value, ...]) -> tuple[Value, ...]:
        value = f.exp(b.fsub(g.load(result), top))
        g.store(result, value)
        return (b.fadd(sums[0], g.only(value, 0.0)),)

    (sums,) = f.groups(length, power, (splat(F32, 0.0),))
    whole = f.spread(f.fold(sums, b.fadd))
    whole = b.select(f.given("sink"), b.fadd(whole, f.exp(b.fsub(sink, top))), whole)
    factor = b.fdiv(splat(F32, 1.0), whole)
    f.groups(length, lambda g, _: g.store(result, f.round(b.fmul(g.load(result), factor))))
    f.end()


def _optional(f: Operation, name: str, default: float) -> Value:
    """The number that an operand names; `default` without one."""
    b = f.b
    before = b.block
    with f.when(f.given(name)):
        value = b.load(f.vector(name), typ=F32)
        inside = b.block
    found = b.phi(F32)
    found.add_incoming(F32(default), before)
    found.add_incoming(value, inside)
    return found
