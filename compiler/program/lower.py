"""Lowering: each graph node becomes the instructions of the units that execute it.

One program for all devices. Values are either full (every device has all of
it) or split (each device has its share); a node that needs a full value
makes it so once, by transmit and receive.
"""

from __future__ import annotations

from collections.abc import Callable

from compiler.graph.ir import Graph, Node
from compiler.isa.host import Word
from compiler.mapping.plan import Mapping
from compiler.mapping.regions import table_region_name
from compiler.memory_map import Region
from compiler.program import rules_attention, rules_dense, rules_experts
from compiler.program.emitter import Emitter, Located
from compiler.program.virtual import Label, Register, Slot, VirtualProgram

Rule = Callable[[Emitter, Node], None]

_NEVER = -1 << 30
"""Less than minus any position."""


def lower(graph: Graph, mapping: Mapping) -> VirtualProgram:
    """The program of a mapped graph, from prologue to `hlt`."""
    e = Emitter(graph, mapping)
    last_write = max(index for index, node in enumerate(graph.nodes) if node.op.startswith("write_"))
    prologue(e)
    for index, node in enumerate(graph.nodes):
        e.node = index
        RULES[node.op](e, node)
        if index == last_write:  # nothing behind it changes what later tokens see
            e.node = -1
            e.emit("blt", a=Register.POSITION, b=Register.LAST_PROMPT, target=Label("next"))
    e.node = -1
    epilogue(e)
    return e.finish()


def prologue(e: Emitter) -> None:
    e.label("start")
    for register, word in ((Register.LAST_PROMPT, Word.LAST_PROMPT), (Register.LAST_OUTPUT, Word.LAST_OUTPUT)):
        e.emit("rd.host", "host", dst=register, io=4 * word)
    begin(e)
    e.emit("li", dst=Register.OUTPUT, value=0)
    for longest, limit in e.limits.items():
        e.emit("li", dst=limit, value=longest)
    if e.made:
        e.emit("li", dst=e.made, value=_NEVER)
    e.label("loop")
    e.emit("blt", a=Register.LAST_PROMPT, b=Register.POSITION, target=Label("step"))
    if e.made:
        e.emit("bge", a=e.made, b=Register.ZERO, target=Label("again"))
    e.emit("rd.host", "host", dst=Register.TOKEN, io=e.host.input, index=Register.POSITION)
    if e.made:
        e.emit("jmp", target=Label("step"))
        e.label("again")
        e.emit("rd.host", "host", dst=Register.TOKEN, io=e.host.output, index=e.made)
    e.label("step")


def epilogue(e: Emitter) -> None:
    e.emit("wr.host", "host", src=Register.TOKEN, io=e.host.output, index=Register.OUTPUT)
    e.emit("addi", dst=Register.OUTPUT, a=Register.OUTPUT, value=1)
    e.emit("bne", a=Register.STOP, b=Register.ZERO, target=Label("done"))
    e.emit("bge", a=Register.POSITION, b=Register.LAST_OUTPUT, target=Label("done"))
    e.label("next")
    e.emit("addi", dst=Register.POSITION, a=Register.POSITION, value=1)
    e.emit("addi", dst=Register.LENGTH, a=Register.LENGTH, value=1)
    for first in e.windows.values():
        e.emit("addi", dst=first, a=first, value=1)
    if e.made:
        e.emit("addi", dst=e.made, a=e.made, value=1)
    for longest, limit in e.reread.items():
        reread(e, longest, limit)
    e.emit("jmp", target=Label("loop"))
    e.label("done")
    e.emit("wr.host", "host", src=Register.OUTPUT, io=4 * Word.FINISHED)
    e.emit("hlt")


def reread(e: Emitter, longest: int, limit: int) -> None:
    """A text of more than `longest` tokens, of which some are new, is a prompt from now on, and begins anew.

    Its first new token is token `longest` + 1 - OUTPUT, so that is where the prompt ends and the outputs begin.
    """
    e.emit("bne", a=Register.POSITION, b=limit, target=Label(f"on.{longest}"))
    e.emit("bge", a=Register.LAST_PROMPT, b=limit, target=Label(f"on.{longest}"))
    e.emit("add", dst=Register.LAST_PROMPT, a=limit, b=Register.ZERO)
    e.emit("addi", dst=e.made, a=Register.OUTPUT, value=-longest - 1)
    begin(e)
    e.label(f"on.{longest}")


def begin(e: Emitter) -> None:
    """The registers of the first token."""
    e.emit("li", dst=Register.POSITION, value=0)
    e.emit("li", dst=Register.LENGTH, value=1)
    for window, first in e.windows.items():
        e.emit("li", dst=first, value=1 - window)


def rotary(e: Emitter, node: Node) -> None:
    """The row of this position; a long prompt has the row of its own table behind it."""
    region = e.regions[table_region_name(node.parameter("table"))]
    result = e.define(node.outputs[0], region.cols, False)
    read_row(e, region, result, Register.POSITION)
    if node.parameter("long") and e.max_length > node.integer("longest"):
        behind = f"rotary.{len(e.labels)}"
        e.emit("blt", a=Register.LAST_PROMPT, b=e.limits[node.integer("longest")], target=Label(behind))
        read_row(e, e.regions[table_region_name(node.parameter("long"))], result, Register.POSITION)
        e.label(behind)


def embed(e: Emitter, node: Node) -> None:
    region = e.regions[table_region_name(node.parameter("table"))]
    index = _INDEX[node.text("index")]
    read_row(e, region, e.define(node.outputs[0], region.cols, node.op != "number"), index)


_INDEX = {"token": Register.TOKEN, "position": Register.POSITION, "none": Register.ZERO, "": Register.ZERO}


def read_row(e: Emitter, region: Region, result: Located, index: Register) -> None:
    e.emit(
        "rd.embed",
        region.name,
        dst=Slot(result.buffer),
        hbm=region.begin,
        index=index,
        length=region.cols,
        rows=region.rows,
    )


def sample(e: Emitter, node: Node) -> None:
    logits = e.full(node.inputs[0])
    e.emit(
        "sample",
        token=Register.TOKEN,
        stop=Register.STOP,
        src=Slot(logits.buffer),
        length=e.graph.vocab_size,
    )


RULES: dict[str, Rule] = {
    "embed": embed,
    "rotary": rotary,
    "by_head": embed,
    "number": embed,
    "linear": rules_dense.linear,
    "bias": rules_dense.bias,
    "act": rules_dense.act,
    "add": rules_dense.binary,
    "mul": rules_dense.binary,
    "norm": rules_dense.norm,
    "add_norm": rules_dense.norm,
    "rope": rules_dense.rope,
    "write_key": rules_attention.write_cache,
    "write_value": rules_attention.write_cache,
    "scores": rules_attention.deferred,
    "scale": rules_attention.scale,
    "softmax": rules_attention.softmax,
    "attend": rules_attention.attend,
    "rank": rules_experts.rank,
    "expert": rules_experts.expert,
    "weigh": rules_experts.weigh,
    "sample": sample,
}
"""One rule per op of the table; a test compares both."""
