"""What lowering writes into: instructions, labels, buffers, streams, registers, and where each value is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from compiler.errors import UnsupportedModelError
from compiler.graph.ir import Graph
from compiler.graph.rewrite import readers
from compiler.isa.host import HostLayout
from compiler.isa.spec import REGISTER_COUNT, STREAM_COUNT
from compiler.mapping.plan import Mapping
from compiler.program.virtual import (
    FIRST_FREE_REGISTER,
    Buffer,
    Slot,
    Virtual,
    VirtualInstruction,
    VirtualProgram,
)


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

    def parameter(self, name: str, **chosen: Virtual) -> int:
        """Open the stream of a parameter; `chosen` are further operands, as for one of several in a row."""
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
            **chosen,
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

    def finish(self) -> VirtualProgram:
        """The program as emitted."""
        return VirtualProgram(tuple(self.instructions), dict(self.labels), tuple(self.buffers), tuple(self.tables))
