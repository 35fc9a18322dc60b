"""Operations of the tape that move values: embeddings, tokens of a cache, slices between devices.

Imported only where llvmlite is.
"""

from __future__ import annotations

from compiler.emulator.ir_builder import F32, I8, I64, PTR, Value, stored_kind
from compiler.emulator.operation_ir import Operation
from compiler.memory_map import CHANNELS


def embed(f: Operation) -> None:
    b = f.b
    stored = stored_kind(f.dtype, f.native_half)
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
        b.store(f.widened(raw, f.dtype, f.native_half), f.element(result, at))

    f.loop(length, element)
    f.end()


def keep_key(f: Operation) -> None:
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
    with f.when(b.icmp_signed("==", f.device, I64(0))):
        _mark_written(f, at)
    f.end()


def keep_value(f: Operation) -> None:
    b = f.b
    channel = b.srem(f.unit, I64(CHANNELS))
    base = f.at(_cache(f), b.mul(channel, f["channel_step"]))
    size = f["head_dim"]

    def lane(index: Value, _: object) -> None:
        f.lane = index
        at = f.register("at")
        source, mine = f.vector("src"), f.element(base, at)

        def head(index: Value, _: object) -> None:
            here, there = f.element(source, b.mul(index, size)), f.at(mine, b.mul(index, f["head_step"]))

            def element(row: Value, _: object) -> None:
                slot = b.sdiv(row, I64(CHANNELS))
                b.store(f.load(here, row, F32), f.at(there, b.mul(slot, f["slot_step"])))

            f.loop(size, element, step=CHANNELS, begin=channel)

        f.loop(f["heads"], head)
        with f.when(b.icmp_signed("==", f.unit, I64(0))):
            _mark_written(f, at)

    f.loop(f["lanes"], lane)
    f.end()


def _cache(f: Operation) -> Value:
    return f.at(f.address("base"), f.b.mul(f.device, f["base_device"]))


def _mark_written(f: Operation, at: Value) -> None:
    """For all devices: the flags are shared."""
    flags = f.element(f.address("written"), at, I8)
    f.loop(f["heads"], lambda index, _: f.b.store(I8(1), f.at(flags, f.b.mul(index, f["written_step"]))) and None)


def gather(f: Operation) -> None:
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
