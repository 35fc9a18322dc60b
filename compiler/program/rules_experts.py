"""Rules for mixtures of experts: the ranked experts' numbers in registers, their matrices by register."""

from __future__ import annotations

from compiler.errors import UnsupportedModelError
from compiler.graph.ir import Node
from compiler.isa.spec import REGISTER_COUNT
from compiler.program.emitter import Emitter, Part
from compiler.program.rules_dense import elementwise
from compiler.program.virtual import Slot, Virtual


def rank(e: Emitter, node: Node) -> None:
    source, count = e.full(node.inputs[0]), e.graph.shapes[node.outputs[0]].size
    result = e.define(node.outputs[0], count, False)
    other: dict[str, Virtual] = {}
    if len(node.inputs) == 2:
        other = {"of": Slot(e.full(node.inputs[1]).buffer), "taken": 1}
    first = e.free_register
    if first + count > REGISTER_COUNT:
        raise UnsupportedModelError(f"{count} experts per token, there are registers for {REGISTER_COUNT - first}")
    for place in range(count):
        e.emit(
            "rank",
            "",
            index=first + place,
            dst=Slot(result.buffer, place),
            src=Slot(source.buffer),
            length=source.elements,
            place=place,
            count=1,
            **other,
        )


def expert(e: Emitter, node: Node) -> None:
    source, name = e.full(node.inputs[0]), node.outputs[0]
    cols = e.regions[node.parameter("expert.0")].cols
    result = e.define(name, e.partition.local_size(e.graph.shapes[name]), True)
    for part in e.parts(name):
        operands: dict[str, Virtual] = {"dst": Slot(result.buffer, part.offset), "src": Slot(source.buffer)}
        operands |= {"rows": part.elements, "cols": cols, "stream": chosen_stream(e, node, "expert", part)}
        if node.parameter("bias.0"):
            operands["bias"] = chosen_stream(e, node, "bias", part)
        operands["act"] = e.table(node.text("act"))
        e.emit("mm", node.parameter("expert.0"), **operands)
        e.share(name, part)


def chosen_stream(e: Emitter, node: Node, role: str, part: Part) -> int:
    """Open the stream of a chunk of the chosen expert's matrix or bias; they lie behind one another."""
    region, shape = e.regions[node.parameter(f"{role}.0")], e.graph.shapes[node.outputs[0]]
    if not node.parameter(f"{role}.1"):
        return e.parameter(region.name, part, shape)
    chosen = {"index": e.free_register + node.integer("place"), "step": region.end - region.begin}
    return e.parameter(region.name, part, shape, **chosen)


def weigh(e: Emitter, node: Node) -> None:
    weights = e.full(node.inputs[1])
    elementwise(e, node, "vscale", scale=1.0, by=Slot(weights.buffer, node.integer("place")), factors=1)
