"""Rules for attention: cache writes, and scores, softmax and weighted sum head by head."""

from __future__ import annotations

from compiler.graph.ir import Node, Spread
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
    for head in range(e.partition.local_query_heads):
        slot = head // e.partition.group
        current = query.buffer
        offset = head * width
        for link in chain:
            e.node = e.position[id(link)]
            if link.op == "scores":
                current, offset = scores(e, link, keys, slot, Slot(current, offset), head), 0
            elif link.op == "attend":
                weighted(e, values, slot, current, Slot(result.buffer, head * width))
            else:
                current = vector_of_tokens(e, link, current, head)
        if (head + 1) * width in chunk_at:
            e.share(name, chunk_at[(head + 1) * width])


def scores(e: Emitter, node: Node, region: Region, slot: int, query: Slot, head: int) -> Buffer:
    stream = cache_stream(e, region, slot, rows_reg=Register.LENGTH)
    result = e.buffer(f"{node.outputs[0]} head {head}", e.max_length)
    e.emit(
        "mm",
        region.name,
        dst=Slot(result),
        src=query,
        stream=stream,
        rows=region.rows,
        cols=region.cols,
        rows_reg=Register.LENGTH,
        act=e.table(node.text("act")),
    )
    return result


def vector_of_tokens(e: Emitter, node: Node, source: Buffer, head: int) -> Buffer:
    result = e.buffer(f"{node.outputs[0]} head {head}", e.max_length)
    operands: dict[str, Virtual] = {"scale": node.number("scale"), "length_reg": Register.LENGTH}
    if node.integer("window") in e.windows:
        operands["first_reg"] = e.windows[node.integer("window")]
    if len(node.inputs) == 2:
        operands |= {"extra": Slot(e.located[node.inputs[1]].buffer, head), "extras": 1}
        operands |= {"coarse": node.integer("coarse"), "sink": node.integer("sink")}
    mnemonic = "vscale" if node.op == "scale" else "softmax"
    e.emit(mnemonic, "", dst=Slot(result), a=Slot(source), length=e.max_length, **operands)
    return result


def weighted(e: Emitter, region: Region, slot: int, weights: Buffer, dst: Slot) -> None:
    stream = cache_stream(e, region, slot, cols_reg=Register.LENGTH)
    e.emit(
        "mm",
        region.name,
        dst=dst,
        src=Slot(weights),
        stream=stream,
        rows=region.rows,
        cols=region.cols,
        cols_reg=Register.LENGTH,
    )


def cache_stream(e: Emitter, region: Region, slot: int, **registers: Virtual) -> int:
    stream = e.open_stream()
    e.emit(
        "rd.kv",
        region.name,
        stream=stream,
        hbm=region.begin + slot * region.head_bytes,
        rows=region.rows,
        cols=region.cols,
        stride=region.stride,
        **registers,
    )
    return stream
