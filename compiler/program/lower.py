"""Lowering: each graph node becomes the instructions of the units that execute it.

One program for all devices. Values are either full (every device has all of
it) or split (each device has its share); a node that needs a full value
makes it so once, by transmit and receive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from compiler.errors import UnsupportedModelError
from compiler.graph.ir import Graph, Node, Spread
from compiler.graph.rewrite import readers
from compiler.isa.host import HostLayout, Word
from compiler.isa.spec import REGISTER_COUNT, STREAM_COUNT
from compiler.mapping.plan import Mapping, cache_region_name, table_region_name
from compiler.memory_map import Region
from compiler.program.virtual import (
    FIRST_FREE_REGISTER,
    Buffer,
    Label,
    Register,
    Slot,
    Virtual,
    VirtualInstruction,
    VirtualProgram,
)
from compiler.rounding import round_to


@dataclass(frozen=True, slots=True)
class Located:
    """Where a value is: a buffer, or a stream to the SMA.

    Attributes:
        elements: on each device, padding included when it is split.
        split: whether each device has only its share.
        stream: set when the value never enters the LMU.
    """

    buffer: Buffer
    elements: int
    split: bool
    stream: int = 0


def lower(graph: Graph, mapping: Mapping) -> VirtualProgram:
    """The program of a mapped graph, from prologue to `hlt`."""
    return _Lowering(graph, mapping).program()


class _Lowering:
    def __init__(self, graph: Graph, mapping: Mapping) -> None:
        self.graph = graph
        self.partition = mapping.partition
        self.max_length = mapping.memory_map.max_length
        self.regions = {region.name: region for region in mapping.memory_map.regions}
        self.host = HostLayout(self.max_length, graph.vocab_size)
        self.readers = readers(graph)
        self.writers = {name: node for node in graph.nodes for name in node.outputs}
        self.position = {id(node): index for index, node in enumerate(graph.nodes)}
        self.instructions: list[VirtualInstruction] = []
        self.labels: dict[str, int] = {}
        self.buffers: list[Buffer] = []
        self.tables: list[str] = []
        self.located: dict[str, Located] = {}
        self.gathered: dict[str, Located] = {}
        self.node = -1
        self.stream = 0
        self.pending: set[int] = set()
        self.tag = 0
        self.dtype = mapping.memory_map.dtype
        self.free_register = FIRST_FREE_REGISTER
        self.windows = self._windows()
        self.limits = self._limits()
        self.rules: dict[str, Callable[[Node], None]] = {
            "embed": self._embed,
            "rotary": self._rotary,
            "slopes": self._embed,
            "linear": self._linear,
            "bias": self._bias,
            "act": self._act,
            "add": self._binary,
            "mul": self._binary,
            "norm": self._norm,
            "add_norm": self._norm,
            "rope": self._rope,
            "write_key": self._write_cache,
            "write_value": self._write_cache,
            "scores": self._deferred,
            "scale": self._scale,
            "softmax": self._softmax,
            "rank": self._rank,
            "expert": self._expert,
            "weigh": self._weigh,
            "attend": self._attend,
            "sample": self._sample,
        }

    def program(self) -> VirtualProgram:
        last_write = max(index for index, node in enumerate(self.graph.nodes) if node.op.startswith("write_"))
        self._prologue()
        for index, node in enumerate(self.graph.nodes):
            self.node = index
            self.rules[node.op](node)
            if index == last_write:  # nothing behind it changes what later tokens see
                self.node = -1
                self.emit("blt", a=Register.POSITION, b=Register.LAST_PROMPT, target=Label("next"))
        self.node = -1
        self._epilogue()
        return VirtualProgram(tuple(self.instructions), dict(self.labels), tuple(self.buffers), tuple(self.tables))

    def emit(self, mnemonic: str, region: str = "", **operands: Virtual) -> None:
        """Append one instruction; zero operands are left out."""
        given = tuple((name, value) for name, value in operands.items() if value != 0 or isinstance(value, float))
        self.instructions.append(VirtualInstruction(mnemonic, given, self.node, region))

    def label(self, name: str) -> None:
        """Name the next instruction."""
        self.labels[name] = len(self.instructions)

    def buffer(self, name: str, elements: int) -> Buffer:
        """A new value in the LMU."""
        made = Buffer(len(self.buffers), name, elements)
        self.buffers.append(made)
        return made

    def open_stream(self, reserve: bool = False) -> int:
        """The next stream that is not waiting for its reader."""
        while True:
            self.stream = self.stream % (STREAM_COUNT - 1) + 1
            if self.stream not in self.pending:
                break
        if reserve:
            self.pending.add(self.stream)
        return self.stream

    def table(self, name: str) -> int:
        """Table number of an activation, 0 for none."""
        if not name:
            return 0
        if name not in self.tables:
            self.tables.append(name)
        return self.tables.index(name) + 1

    def define(self, name: str, elements: int, split: bool) -> Located:
        """A new value of the graph in the LMU."""
        self.located[name] = Located(self.buffer(name, elements), elements, split)
        return self.located[name]

    def full(self, name: str) -> Located:
        """The value on every device, gathered when each has only a share."""
        value = self.located[name]
        if not value.split:
            return value
        if name not in self.gathered:
            size = self.graph.shapes[name].size
            if self.partition.num_devices == 1:
                self.gathered[name] = Located(value.buffer, size, False)
            else:
                self.gathered[name] = self._gather(name, value, size)
        return self.gathered[name]

    def parameter(self, name: str) -> int:
        """Open the stream of a parameter."""
        region = self.regions[name]
        stream = self.open_stream()
        self.emit(
            "rd.param",
            region.name,
            stream=stream,
            hbm=region.begin,
            rows=region.rows,
            cols=region.cols,
            stride=region.stride,
        )
        return stream

    def _gather(self, name: str, value: Located, size: int) -> Located:
        devices = self.partition.num_devices
        whole = self.buffer(f"{name} (gathered)", value.elements * devices)
        self.tag = self.tag % 0xFFFF + 1
        reader, self.node = self.node, self.position[id(self.writers[name])]
        self.emit("tx", src=Slot(value.buffer), length=value.elements, tag=self.tag)
        self.emit("rx", dst=Slot(whole), length=value.elements, devices=devices, tag=self.tag)
        self.node = reader
        return Located(whole, size, False)

    def _windows(self) -> dict[int, int]:
        """A register per attention window that is narrower than the caches."""
        narrow = {node.integer("window") for node in self.graph.nodes} - {0}
        return self._registers(window for window in sorted(narrow) if window < self.max_length)

    def _limits(self) -> dict[int, int]:
        """A register per prompt length from which on a rotation has another table."""
        longest = {node.integer("longest") for node in self.graph.nodes} - {0}
        return self._registers(limit for limit in sorted(longest) if limit < self.max_length)

    def _registers(self, values: Iterable[int]) -> dict[int, int]:
        """The next free register for each value."""
        found = {}
        for value in values:
            if self.free_register == REGISTER_COUNT:
                raise UnsupportedModelError(
                    f"{self.graph.architecture}: more attention windows and rotations than the program's "
                    f"{REGISTER_COUNT - FIRST_FREE_REGISTER} registers"
                )
            found[value] = self.free_register
            self.free_register += 1
        return found

    def _prologue(self) -> None:
        self.label("start")
        for register, word in ((Register.LAST_PROMPT, Word.LAST_PROMPT), (Register.LAST_OUTPUT, Word.LAST_OUTPUT)):
            self.emit("rd.host", "host", dst=register, io=4 * word)
        self.emit("li", dst=Register.POSITION, value=0)
        self.emit("li", dst=Register.LENGTH, value=1)
        self.emit("li", dst=Register.OUTPUT, value=0)
        for window, first in self.windows.items():
            self.emit("li", dst=first, value=1 - window)
        for longest, limit in self.limits.items():
            self.emit("li", dst=limit, value=longest)
        self.label("loop")
        self.emit("blt", a=Register.LAST_PROMPT, b=Register.POSITION, target=Label("step"))
        self.emit("rd.host", "host", dst=Register.TOKEN, io=self.host.input, index=Register.POSITION)
        self.label("step")

    def _epilogue(self) -> None:
        self.emit("wr.host", "host", src=Register.TOKEN, io=self.host.output, index=Register.OUTPUT)
        self.emit("addi", dst=Register.OUTPUT, a=Register.OUTPUT, value=1)
        self.emit("bne", a=Register.STOP, b=Register.ZERO, target=Label("done"))
        self.emit("bge", a=Register.POSITION, b=Register.LAST_OUTPUT, target=Label("done"))
        self.label("next")
        self.emit("addi", dst=Register.POSITION, a=Register.POSITION, value=1)
        self.emit("addi", dst=Register.LENGTH, a=Register.LENGTH, value=1)
        for first in self.windows.values():
            self.emit("addi", dst=first, a=first, value=1)
        self.emit("jmp", target=Label("loop"))
        self.label("done")
        self.emit("wr.host", "host", src=Register.OUTPUT, io=4 * Word.FINISHED)
        self.emit("hlt")

    def _rotary(self, node: Node) -> None:
        """The row of this position; a long prompt has the row of its own table behind it."""
        region = self.regions[table_region_name(node.parameter("table"))]
        result = self.define(node.outputs[0], region.cols, False)
        self._read_row(region, result, Register.POSITION)
        if node.parameter("long") and self.max_length > node.integer("longest"):
            behind = f"rotary.{len(self.labels)}"
            self.emit("blt", a=Register.LAST_PROMPT, b=self.limits[node.integer("longest")], target=Label(behind))
            self._read_row(self.regions[table_region_name(node.parameter("long"))], result, Register.POSITION)
            self.label(behind)

    def _embed(self, node: Node) -> None:
        region = self.regions[table_region_name(node.parameter("table"))]
        index = Register.TOKEN if node.text("index") == "token" else Register.POSITION
        index = Register.ZERO if node.op == "slopes" else index
        self._read_row(region, self.define(node.outputs[0], region.cols, True), index)

    def _read_row(self, region: Region, result: Located, index: Register) -> None:
        self.emit(
            "rd.embed",
            region.name,
            dst=Slot(result.buffer),
            hbm=region.begin,
            index=index,
            length=region.cols,
            rows=region.rows,
        )

    def _linear(self, node: Node) -> None:
        source = self.full(node.inputs[0])
        name = node.outputs[0]
        region = self.regions[node.parameter("weight")]
        operands: dict[str, Virtual] = {"src": Slot(source.buffer), "rows": region.rows, "cols": region.cols}
        operands["stream"] = self.parameter(region.name)
        if node.parameter("bias"):
            operands["bias"] = self.parameter(node.parameter("bias"))
        operands["act"] = self.table(node.text("act"))
        if node.integer("rotary_dim"):
            operands["rope"] = Slot(self.full(node.inputs[1]).buffer)
            operands |= self._rotation(node)
        uses = [reader.op for reader in self.readers.get(name, [])]
        if uses in (["write_key"], ["write_value"]):
            stream = self.open_stream(reserve=True)
            self.located[name] = Located(Buffer(-1, name, 0), region.rows, True, stream)
            operands["out"] = stream
        else:
            operands["dst"] = Slot(self.define(name, region.rows, True).buffer)
        self.emit("mm", region.name, **operands)

    def _rotation(self, node: Node) -> dict[str, Virtual]:
        return {
            "head_dim": self.graph.heads.head_dim,
            "rotary_dim": node.integer("rotary_dim"),
            "style": node.integer("style"),
        }

    def _bias(self, node: Node) -> None:
        source = self.located[node.inputs[0]]
        stream = self.parameter(node.parameter("bias"))
        result = self.define(node.outputs[0], source.elements, source.split)
        self.emit("vbias", dst=Slot(result.buffer), a=Slot(source.buffer), bias=stream, length=source.elements)

    def _act(self, node: Node) -> None:
        source = self.located[node.inputs[0]]
        result = self.define(node.outputs[0], source.elements, source.split)
        self.emit(
            "vact",
            dst=Slot(result.buffer),
            a=Slot(source.buffer),
            length=source.elements,
            act=self.table(node.text("act")),
        )

    def _binary(self, node: Node) -> None:
        values = [self.located[name] for name in node.inputs]
        split = all(value.split for value in values)
        if not split:
            values = [self.full(name) for name in node.inputs]
        result = self.define(node.outputs[0], values[0].elements, split)
        self.emit(
            "vadd" if node.op == "add" else "vmul",
            dst=Slot(result.buffer),
            a=Slot(values[0].buffer),
            b=Slot(values[1].buffer),
            length=values[0].elements,
        )

    def _norm(self, node: Node) -> None:
        over = node.text("over")
        values = [self.located[name] if over else self.full(name) for name in node.inputs]
        length = values[0].elements
        operands: dict[str, Virtual] = {"a": Slot(values[0].buffer), "length": length, "eps": node.number("eps")}
        if node.number("offset"):
            operands["offset"] = node.number("offset")
        if over == "head":
            operands["heads"] = length // self.graph.shapes[node.inputs[0]].width
        elif over == "heads":
            whole = self._all_heads(node.inputs[0])
            operands |= {"of": Slot(whole.buffer), "of_length": whole.elements}
        for role in ("weight", "bias"):
            if node.parameter(role):
                operands[role] = self.parameter(node.parameter(role))
        mnemonic = node.text("kind")
        if node.op == "add_norm":
            mnemonic = f"add.{mnemonic}"
            operands["b"] = Slot(values[1].buffer)
            operands["sum"] = Slot(self.define(node.outputs[1], length, False).buffer)
        operands["dst"] = Slot(self.define(node.outputs[0], length, bool(over)).buffer)
        self.emit(mnemonic, "", **operands)

    def _all_heads(self, name: str) -> Located:
        """Every head of the model once and in order, on every device; copies of a key head are left out."""
        shape, copies = self.graph.shapes[name], self.partition.copies
        whole = self.full(name)
        if shape.spread is not Spread.CACHE or copies == 1:
            return whole
        chosen = self.buffer(f"{name} (each head once)", shape.size)
        for head in range(shape.heads):
            source = Slot(whole.buffer, head * copies * shape.width)
            target = Slot(chosen, head * shape.width)
            self.emit("vscale", dst=target, a=source, length=shape.width, scale=1.0)
        return Located(chosen, shape.size, False)

    def _scale(self, node: Node) -> None:
        if self.graph.shapes[node.inputs[0]].spread is Spread.SCORES:
            return  # with the attend node at the end of its chain
        source = self.located[node.inputs[0]]
        result = self.define(node.outputs[0], source.elements, source.split)
        factor = node.number("scale")
        if node.integer("rounded"):
            factor = float(round_to(np.full(1, factor, np.float32), self.dtype)[0])
        self.emit("vscale", dst=Slot(result.buffer), a=Slot(source.buffer), length=source.elements, scale=factor)

    def _rope(self, node: Node) -> None:
        source, rotary = self.located[node.inputs[0]], self.full(node.inputs[1])
        result = self.define(node.outputs[0], source.elements, source.split)
        self.emit(
            "vrope",
            "",
            dst=Slot(result.buffer),
            a=Slot(source.buffer),
            rope=Slot(rotary.buffer),
            length=source.elements,
            **self._rotation(node),
        )

    def _softmax(self, node: Node) -> None:
        if self.graph.shapes[node.inputs[0]].spread is Spread.SCORES:
            return  # with the attend node at the end of its chain
        source = self.full(node.inputs[0])
        result = self.define(node.outputs[0], source.elements, False)
        scale = node.number("scale")
        self.emit("softmax", dst=Slot(result.buffer), a=Slot(source.buffer), length=source.elements, scale=scale)

    def _rank(self, node: Node) -> None:
        source, count = self.full(node.inputs[0]), self.graph.shapes[node.outputs[0]].size
        result = self.define(node.outputs[0], count, False)
        first = FIRST_FREE_REGISTER + len(self.windows)
        if first + count > REGISTER_COUNT:
            raise UnsupportedModelError(f"{count} experts per token, there are registers for {REGISTER_COUNT - first}")
        for place in range(count):
            self.emit(
                "rank",
                index=first + place,
                dst=Slot(result.buffer, place),
                src=Slot(source.buffer),
                length=source.elements,
                place=place,
                count=1,
            )

    def _expert(self, node: Node) -> None:
        source = self.full(node.inputs[0])
        region = self.regions[node.parameter("expert.0")]
        result = self.define(node.outputs[0], region.rows, True)
        stream = self.open_stream()
        self.emit(
            "rd.param",
            region.name,
            stream=stream,
            hbm=region.begin,
            rows=region.rows,
            cols=region.cols,
            stride=region.stride,
            index=FIRST_FREE_REGISTER + len(self.windows) + node.integer("place"),
            step=region.end - region.begin,
        )
        self.emit(
            "mm",
            region.name,
            dst=Slot(result.buffer),
            src=Slot(source.buffer),
            stream=stream,
            rows=region.rows,
            cols=region.cols,
        )

    def _weigh(self, node: Node) -> None:
        source, weights = self.located[node.inputs[0]], self.full(node.inputs[1])
        result = self.define(node.outputs[0], source.elements, source.split)
        self.emit(
            "vscale",
            dst=Slot(result.buffer),
            a=Slot(source.buffer),
            length=source.elements,
            scale=1.0,
            by=Slot(weights.buffer, node.integer("place")),
            factors=1,
        )

    def _write_cache(self, node: Node) -> None:
        kind = node.op.removeprefix("write_")
        region = self.regions[cache_region_name(kind, node.integer("layer"))]
        value = self.located[node.inputs[0]]
        self.pending.discard(value.stream)
        self.emit(
            f"wr.{kind}",
            region.name,
            stream=value.stream,
            src=0 if value.stream else Slot(value.buffer),
            hbm=region.begin,
            at=Register.POSITION,
            heads=region.heads,
            head_dim=self.graph.heads.head_dim,
            stride=region.stride,
            head_stride=region.head_bytes,
        )

    def _deferred(self, node: Node) -> None:
        """Lowered with the attend node at the end of its chain, head by head."""

    def _attend(self, node: Node) -> None:
        chain = [node]
        while self.graph.shapes[chain[0].inputs[0]].spread is Spread.SCORES:
            chain.insert(0, self.writers[chain[0].inputs[0]])
        query = self.located[chain[0].inputs[0]]
        width = self.graph.heads.head_dim
        result = self.define(node.outputs[0], self.partition.local_query_heads * width, True)
        keys = self.regions[cache_region_name("key", node.integer("layer"))]
        values = self.regions[cache_region_name("value", node.integer("layer"))]
        for head in range(self.partition.local_query_heads):
            slot = head // self.partition.group
            current = query.buffer
            offset = head * width
            for link in chain:
                self.node = self.position[id(link)]
                if link.op == "scores":
                    current, offset = self._scores(link, keys, slot, Slot(current, offset), head), 0
                elif link.op == "attend":
                    self._weighted(values, slot, current, Slot(result.buffer, head * width))
                else:
                    current = self._vector_of_tokens(link, current, head)

    def _scores(self, node: Node, region: Region, slot: int, query: Slot, head: int) -> Buffer:
        stream = self._cache_stream(region, slot, rows_reg=Register.LENGTH)
        result = self.buffer(f"{node.outputs[0]} head {head}", self.max_length)
        self.emit(
            "mm",
            region.name,
            dst=Slot(result),
            src=query,
            stream=stream,
            rows=region.rows,
            cols=region.cols,
            rows_reg=Register.LENGTH,
            act=self.table(node.text("act")),
        )
        return result

    def _vector_of_tokens(self, node: Node, source: Buffer, head: int) -> Buffer:
        result = self.buffer(f"{node.outputs[0]} head {head}", self.max_length)
        operands: dict[str, Virtual] = {"scale": node.number("scale"), "length_reg": Register.LENGTH}
        if node.integer("window") in self.windows:
            operands["first_reg"] = self.windows[node.integer("window")]
        if len(node.inputs) == 2:
            slope = Slot(self.located[node.inputs[1]].buffer, head)
            operands |= {"slope": slope, "slopes": 1, "coarse": node.integer("coarse")}
        mnemonic = "vscale" if node.op == "scale" else "softmax"
        self.emit(mnemonic, "", dst=Slot(result), a=Slot(source), length=self.max_length, **operands)
        return result

    def _weighted(self, region: Region, slot: int, weights: Buffer, dst: Slot) -> None:
        stream = self._cache_stream(region, slot, cols_reg=Register.LENGTH)
        self.emit(
            "mm",
            region.name,
            dst=dst,
            src=Slot(weights),
            stream=stream,
            rows=region.rows,
            cols=region.cols,
            cols_reg=Register.LENGTH,
        )

    def _cache_stream(self, region: Region, slot: int, **registers: Virtual) -> int:
        stream = self.open_stream()
        self.emit(
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

    def _sample(self, node: Node) -> None:
        logits = self.full(node.inputs[0])
        self.emit(
            "sample",
            token=Register.TOKEN,
            stop=Register.STOP,
            src=Slot(logits.buffer),
            length=self.graph.vocab_size,
        )
