"""Rules for attention: cache writes, and scores, softmax and weighted sum head by head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.graph.ir import Node, Spread
from compiler.isa.spec import TOKEN_UNIT
from compiler.mapping.regions import cache_region_name
from compiler.memory_map import Region
from compiler.program.emitter import Emitter
from compiler.program.rules_dense import elementwise
from compiler.program.virtual import Buffer, Register, Slot, Virtual


def write_cache(e: Emitter, node: Node) -> None:
    kind = node.op.removeprefix("write_")
    region = e.regions[cache_region_name(kind, node.integer("layer"))]
    value = e.located[node.inputs[0]]
    e.pending.discard(value.stream)
    e.emit(
        f"wr.{kind}",
        region.name,
        stream=value.stream,
        src=0 if value.stream else Slot(value.buffer),
        hbm=region.begin,
        at=Register.POSITION,
        heads=region.heads,
        head_dim=e.graph.heads.head_dim,
        stride=region.stride,
        head_stride=region.head_bytes,
    )


def deferred(e: Emitter, node: Node) -> None:
    """Lowered with the attend node at the end of its chain, head by head."""


def scale(e: Emitter, node: Node) -> None:
    if e.graph.shapes[node.inputs[0]].spread is Spread.SCORES:
        return  # with the attend node at the end of its chain
    factor = node.number("scale")
    if node.integer("rounded"):
        import numpy as np

        from compiler.rounding import round_to

        factor = float(round_to(np.full(1, factor, np.float32), e.dtype)[0])
    elementwise(e, node, "vscale", scale=factor)


def softmax(e: Emitter, node: Node) -> None:
    if e.graph.shapes[node.inputs[0]].spread is Spread.SCORES:
        return  # with the attend node at the end of its chain
    source = e.full(node.inputs[0])
    result = e.define(node.outputs[0], source.elements, False)
    scale = node.number("scale")
    e.emit("softmax", dst=Slot(result.buffer), a=Slot(source.buffer), length=source.elements, scale=scale)


@dataclass(frozen=True, slots=True)
class Seen:
    """The tokens that attention reads from the caches.

    Attributes:
        most: of them.
        last: 1 for the last ones of a text that has more, 0 for all.
    """

    most: int
    last: int

    @staticmethod
    def of(e: Emitter, chain: Sequence[Node]) -> Seen:
        """All tokens; with a window those in it, and as many before it as a stream must begin earlier."""
        window = max(node.integer("window") for node in chain)
        most = window + TOKEN_UNIT - 1
        return Seen(most, 1) if window and most < e.max_length else Seen(e.max_length, 0)


def attend(e: Emitter, node: Node) -> None:
    chain = [node]
    while e.graph.shapes[chain[0].inputs[0]].spread is Spread.SCORES:
        chain.insert(0, e.writers[chain[0].inputs[0]])
    query = e.located[chain[0].inputs[0]]
    width = e.graph.heads.head_dim
    name = node.outputs[0]
    result = e.define(name, e.partition.local_query_heads * width, True)
    chunk_at = {part.offset + part.elements: part for part in e.chunks(name)}
    keys = e.regions[cache_region_name("key", node.integer("layer"))]
    values = e.regions[cache_region_name("value", node.integer("layer"))]
    seen = Seen.of(e, chain)
    for head in range(e.partition.local_query_heads):
        slot = head // e.partition.group
        current = query.buffer
        offset = head * width
        for link in chain:
            e.node = e.position[id(link)]
            if link.op == "scores":
                current, offset = scores(e, link, keys, slot, seen, Slot(current, offset), head), 0
            elif link.op == "attend":
                weighted(e, values, slot, seen, current, Slot(result.buffer, head * width))
            else:
                current = vector_of_tokens(e, link, seen, current, head)
        if (head + 1) * width in chunk_at:
            e.share(name, chunk_at[(head + 1) * width])


def scores(e: Emitter, node: Node, region: Region, slot: int, seen: Seen, query: Slot, head: int) -> Buffer:
    shape: dict[str, Virtual] = {"rows": seen.most, "cols": region.cols, "rows_reg": Register.LENGTH, "last": seen.last}
    stream = cache_stream(e, region, slot, shape)
    result = e.buffer(f"{node.outputs[0]} head {head}", seen.most)
    e.emit("mm", region.name, dst=Slot(result), src=query, stream=stream, **shape, act=e.table(node.text("act")))
    return result


def vector_of_tokens(e: Emitter, node: Node, seen: Seen, source: Buffer, head: int) -> Buffer:
    result = e.buffer(f"{node.outputs[0]} head {head}", seen.most)
    operands: dict[str, Virtual] = {"scale": node.number("scale"), "length_reg": Register.LENGTH, "last": seen.last}
    if node.integer("window") in e.windows:
        operands["first_reg"] = e.windows[node.integer("window")]
    if len(node.inputs) == 2:
        operands |= {"extra": Slot(e.located[node.inputs[1]].buffer, head), "extras": 1}
        operands |= {"coarse": node.integer("coarse"), "sink": node.integer("sink")}
    mnemonic = "vscale" if node.op == "scale" else "softmax"
    e.emit(mnemonic, "", dst=Slot(result), a=Slot(source), length=seen.most, **operands)
    return result


def weighted(e: Emitter, region: Region, slot: int, seen: Seen, weights: Buffer, dst: Slot) -> None:
    shape: dict[str, Virtual] = {"rows": region.rows, "cols": seen.most, "cols_reg": Register.LENGTH, "last": seen.last}
    stream = cache_stream(e, region, slot, shape)
    e.emit("mm", region.name, dst=dst, src=Slot(weights), stream=stream, **shape)


def cache_stream(e: Emitter, region: Region, slot: int, shape: dict[str, Virtual]) -> int:
    stream = e.open_stream()
    begin = region.begin + slot * region.head_bytes
    e.emit("rd.kv", region.name, stream=stream, hbm=begin, **shape, stride=region.stride)
    return stream
