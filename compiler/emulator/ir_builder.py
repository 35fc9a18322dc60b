"""Structured LLVM code over float32 vectors: loops, branches, groups of LANES elements, reductions, rounding.

What every vector operation of the tape is written with. Each product, sum
and conversion is one IEEE operation in the order of `arithmetic`; LLVM may
choose registers, not results. Imported only where llvmlite is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from compiler.dtypes import BFLOAT16, FLOAT16, DType
from compiler.emulator.arithmetic import (
    EXP_LOWEST,
    EXP_POLYNOMIAL,
    EXP_SHIFT,
    LANES,
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    ROUND_TO_WHOLE,
)

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F16, F32 = ir.HalfType(), ir.FloatType()
PTR = ir.PointerType()
FLOATS = ir.VectorType(F32, LANES)
INTS = ir.VectorType(I32, LANES)

CACHE_LINE = 64
"""Bytes."""

Value = Any
"""An ir.Value."""


def splat(kind: Any, value: float) -> Value:
    """A constant of LANES equal elements."""
    return ir.Constant(ir.VectorType(kind, LANES), [value] * LANES)


def stored_kind(dtype: DType, native_half: bool) -> Any:
    """What an element of a matrix is loaded as."""
    return {FLOAT16: F16 if native_half else I16, BFLOAT16: I16}.get(dtype, F32)


class Group:
    """LANES neighbouring elements of a vector, or fewer at its end.

    Attributes:
        index: of the first one.
        mask: which exist; None: all.
    """

    def __init__(self, code: Code, index: Value, mask: Value | None) -> None:
        self._code = code
        self.index = index
        self.mask = mask

    def load(self, base: Value) -> Value:
        """The elements of float32 `base`, 0 where there is none."""
        return self._load(base, F32, "f32", 4)

    def load_stored(self, base: Value, dtype: DType, native_half: bool) -> Value:
        """The elements of `base`, stored as `dtype`, as float32; 0 where there is none."""
        kind = stored_kind(dtype, native_half)
        suffix = {F32: "f32", F16: "f16"}.get(kind, "i16")
        return self._code.widened(self._load(base, kind, suffix, dtype.itemsize), dtype, native_half)

    def _load(self, base: Value, kind: Any, suffix: str, align: int) -> Value:
        address, wide = self._code.element(base, self.index, kind), ir.VectorType(kind, LANES)
        if self.mask is None:
            return self._code.b.load(address, align=align, typ=wide)
        function = self._code.intrinsic(f"llvm.masked.load.v{LANES}{suffix}.p0", wide, (PTR, I32, self.mask.type, wide))
        return self._code.b.call(function, (address, I32(align), self.mask, ir.Constant(wide, None)))

    def store(self, base: Value, value: Value) -> None:
        """Write the elements that exist."""
        address = self._code.element(base, self.index)
        if self.mask is None:
            self._code.b.store(value, address, align=4)
            return
        kinds = (FLOATS, PTR, I32, self.mask.type)
        function = self._code.intrinsic("llvm.masked.store.v16f32.p0", ir.VoidType(), kinds)
        self._code.b.call(function, (value, address, I32(4), self.mask))

    def only(self, value: Value, other: float) -> Value:
        """`value` where elements exist, else `other`."""
        return value if self.mask is None else self._code.b.select(self.mask, value, splat(F32, other))

    def positions(self) -> Value:
        """Index of each element, as 32-bit integers."""
        code = self._code
        first = code.spread(code.b.trunc(self.index, I32), INTS)
        return code.b.add(first, ir.Constant(INTS, list(range(LANES))))


class Code:
    """A function under construction.

    Attributes:
        b: the llvmlite builder, for single instructions.
        arguments: of the function.
    """

    def __init__(self, module: Any, name: str, result: Any, arguments: Sequence[Any]) -> None:
        self.module = module
        self.function = ir.Function(module, ir.FunctionType(result, arguments), name)
        self.arguments = self.function.args
        self.b: Any = ir.IRBuilder(self.function.append_basic_block())

    def intrinsic(self, name: str, result: Any, arguments: Sequence[Any]) -> Value:
        """A function of LLVM, declared once."""
        found = self.module.globals.get(name)
        return found if found is not None else ir.Function(self.module, ir.FunctionType(result, arguments), name)

    # control

    def loop(
        self,
        count: Value,
        body: Callable[[Value, tuple[Value, ...]], tuple[Value, ...] | None],
        carried: tuple[Value, ...] = (),
        step: int = 1,
        begin: Value | None = None,
    ) -> tuple[Value, ...]:
        """`body(index, carried)` for index = begin, begin + step, .. below `count`; returns what it carried last."""
        b = self.b
        before = b.block
        head, inside, behind = (self.function.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64)
        index.add_incoming(I64(0) if begin is None else begin, before)
        values = tuple(b.phi(value.type) for value in carried)
        for phi, value in zip(values, carried, strict=True):
            phi.add_incoming(value, before)
        b.cbranch(b.icmp_signed("<", index, count), inside, behind)
        b.position_at_end(inside)
        results = body(index, values) or ()
        index.add_incoming(b.add(index, I64(step)), b.block)
        for phi, value in zip(values, results, strict=True):
            phi.add_incoming(value, b.block)
        b.branch(head)
        b.position_at_end(behind)
        return values

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Code that runs if `condition`."""
        with self.b.if_then(condition):
            yield

    def fail_if(self, condition: Value) -> None:
        """Return 1, a fault, if `condition`."""
        with self.b.if_then(condition, likely=False):
            self.b.ret(I64(1))

    def groups(
        self,
        length: Value,
        body: Callable[[Group, tuple[Value, ...]], tuple[Value, ...] | None],
        carried: tuple[Value, ...] = (),
    ) -> tuple[Value, ...]:
        """`body(group, carried)` for all groups of a vector of `length` elements, the last one perhaps in part."""
        return self._by(1, length, lambda groups, values: body(groups[0], values), carried)

    def pairs(
        self,
        length: Value,
        body: Callable[[Group, Group, tuple[Value, ...]], tuple[Value, ...] | None],
        carried: tuple[Value, ...] = (),
    ) -> tuple[Value, ...]:
        """`body(first, second, carried)` for groups two by two, the last ones perhaps in part or empty."""
        return self._by(2, length, lambda groups, values: body(groups[0], groups[1], values), carried)

    def _by(
        self,
        count: int,
        length: Value,
        body: Callable[[list[Group], tuple[Value, ...]], tuple[Value, ...] | None],
        carried: tuple[Value, ...],
    ) -> tuple[Value, ...]:
        """`body(groups, carried)` for `count` neighbouring groups at a time."""
        b = self.b
        begins = range(0, count * LANES, LANES)
        whole = b.and_(length, I64(-count * LANES))

        def full(index: Value, values: tuple[Value, ...]) -> tuple[Value, ...] | None:
            return body([Group(self, b.add(index, I64(begin)) if begin else index, None) for begin in begins], values)

        carried = self.loop(whole, full, carried, count * LANES)
        rest = b.sub(length, whole)
        before = b.block
        tail, behind = self.function.append_basic_block(), self.function.append_basic_block()
        b.cbranch(b.icmp_signed("!=", rest, I64(0)), tail, behind)
        b.position_at_end(tail)
        existing = self.spread(b.trunc(rest, I32), INTS)
        groups = []
        for begin in begins:
            mask = b.icmp_signed("<", ir.Constant(INTS, list(range(begin, begin + LANES))), existing)
            groups.append(Group(self, b.add(whole, I64(begin)), mask))
        results = body(groups, carried) or ()
        last = b.block
        b.branch(behind)
        b.position_at_end(behind)
        merged = []
        for old, new in zip(carried, results, strict=True):
            phi = b.phi(old.type)
            phi.add_incoming(old, before)
            phi.add_incoming(new, last)
            merged.append(phi)
        return tuple(merged)

    # addresses and constants

    def at(self, base: Value, offset_bytes: Value) -> Value:
        """The address `offset_bytes` behind `base`."""
        return self.b.gep(base, [offset_bytes], source_etype=I8)

    def element(self, base: Value, index: Value, kind: Any = F32) -> Value:
        """The address of element `index`."""
        return self.b.gep(base, [index], source_etype=kind)

    def load(self, base: Value, index: Value, kind: Any) -> Value:
        """Element `index` of `base`."""
        return self.b.load(self.element(base, index, kind), typ=kind)

    def spread(self, value: Value, kind: Any = FLOATS) -> Value:
        """A vector with `value` in every lane."""
        single = self.b.insert_element(ir.Constant(kind, ir.Undefined), value, I32(0))
        return self.b.shuffle_vector(single, single, ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count))

    def prefetch(self, address: Value) -> None:
        """Ask for the cache line at `address`, which need not exist."""
        function = self.intrinsic("llvm.prefetch.p0", ir.VoidType(), (PTR, I32, I32, I32))
        self.b.call(function, (address, I32(0), I32(3), I32(1)))

    # arithmetic

    def least(self, x: Value, y: Value) -> Value:
        """The smaller of two signed integers."""
        return self.b.select(self.b.icmp_signed("<", x, y), x, y)

    def greatest(self, x: Value, y: Value) -> Value:
        """The larger of two signed integers."""
        return self.b.select(self.b.icmp_signed(">", x, y), x, y)

    def fold(self, sums: Value, combine: Callable[[Value, Value], Value]) -> Value:
        """Upper half with lower half until one lane is left: a float."""
        width = LANES
        while width > 1:
            width //= 2
            low, high = (self._shuffled(sums, sums, lanes) for lanes in (range(width), range(width, 2 * width)))
            sums = combine(low, high)
        return self.b.extract_element(sums, I32(0))

    def fold_four(self, sums: Sequence[Value]) -> list[Value]:
        """`fold` by addition of four vectors at once: the same sums, in a third of the instructions."""
        a, b, c, d = sums
        ab, cd = self._add_halves(a, b, 8), self._add_halves(c, d, 8)
        four = self._add_halves(ab, cd, 4)
        for distance in (2, 1):
            other = [lane // 4 * 4 + (lane + distance) % 4 for lane in range(LANES)]
            four = self.b.fadd(four, self._shuffled(four, four, other))
        return [self.b.extract_element(four, I32(4 * each)) for each in range(4)]

    def _add_halves(self, first: Value, second: Value, width: int) -> Value:
        """Of each piece of 2 * width lanes the lower half plus the upper, the pieces of both vectors in a row."""
        low = [lane for begin in range(0, 2 * LANES, 2 * width) for lane in range(begin, begin + width)]
        high = [lane + width for lane in low]
        return self.b.fadd(self._shuffled(first, second, low), self._shuffled(first, second, high))

    def _shuffled(self, first: Value, second: Value, lanes: Sequence[int]) -> Value:
        return self.b.shuffle_vector(first, second, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))

    def total(self, length: Value, term: Callable[[Group], Value]) -> Value:
        """`arithmetic.total` of `term`, which must be 0 where no element exists."""
        (sums,) = self.groups(length, lambda g, s: (self.b.fadd(s[0], term(g)),), (splat(F32, 0.0),))
        return self.fold(sums, self.b.fadd)

    def exp(self, x: Value) -> Value:
        """`arithmetic.exp`."""
        b = self.b
        low = b.fcmp_ordered("<", x, splat(F32, EXP_LOWEST))
        scaled = b.select(low, splat(F32, EXP_LOWEST), x)
        shifted = b.fadd(b.fmul(scaled, splat(F32, LOG2_E)), splat(F32, ROUND_TO_WHOLE))
        whole = b.fsub(shifted, splat(F32, ROUND_TO_WHOLE))
        rest = b.fsub(scaled, b.fmul(whole, splat(F32, LN2_HIGH)))
        rest = b.fsub(rest, b.fmul(whole, splat(F32, LN2_LOW)))
        power = splat(F32, EXP_POLYNOMIAL[0])
        for coefficient in EXP_POLYNOMIAL[1:]:
            power = b.fadd(b.fmul(power, rest), splat(F32, coefficient))
        power = b.fadd(b.fadd(b.fmul(power, b.fmul(rest, rest)), rest), splat(F32, 1.0))
        exponent = b.add(b.shl(b.bitcast(shifted, INTS), splat(I32, 23)), splat(I32, 127 + EXP_SHIFT << 23))
        result = b.fmul(b.fmul(power, b.bitcast(exponent, FLOATS)), splat(F32, 2.0**-EXP_SHIFT))
        return b.select(low, splat(F32, 0.0), result)

    def widened(self, raw: Value, dtype: DType, native_half: bool) -> Value:
        """Stored elements, LANES or a single one, as float32, which is exact."""
        b = self.b
        if dtype not in (FLOAT16, BFLOAT16):
            return raw
        many = isinstance(raw.type, ir.VectorType)
        floats, ints = (FLOATS, INTS) if many else (F32, I32)

        def constant(value: float) -> Value:
            kind = F32 if isinstance(value, float) else I32
            return splat(kind, value) if many else kind(value)

        if dtype == FLOAT16 and native_half:
            return b.fpext(raw, floats)
        bits = b.zext(raw, ints)
        if dtype == BFLOAT16:
            return b.bitcast(b.shl(bits, constant(16)), floats)
        # Magnitude to its place, exponent corrected by an exact product (subnormals too); infinity and NaN apart.
        size = b.shl(b.and_(bits, constant(0x7FFF)), constant(13))
        small = b.bitcast(b.fmul(b.bitcast(size, floats), constant(2.0**112)), ints)
        large = b.icmp_unsigned(">=", size, constant(0x7C00 << 13))
        magnitude = b.select(large, b.or_(size, constant(0x7F800000)), small)
        sign = b.shl(b.and_(bits, constant(0x8000)), constant(16))
        return b.bitcast(b.or_(magnitude, sign), floats)

    def rounded(self, x: Value, dtype: DType, native_half: bool) -> Value:
        """`rounding.round_to`."""
        if dtype == BFLOAT16:
            return self._to_bfloat16(x)
        if dtype != FLOAT16:
            return x
        if native_half:
            return self.b.fpext(self.b.fptrunc(x, ir.VectorType(F16, LANES)), FLOATS)
        return self._to_float16(x)

    def _to_bfloat16(self, x: Value) -> Value:
        b = self.b
        bits = b.bitcast(x, INTS)
        even = b.and_(b.lshr(bits, splat(I32, 16)), splat(I32, 1))
        near = b.and_(b.add(b.add(bits, even), splat(I32, 0x7FFF)), splat(I32, -0x10000))
        nan = b.or_(b.and_(bits, splat(I32, -0x10000)), splat(I32, 0x00400000))
        return b.bitcast(b.select(b.fcmp_unordered("uno", x, x), nan, near), FLOATS)

    def _to_float16(self, x: Value) -> Value:
        """With integers: normal numbers lose 13 bits, small ones are rounded by adding 0.5, whose unit is 2**-24."""
        b = self.b
        bits = b.bitcast(x, INTS)
        sign = b.and_(bits, splat(I32, -(1 << 31)))
        size = b.and_(bits, splat(I32, 0x7FFFFFFF))
        even = b.and_(b.lshr(size, splat(I32, 13)), splat(I32, 1))
        normal = b.and_(b.add(b.add(size, even), splat(I32, 0xFFF)), splat(I32, -0x2000))
        half = splat(F32, 0.5)
        small = b.bitcast(b.fsub(b.fadd(b.bitcast(size, FLOATS), half), half), INTS)
        near = b.select(b.icmp_unsigned("<", size, splat(I32, 0x38800000)), small, normal)
        near = b.select(b.icmp_unsigned(">=", size, splat(I32, 0x477FF000)), splat(I32, 0x7F800000), near)
        nan = b.or_(b.and_(size, splat(I32, -0x2000)), splat(I32, 0x00400000))
        near = b.select(b.icmp_unsigned(">", size, splat(I32, 0x7F800000)), nan, near)
        return b.bitcast(b.or_(near, sign), FLOATS)
