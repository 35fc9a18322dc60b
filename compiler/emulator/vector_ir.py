"""The operations of the tape as LLVM code: what the functions of `semantics` compute, one unit at a time.

A function gets its row, the registers of all lanes, int64 [lanes, registers],
and the unit; it returns 0, or 1 for a fault, after which nothing it wrote
counts. Imported only where llvmlite is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32, DType
from compiler.emulator.arithmetic import LANES
from compiler.emulator.ir_builder import F16, F32, FLOATS, I8, I16, I32, I64, INTS, PTR, Code, Group, Value, splat
from compiler.emulator.kernel_ir import TASK_FIELDS, function_name
from compiler.emulator.tape import FIELDS, OPS
from compiler.isa.spec import REGISTER_COUNT, RopeStyle
from compiler.memory_map import CHANNELS

TABLE_HEAD = 8
"""Numbers before the coefficients, see `tape.table_block`."""


def operation_name(op: str, dtype: DType) -> str:
    """Name of the exported function of an operation of `tape.OPS`."""
    return f"{op}_{dtype}"


class Operation(Code):
    """One operation under construction; a field is read where it is first named."""

    def __init__(self, module: Any, name: str, dtype: DType, native_half: bool) -> None:
        super().__init__(module, operation_name(name, dtype), I64, (PTR, PTR, I64))
        self.dtype = dtype
        self.native_half = native_half
        self._fields = FIELDS[name]
        self._row, self._registers, self.unit = self.arguments
        if name == "product":
            self.lane, self.device = I64(0), self.b.sdiv(self.unit, I64(CHANNELS))
        else:
            devices = self["devices"]
            self.lane, self.device = self.b.sdiv(self.unit, devices), self.b.srem(self.unit, devices)

    def __getitem__(self, name: str) -> Value:
        """An integer argument."""
        return self.load(self._row, I64(self._fields[name]), I64)

    def number(self, name: str) -> Value:
        """A float argument."""
        return self.b.bitcast(self.b.trunc(self[name], I32), F32)

    def address(self, name: str) -> Value:
        """An address argument."""
        return self.b.inttoptr(self[name], PTR)

    def vector(self, name: str) -> Value:
        """Where this unit's lane and device have the operand."""
        lanes = self.b.mul(self.lane, self[f"{name}_lane"])
        devices = self.b.mul(self.device, self[f"{name}_device"])
        return self.at(self.address(name), self.b.add(lanes, devices))

    def given(self, name: str) -> Value:
        """Whether an argument is not 0."""
        return self.b.icmp_signed("!=", self[name], I64(0))

    def register(self, name: str) -> Value:
        """The lane's register that an argument names."""
        at = self.b.add(self.b.mul(self.lane, I64(REGISTER_COUNT)), self[name])
        return self.load(self._registers, at, I64)

    def extent(self, count: str, register: str) -> Value:
        """A count, or the register that replaces it."""
        return self.b.select(self.given(register), self.register(register), self[count])

    def round(self, x: Value) -> Value:
        """To the build's dtype."""
        return self.rounded(x, self.dtype, self.native_half)

    def end(self) -> None:
        """No fault."""
        self.b.ret(I64(0))


# matrices


def _product(f: Operation) -> None:
    b = f.b
    channel = b.srem(f.unit, I64(CHANNELS))
    rows = _rows_of(f, f["rows"], channel)
    with f.when(b.icmp_signed(">", rows, I64(0))):
        chosen = b.mul(f.register("index"), f["step"])
        base = b.add(f.load(f.address("channels"), f.unit, I64), b.add(f["offset"], chosen))
        _multiply(
            f,
            base,
            rows,
            f["cols"],
            f.vector("src"),
            f["src_lane"],
            f.at(f.vector("dst"), b.mul(channel, I64(4))),
            f["dst_lane"],
            f["lanes"],
            f.dtype,
        )
    f.end()


def _cached(f: Operation) -> None:
    b = f.b
    tokens = f.extent("tokens", "tokens_reg")
    _check_written(f, f.address("written"), tokens)
    rows, cols = f.extent("rows", "rows_reg"), f.extent("cols", "cols_reg")
    base = b.add(f["base"], b.mul(f.device, f["base_device"]))
    source, result = f.vector("src"), f.vector("dst")

    def channel(index: Value, _: object) -> None:
        here = b.add(base, b.mul(index, f["channel_step"]))
        target = f.at(result, b.mul(index, I64(4)))
        _multiply(f, here, _rows_of(f, rows, index), cols, source, I64(0), target, I64(0), I64(1), FLOAT32)

    f.loop(I64(CHANNELS), channel)
    f.groups(rows, lambda g, _: g.store(result, f.round(g.load(result))))
    f.end()


