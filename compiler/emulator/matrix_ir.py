"""Operations of the tape on matrices: parameters and caches times vectors, over the channels.

Imported only where llvmlite is.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from compiler.dtypes import FLOAT32, DType
from compiler.emulator.arithmetic import LANES
from compiler.emulator.ir_builder import CACHE_LINE, F32, I1, I8, I64, PTR, Group, Value, splat
from compiler.emulator.operation_ir import Operation
from compiler.emulator.task import TASK_FIELDS, function_name
from compiler.isa.spec import TOKEN_UNIT
from compiler.memory_map import CHANNELS

AHEAD_ROWS, AHEAD_LINES = 4, 4
"""Of each channel; behind them the processor sees where it goes."""

_BEYOND = 1 << 60
"""A token that no cache has."""


def product(f: Operation) -> None:
    b = f.b
    channel = b.srem(f.unit, I64(CHANNELS))
    rows = _rows_of(f, f["rows"], channel)
    with f.when(b.icmp_signed(">", rows, I64(0))):
        place = b.add(f["offset"], b.mul(f.register("index"), f["step"]))
        _ask_for(f, b.add(f.load(f.address("channels"), f.following, I64), place), rows)
        here = b.add(f.load(f.address("channels"), f.unit, I64), place)
        target = f.at(f.vector("dst"), b.mul(channel, I64(4)))
        packed = b.ptrtoint(f.vector("packed"), I64), f["packed_lane"]
        inputs = _Inputs(f["cols"], f.vector("src"), f["src_lane"], f["lanes"], f.dtype, packed)
        _multiply(f, _Rows(here, f["row_bytes"], rows, target, CHANNELS), inputs)
    f.end()


def cached(f: Operation) -> None:
    """Lanes that read the same head from the same token on go over it together, as far as the longest one reads."""
    b = f.b
    lanes = f["lanes"]

    def check(lane: Value, seen: tuple[Value, ...]) -> tuple[Value, ...]:
        f.lane = lane
        tokens, first = f.extent("tokens", "tokens_reg"), f.first("tokens", "tokens_reg")
        f.fail_if(b.icmp_signed(">", b.add(first, tokens), f["most"]))
        _check_written(f, f.element(f.address("written"), first, I8), tokens)
        lowest, highest, longest = seen
        return f.least(first, lowest), f.greatest(first, highest), f.greatest(tokens, longest)

    lowest, highest, longest = f.loop(lanes, check, (I64(_BEYOND), I64(0), I64(0)))
    is_shared = b.and_(b.icmp_signed("==", lowest, highest), b.icmp_signed(">", lanes, I64(1)))
    with b.if_else(b.and_(is_shared, f.given("together"))) as (together, alone):
        with together:
            _read_together(f, lanes, longest)
        with alone:
            f.loop(lanes, lambda lane, _: _read_alone(f, lane))
    f.end()


def _read_alone(f: Operation, lane: Value) -> None:
    f.lane = lane
    rows = f.extent("rows", "rows_reg")
    _times_cache(f, rows, f.extent("cols", "cols_reg"), I64(1))
    result = f.vector("dst")
    f.groups(rows, lambda g, _: g.store(result, f.round(g.load(result))))


def _read_together(f: Operation, lanes: Value, longest: Value) -> None:
    """What lies behind a lane's own tokens belongs to no value: there are 0 to multiply with, and products not read.

    0 times what is not finite is no number: a lane with such a result is computed alone.
    """
    b = f.b
    rows = b.select(f.given("rows_reg"), longest, f["rows"])
    cols = b.select(f.given("cols_reg"), longest, f["cols"])

    def fill(lane: Value, _: object) -> None:
        f.lane = lane
        source = f.vector("src")
        f.loop(
            cols, lambda at, _: f.b.store(F32(0), f.element(source, at)) and None, begin=f.extent("cols", "cols_reg")
        )

    f.loop(lanes, fill)
    f.lane = I64(0)
    _times_cache(f, rows, cols, lanes)

    def finish(lane: Value, _: object) -> None:
        f.lane = lane
        result = f.vector("dst")

        def group(g: Group, seen: tuple[Value, ...]) -> tuple[Value, ...]:
            value = g.load(result)
            g.store(result, f.round(value))
            return (b.or_(seen[0], b.fcmp_unordered("uno", value, value)),)

        (odd,) = f.groups(rows, group, (ir.Constant(ir.VectorType(I1, LANES), None),))
        is_odd = b.icmp_signed("!=", b.bitcast(odd, ir.IntType(LANES)), ir.IntType(LANES)(0))
        with f.when(b.and_(f.given("cols_reg"), is_odd)):
            _read_alone(f, lane)

    f.loop(lanes, finish)


def _times_cache(f: Operation, rows: Value, cols: Value, count: Value) -> None:
    """Rows of a head times the vectors of `count` lanes from this one on, not yet rounded.

    Row r is in channel r % CHANNELS. A channel's rows go together where there are many, as they lie behind one another;
    else those of a turn round all channels do, as the kernel takes several rows at a time.
    """
    b = f.b
    first = f.first("tokens", "tokens_reg")
    base = b.add(f["base"], b.mul(f.device, f["base_device"]))
    base = b.add(base, b.mul(b.sdiv(first, I64(TOKEN_UNIT)), f["unit_bytes"]))
    source, result = f.vector("src"), f.vector("dst")
    inputs = _Inputs(cols, source, f["src_lane"], count, FLOAT32)

    def ask(index: Value, _: object) -> None:
        _ask_for(f, b.add(base, b.mul(index, f["channel_step"])), _rows_of(f, rows, index))

    def channel(index: Value, _: object) -> None:
        here = b.add(base, b.mul(index, f["channel_step"]))
        target = f.at(result, b.mul(index, I64(4)))
        _multiply(f, _Rows(here, f["row_bytes"], _rows_of(f, rows, index), target, CHANNELS), inputs)

    def turn(begin: Value, _: object) -> None:
        here = b.add(base, b.mul(b.sdiv(begin, I64(CHANNELS)), f["row_bytes"]))
        count = f.least(b.sub(rows, begin), I64(CHANNELS))
        _multiply(f, _Rows(here, f["channel_step"], count, f.element(result, begin), 1), inputs)

    f.loop(I64(CHANNELS), ask)
    with b.if_else(b.icmp_signed(">", rows, I64(CHANNELS * AHEAD_ROWS))) as (many, few):
        with many:
            f.loop(I64(CHANNELS), channel)
        with few:
            f.loop(rows, turn, step=CHANNELS)


def _ask_for(f: Operation, begin: Value, rows: Value) -> None:
    """Begin to load the first of some rows: channels lie far apart, and each would be waited for."""
    b = f.b
    few = f.least(rows, I64(AHEAD_ROWS))

    def row(index: Value, _: object) -> None:
        address = b.add(begin, b.mul(index, f["row_bytes"]))
        for line in range(AHEAD_LINES):
            f.prefetch(b.inttoptr(b.add(address, I64(line * CACHE_LINE)), PTR))

    f.loop(few, row)


def _rows_of(f: Operation, rows: Value, channel: Value) -> Value:
    """How many of `rows` rows lie in a channel."""
    return f.b.sdiv(f.b.sub(f.b.add(rows, I64(CHANNELS - 1)), channel), I64(CHANNELS))


class _Rows(NamedTuple):
    """Rows of a matrix, and where their products go.

    Attributes:
        matrix: address of the first one.
        row_bytes: between them.
        count: how many.
        result: of the first one and the first vector.
        result_step: elements between the products of neighbouring rows.
    """

    matrix: Value
    row_bytes: Value
    count: Value
    result: Value
    result_step: int


class _Inputs(NamedTuple):
    """Vectors, one to a lane; `packed` is where `pack` left them and the bytes between them."""

    cols: Value
    vectors: Value
    vector_bytes: Value
    count: Value
    dtype: DType
    packed: tuple[Value, Value] = (I64(0), I64(0))


def _multiply(f: Operation, rows: _Rows, inputs: _Inputs) -> None:
    """Run one task of `kernel_ir`; products of neighbouring vectors lie as far apart as lanes of dst."""
    b = f.b
    with b.goto_entry_block():
        task = b.alloca(I64, len(TASK_FIELDS))
    values = {
        "matrix": rows.matrix,
        "row_bytes": rows.row_bytes,
        "rows": rows.count,
        "cols": inputs.cols,
        "vectors": b.ptrtoint(inputs.vectors, I64),
        "vector_step": b.sdiv(inputs.vector_bytes, I64(4)),
        "result": b.ptrtoint(rows.result, I64),
        "result_step": I64(rows.result_step),
        "next": b.sdiv(f["dst_lane"], I64(4)),
        "vector_count": inputs.count,
        "packed": inputs.packed[0],
        "packed_step": inputs.packed[1],
    }
    for at, name in enumerate(TASK_FIELDS):
        b.store(values[name], f.element(task, I64(at), I64))
    b.call(f.intrinsic(function_name(inputs.dtype), ir.VoidType(), (PTR, I64)), (task, I64(1)))


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
