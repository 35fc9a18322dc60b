"""Rules for mixtures of experts: the ranked experts' numbers in registers, their matrices by register."""

from __future__ import annotations

from compiler.errors import UnsupportedModelError
from compiler.graph.ir import Node
from compiler.isa.spec import REGISTER_COUNT
from compiler.program.emitter import Emitter
from compiler.program.virtual import Slot, Virtual


def rank(e: Emitter, node: Node) -> None:
    source, count = e.full(node.inputs[0]), e.graph.shapes[node.outputs[0]].size
    result = e.define(node.outputs[0], count, False)
    first = e.free_register
    if first + count > REGISTER_COUNT:
        raise UnsupportedModelError(f"{count} experts per token, there are registers for {REGISTER_COUNT - first}")
    for place in range(count):
        e.emit(
            "rank",
            index=first + place,
            dst=Slot(result.buffer, place),
            src=Slot(source.buffer),
            length=source.elements,
            place=place,
            count=1,
        )


def expert(e: Emitter, node: Node) -> None:
    source = e.full(node.inputs[0])
    region = e.regions[node.parameter("expert.0")]
    result = e.define(node.outputs[0], region.rows, True)
    operands: dict[str, Virtual] = {"stream": chosen_stream(e, node, "expert")}
    if node.parameter("bias.0"):
        operands["bias"] = chosen_stream(e, node, "bias")
    e.emit(
        "mm",
        region.name,
        dst=Slot(result.buffer),
        src=Slot(source.buffer),
        rows=region.rows,
        cols=region.cols,
        **operands,
    )


def chosen_stream(e: Emitter, node: Node, role: str) -> int:
    """Open the stream of the chosen expert's matrix or bias; they lie behind one another."""
    region = e.regions[node.parameter(f"{role}.0")]
    if not node.parameter(f"{role}.1"):
        return e.parameter(region.name)
    return e.parameter(region.name, index=e.free_register + node.integer("place"), step=region.end - region.begin)


def weigh(e: Emitter, node: Node) -> None:
    source, weights = e.located[node.inputs[0]], e.full(node.inputs[1])
    result = e.define(node.outputs[0], source.elements, source.split)
    e.emit(
        "vscale",
        dst=Slot(result.buffer),
        a=Slot(source.buffer),
        length=source.elements,
        scale=1.0,
        by=Slot(weights.buffer, node.integer("place")),
        factors=1,
    )