def _rows_of(f: Operation, rows: Value, channel: Value) -> Value:
    """How many of `rows` rows lie in a channel."""
    return f.b.sdiv(f.b.sub(f.b.add(rows, I64(CHANNELS - 1)), channel), I64(CHANNELS))


def _multiply(
    f: Operation,
    matrix: Value,
    rows: Value,
    cols: Value,
    vectors: Value,
    vector_bytes: Value,
    result: Value,
    result_bytes: Value,
    count: Value,
    dtype: DType,
) -> None:
    """Run one task of `kernel_ir` on rows of one channel."""
    b = f.b
    with b.goto_entry_block():
        task = b.alloca(I64, len(TASK_FIELDS))
    values = {
        "matrix": matrix,
        "row_bytes": f["row_bytes"],
        "rows": rows,
        "cols": cols,
        "vectors": b.ptrtoint(vectors, I64),
        "vector_step": b.sdiv(vector_bytes, I64(4)),
        "result": b.ptrtoint(result, I64),
        "result_step": I64(CHANNELS),
        "next": b.sdiv(result_bytes, I64(4)),
        "vector_count": count,
    }
    for at, name in enumerate(TASK_FIELDS):
        b.store(values[name], f.element(task, I64(at), I64))
    b.call(f.intrinsic(function_name(dtype), ir.VoidType(), (PTR, I64)), (task, I64(1)))


def _check_written(f: Operation, flags: Value, count: Value) -> None:
    b = f.b
    bytes_ = ir.VectorType(I8, LANES)
    ones = splat(I8, 1)
    whole = b.and_(count, I64(-LANES))

    def group(at: Value, seen: tuple[Value, ...]) -> tuple[Value, ...]:
        return (b.and_(seen[0], b.load(f.element(flags, at, I8), align=1, typ=bytes_)),)

    (many,) = f.loop(whole, group, (ones,), LANES)
    f.fail_if(b.icmp_signed("!=", b.bitcast(many, ir.IntType(8 * LANES)), b.bitcast(ones, ir.IntType(8 * LANES))))
    (rest,) = f.loop(count, lambda at, seen: (b.and_(seen[0], f.load(flags, at, I8)),), (I8(1),), begin=whole)
    f.fail_if(b.icmp_signed("==", rest, I8(0)))


# vectors


def _finish(f: Operation) -> None:
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


def _elementwise(combine: Callable[[Any, Value, Value], Value]) -> Callable[[Operation], None]:
    def build(f: Operation) -> None:
        a, other, result = f.vector("a"), f.vector("b"), f.vector("dst")
        f.groups(f["length"], lambda g, _: g.store(result, f.round(combine(f.b, g.load(a), g.load(other)))))
        f.end()

    return build


def _scale(f: Operation) -> None:
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


def _norm(layernorm: bool) -> Callable[[Operation], None]:
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


def _softmax(f: Operation) -> None:
    b = f.b
    a, result, length = f.vector("a"), f.vector("dst"), f.extent("length", "length_reg")
    first = f.register("first_reg")
    f.fail_if(b.icmp_signed(">=", first, length))
    hidden = f.spread(b.trunc(first, I32), INTS)
    scale = f.spread(f.number("scale"))
    slope, sink = f.spread(_optional(f, "slope", 0.0)), f.spread(_optional(f, "sink", float("-inf")))
    biased = f.given("slope")
    coarse = f.given("coarse")
    least = splat(F32, float("-inf"))

    def scaled(g: Group, highest: tuple[Value, ...]) -> tuple[Value, ...]:
        value = b.fmul(g.load(a), scale)
        bias = b.fmul(slope, b.sitofp(g.positions(), FLOATS))
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


# memory and link


def _embed(f: Operation) -> None:
    b = f.b
    stored: Any = {FLOAT16: F16 if f.native_half else I16, BFLOAT16: I16}.get(f.dtype, F32)
    size = f.dtype.itemsize
    index, length = f.register("index"), f["length"]
    f.fail_if(b.icmp_unsigned(">=", index, f["rows"]))
    width = b.sdiv(b.add(length, I64(CHANNELS - 1)), I64(CHANNELS))
    begin = b.add(f["offset"], b.mul(b.mul(index, width), I64(size)))
    channels = f.element(f.address("channels"), b.mul(f.device, I64(CHANNELS)), I64)
    result = f.vector("dst")

    def element(at: Value, _: object) -> None:
        base = f.load(channels, b.and_(at, I64(CHANNELS - 1)), I64)
        offset = b.add(begin, b.mul(b.lshr(at, I64(CHANNELS.bit_length() - 1)), I64(size)))
        raw = b.load(b.inttoptr(b.add(base, offset), PTR), align=size, typ=stored)
        b.store(_widened(f, raw), f.element(result, at))

    f.loop(length, element)
    f.end()


