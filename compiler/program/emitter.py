"""What lowering writes into: instructions, labels, buffers, streams, registers, and where each value is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate

from compiler.errors import UnsupportedModelError
from compiler.graph.ir import Graph, Shape, Spread
from compiler.graph.rewrite import readers
from compiler.isa.host import HostLayout
from compiler.isa.spec import REGISTER_COUNT, STREAM_COUNT
from compiler.mapping.plan import Mapping
from compiler.memory_map import CHANNELS
from compiler.program.virtual import (
    FIRST_FREE_REGISTER,
    Buffer,
    Slot,
    Virtual,
    VirtualInstruction,
    VirtualProgram,
)

_NEED_ALL = ("linear", "expert", "rank", "sample")
"""Ops that read the whole of a vector, always."""


@dataclass(frozen=True, slots=True)
class Part:
    """One chunk of a split value: `elements` from `offset` on, on each device.

    Attributes:
        index: which chunk, None for the value in one piece.
    """

    index: int | None
    offset: int
    elements: int


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


class Emitter:
    """The state of one lowering.

    Attributes:
        node: index of the node being lowered, -1 between nodes; instructions remember it.
        windows: register with the first token of each attention window.
        limits: register with each prompt length from which on a rotation has another table.
        reread: which of these have a text that grows beyond them read again.
        made: register with the place among the new tokens of the one that is read again, negative before they begin.
        free_register: from here on registers are free.
        pending: streams that wait for their reader.
    """

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
        rereading = {node.integer("longest") for node in graph.nodes if node.op == "rotary" and node.integer("reread")}
        self.reread = {limit: register for limit, register in self.limits.items() if limit in rereading}
        self.made = self._registers([0])[0] if self.reread else 0

    def emit(self, mnemonic: str, region: str = "", **operands: Virtual) -> None:
        """Append one instruction; zero operands are left out."""
        given = tuple([(name, value) for name, value in operands.items() if value or isinstance(value, float)])
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
            if self.partition.num_devices == 1:
                self.gathered[name] = Located(value.buffer, self.graph.shapes[name].size, False)
            else:
                self._gather(name, self.chunks(name))
        return self.gathered[name]

    def parts(self, name: str) -> list[Part]:
        """A value in the pieces in which it is computed: its chunks if it is a split vector, else all of it."""
        value, shape = self.located[name], self.graph.shapes[name]
        if not value.split or shape.spread is not Spread.VECTOR:
            return [Part(None, 0, value.elements)]
        return self.chunks(name)

    def chunks(self, name: str) -> list[Part]:
        """A split value in the pieces in which it is gathered."""
        lengths = self.partition.parts(self.graph.shapes[name])
        begins = accumulate(lengths, initial=0)
        found = [Part(index, begin, length) for index, (begin, length) in enumerate(zip(begins, lengths, strict=False))]
        return [replace(found[0], index=None)] if len(found) == 1 else found

    def parameter(self, name: str, part: Part | None = None, shape: Shape | None = None, **chosen: Virtual) -> int:
        """Open the stream of a parameter.

        Args:
            part: the chunk of it that is read, None for all.
            shape: of the value that has one element per row.
            chosen: further operands, as for one of several parameters in a row.
        """
        region = self.regions[name]
        stream = self.open_stream()
        address, rows = region.begin, region.rows
        if part is not None and part.index is not None and shape is not None:
            itemsize = self.dtype.itemsize
            row = self.partition.first_rows(shape, region.cols, itemsize)[part.index]
            address, rows = address + row // CHANNELS * region.stride * itemsize, part.elements
        self.emit(
            "rd.param",
            region.name,
            stream=stream,
            hbm=address,
            rows=rows,
            cols=region.cols,
            stride=region.stride,
            **chosen,
        )
        return stream

    def share(self, name: str, part: Part) -> None:
        """Send a chunk as soon as it is computed, if some reader needs all of the value."""
        readers = [reader.op for reader in self.readers.get(name, [])]
        if self.located[name].split and self.partition.num_devices > 1 and set(readers) & {*_NEED_ALL}:
            self._gather(name, [part])

    def _gather(self, name: str, parts: list[Part]) -> None:
        """Make every device's share of these chunks known to all devices."""
        value, devices = self.located[name], self.partition.num_devices
        if name not in self.gathered:
            whole = self.buffer(f"{name} (gathered)", value.elements * devices)
            self.gathered[name] = Located(whole, self.graph.shapes[name].size, False)
        whole = self.gathered[name].buffer
        reader, self.node = self.node, self.position[id(self.writers[name])]
        for part in parts:
            self.tag = self.tag % 0xFFFF + 1
            self.emit("tx", src=Slot(value.buffer, part.offset), length=part.elements, tag=self.tag)
            target = Slot(whole, part.offset * devices)
            self.emit("rx", dst=target, length=part.elements, devices=devices, tag=self.tag)
        self.node = reader

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

    def finish(self) -> VirtualProgram:
        """The program as emitted."""
        return VirtualProgram(tuple(self.instructions), dict(self.labels), tuple(self.buffers), tuple(self.tables))
