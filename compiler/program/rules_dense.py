"""Rules for vectors: matrices, biases, activations, norms, rotations."""

from __future__ import annotations

from compiler.graph.ir import Node, Spread
from compiler.program.emitter import Emitter, Located, Part
from compiler.program.virtual import Buffer, Slot, Virtual


def rotation(e: Emitter, node: Node) -> dict[str, Virtual]:
    return {
        "head_dim": e.graph.heads.head_dim,
        "rotary_dim": node.integer("rotary_dim"),
        "style": node.integer("style"),
    }


def linear(e: Emitter, node: Node) -> None:
    source = e.full(node.inputs[0])
    name, shape = node.outputs[0], e.graph.shapes[node.outputs[0]]
    weight, bias = node.parameter("weight"), node.parameter("bias")
    to_cache = [reader.op for reader in e.readers.get(name, [])] in (["write_key"], ["write_value"])
    elements = e.partition.local_size(shape)
    result = Buffer(-1, name, 0) if to_cache else e.define(name, elements, True).buffer
    for part in [Part(None, 0, elements)] if to_cache else e.parts(name):
        operands: dict[str, Virtual] = {"src": Slot(source.buffer), "rows": part.elements}
        operands |= {"cols": e.regions[weight].cols, "stream": e.parameter(weight, part, shape)}
        if bias:
            operands["bias"] = e.parameter(bias, part, shape)
        operands["act"] = e.table(node.text("act"))
        if node.integer("rotary_dim"):
            operands["rope"] = Slot(e.full(node.inputs[1]).buffer)
            operands |= rotation(e, node)
        if to_cache:
            stream = e.open_stream(reserve=True)
            e.located[name] = Located(result, elements, True, stream)
            operands["out"] = stream
        else:
            operands["dst"] = Slot(result, part.offset)
        e.emit("mm", weight, **operands)
        e.share(name, part)


def bias(e: Emitter, node: Node) -> None:
    source, name = e.located[node.inputs[0]], node.outputs[0]
    result = e.define(name, source.elements, source.split)
    for part in e.parts(name):
        stream = e.parameter(node.parameter("bias"), part, e.graph.shapes[name])
        dst, a = Slot(result.buffer, part.offset), Slot(source.buffer, part.offset)
        e.emit("vbias", dst=dst, a=a, bias=stream, length=part.elements)
        e.share(name, part)


def act(e: Emitter, node: Node) -> None:
    elementwise(e, node, "vact", act=e.table(node.text("act")))


def elementwise(e: Emitter, node: Node, mnemonic: str, **operands: Virtual) -> None:
    """One input and one output, where they are, chunk by chunk."""
    source, name = e.located[node.inputs[0]], node.outputs[0]
    result = e.define(name, source.elements, source.split)
    for part in e.parts(name):
        dst, a = Slot(result.buffer, part.offset), Slot(source.buffer, part.offset)
        e.emit(mnemonic, "", dst=dst, a=a, length=part.elements, **operands)
        e.share(name, part)


def binary(e: Emitter, node: Node) -> None:
    values = [e.located[name] for name in node.inputs]
    split = all(value.split for value in values)
    if not split:
        values = [e.full(name) for name in node.inputs]
    name = node.outputs[0]
    result = e.define(name, values[0].elements, split)
    for part in e.parts(name):
        dst, a, b = (Slot(value.buffer, part.offset) for value in (result, *values))
        e.emit("vadd" if node.op == "add" else "vmul", dst=dst, a=a, b=b, length=part.elements)
        e.share(name, part)


def norm(e: Emitter, node: Node) -> None:
    over = node.text("over")
    values = [e.located[name] if over else e.full(name) for name in node.inputs]
    length = values[0].elements
    operands: dict[str, Virtual] = {"a": Slot(values[0].buffer), "length": length, "eps": node.number("eps")}
    if node.number("offset"):
        operands["offset"] = node.number("offset")
    if over == "head":
        operands["heads"] = length // e.graph.shapes[node.inputs[0]].width
    elif over == "heads":
        whole = all_heads(e, node.inputs[0])
        operands |= {"of": Slot(whole.buffer), "of_length": whole.elements}
    for role in ("weight", "bias"):
        if node.parameter(role):
            operands[role] = e.parameter(node.parameter(role))
    mnemonic = node.text("kind")
    if node.op == "add_norm":
        mnemonic = f"add.{mnemonic}"
        operands["b"] = Slot(values[1].buffer)
        operands["sum"] = Slot(e.define(node.outputs[1], length, False).buffer)
    operands["dst"] = Slot(e.define(node.outputs[0], length, bool(over)).buffer)
    e.emit(mnemonic, "", **operands)


def all_heads(e: Emitter, name: str) -> Located:
    """Every head of the model once and in order, on every device; copies of a key head are left out."""
    shape, copies = e.graph.shapes[name], e.partition.copies
    whole = e.full(name)
    if shape.spread is not Spread.CACHE or copies == 1:
        return whole
    chosen = e.buffer(f"{name} (each head once)", shape.size)
    for head in range(shape.heads):
        source = Slot(whole.buffer, head * copies * shape.width)
        target = Slot(chosen, head * shape.width)
        e.emit("vscale", dst=target, a=source, length=shape.width, scale=1.0)
    return Located(chosen, shape.size, False)


def rope(e: Emitter, node: Node) -> None:
    source, rotary = e.located[node.inputs[0]], e.full(node.inputs[1])
    result = e.define(node.outputs[0], source.elements, source.split)
    e.emit(
        "vrope",
        "",
        dst=Slot(result.buffer),
        a=Slot(source.buffer),
        rope=Slot(rotary.buffer),
        length=source.elements,
        **rotation(e, node),
    )