def _widened(f: Operation, raw: Value) -> Value:
    """One stored element as a float."""
    b = f.b
    if f.dtype == BFLOAT16:
        return b.bitcast(b.shl(b.zext(raw, I32), I32(16)), F32)
    if f.dtype != FLOAT16:
        return raw
    if f.native_half:
        return b.fpext(raw, F32)
    bits = b.zext(raw, I32)
    size = b.shl(b.and_(bits, I32(0x7FFF)), I32(13))
    small = b.bitcast(b.fmul(b.bitcast(size, F32), F32(2.0**112)), I32)
    large = b.icmp_unsigned(">=", size, I32(0x7C00 << 13))
    magnitude = b.select(large, b.or_(size, I32(0x7F800000)), small)
    return b.bitcast(b.or_(magnitude, b.shl(b.and_(bits, I32(0x8000)), I32(16))), F32)


def _keep_key(f: Operation) -> None:
    b = f.b
    at = f.register("at")
    channel, slot = b.srem(at, I64(CHANNELS)), b.sdiv(at, I64(CHANNELS))
    offset = b.add(b.mul(channel, f["channel_step"]), b.mul(slot, f["slot_step"]))
    base = f.at(_cache(f), offset)
    source, size = f.vector("src"), f["head_dim"]

    def head(index: Value, _: object) -> None:
        here, there = f.element(source, b.mul(index, size)), f.at(base, b.mul(index, f["head_step"]))
        f.groups(size, lambda g, _: g.store(there, g.load(here)))

    f.loop(f["heads"], head)
    _mark_written(f, at)


def _keep_value(f: Operation) -> None:
    b = f.b
    at = f.register("at")
    base = f.element(_cache(f), at)
    source, size = f.vector("src"), f["head_dim"]

    def head(index: Value, _: object) -> None:
        here, there = f.element(source, b.mul(index, size)), f.at(base, b.mul(index, f["head_step"]))

        def element(row: Value, _: object) -> None:
            channel, slot = b.srem(row, I64(CHANNELS)), b.sdiv(row, I64(CHANNELS))
            offset = b.add(b.mul(channel, f["channel_step"]), b.mul(slot, f["slot_step"]))
            b.store(f.load(here, row, F32), f.at(there, offset))

        f.loop(size, element)

    f.loop(f["heads"], head)
    _mark_written(f, at)


def _cache(f: Operation) -> Value:
    return f.at(f.address("base"), f.b.mul(f.device, f["base_device"]))


def _mark_written(f: Operation, at: Value) -> None:
    """Device 0 does it for all: the flags are shared."""
    flags = f.element(f.address("written"), at, I8)
    with f.when(f.b.icmp_signed("==", f.device, I64(0))):
        f.loop(f["heads"], lambda index, _: f.b.store(I8(1), f.at(flags, f.b.mul(index, f["written_step"]))) and None)
    f.end()


def _gather(f: Operation) -> None:
    b = f.b
    length = f["length"]
    lane = f.at(f.address("src"), b.mul(f.lane, f["src_lane"]))
    result = f.vector("dst")

    def source(index: Value, _: object) -> None:
        here = f.at(lane, b.mul(index, f["src_device"]))
        there = f.element(result, b.mul(index, length))
        f.groups(length, lambda g, _: g.store(there, g.load(here)))

    f.loop(f["sources"], source)
    f.end()


BUILDERS: dict[str, Callable[[Operation], None]] = {
    "product": _product,
    "cached": _cached,
    "finish": _finish,
    "add": _elementwise(lambda b, x, y: b.fadd(x, y)),
    "multiply": _elementwise(lambda b, x, y: b.fmul(x, y)),
    "scale": _scale,
    "layernorm": _norm(layernorm=True),
    "rmsnorm": _norm(layernorm=False),
    "softmax": _softmax,
    "embed": _embed,
    "keep_key": _keep_key,
    "keep_value": _keep_value,
    "gather": _gather,
}
"""Operation -> what writes its function; a test compares it with `tape.OPS`."""


def add_operations(module: Any, dtype: DType, native_half: bool) -> None:
    """Add a function per operation, for builds of `dtype`."""
    for name in OPS:
        BUILDERS[name](Operation(module, name, dtype, native_half))
