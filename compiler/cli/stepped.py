"""A build, stepped through beside the reference executor of its graph: each result against what its op makes of the
same inputs.

Instruction by instruction: each op of the graph is evaluated on what the build
itself made of its inputs, in the build's dtype, so errors do not add up and the
first result that is not the op's is the one that went wrong. One unit in the
last place is allowed for another order of addition, more behind a softmax,
whose exponent magnifies it. Heads are compared together, once their attention
is done.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from compiler.artifacts.reader import Build
    from compiler.graph.ir import Graph, Node, Shape
    from compiler.graph.reference import ReferenceExecutor
    from compiler.mapping.partition import Partition

    Vector = NDArray[np.float32]

SAFETY = 4.0
"""Of what independent roundings would add up to; random weights magnify them, up to 2.2 times in a hundred models."""

HALF_ULP = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-18}
"""Relative; float32 products are added in another order by each machine, so some bits more."""

UNITS_ALLOWED = 2.5
"""Of half a unit in the last place, between an op and the instruction that computes it from the same inputs."""

UNITS_OF_ATTENTION = 32.0
"""The same behind scores and softmax: a last place of a score of some tens is a percent of its exponential."""

ORDER = 2.0**-21
"""Another order of addition in float32, relative to the product of the lengths of row and vector."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One compared vector.

    Attributes:
        what: the layer, or the instruction with its source.
        difference: largest, absolute.
        tolerance: what is allowed.
        pc: the instruction, -1 for a layer.
        magnified: whether roundings alone explain a larger difference, because every instruction is right.
    """

    what: str
    difference: float
    tolerance: float
    pc: int = -1
    magnified: bool = False

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance, or explained; NaN is neither."""
        return self.difference <= self.tolerance or (self.magnified and math.isfinite(self.difference))

    @property
    def numbers(self) -> str:
        """Difference and tolerance for people."""
        if self.passed and self.difference > self.tolerance:
            return (
                f"differs by {self.difference:.2g}, more than roundings usually add up to ({self.tolerance:.2g}); "
                "each instruction is right, so the model magnifies them or a near tie chose another expert"
            )
        return f"differs by {self.difference:.2g}, allowed is {self.tolerance:.2g}"


class Place(IntEnum):
    """Where a value was written to; of several, the last is the one that is read."""

    LMU = 0
    CACHE = 1
    GATHERED = 2


_PLACES = {"wr.key": Place.CACHE, "wr.value": Place.CACHE, "rx": Place.GATHERED}


class SteppedRun:
    """One run of a build, beside the reference executor.

    Attributes:
        build, graph: what is compared.
        values: of the graph, as the build made them of the last token.
        diverged: the first instruction whose result leaves the tolerance, None when there is none.
        results: how many results of instructions were compared.

    Args:
        build: is stepped through.
        graph: it was lowered from, passes included.
        partition: which elements of a value each device has.
        executor: evaluates the graph's ops in the build's dtype.
        prompt: tokens that both are fed.
    """

    def __init__(
        self, build: Build, graph: Graph, partition: Partition, executor: ReferenceExecutor, prompt: list[int]
    ) -> None:
        from compiler.emulator.machine import Machine
        from compiler.emulator.session import Session

        self._machine = Machine(build, fast=False)
        self.values: dict[str, Vector] = {}
        self.diverged: Comparison | None = None
        self.results = 0
        self._executor = executor
        self.build = build
        self.graph = graph
        self._partition = partition
        self._prompt = prompt
        self._writers: dict[str, int] = {}
        self._pieces: dict[str, dict[Place, dict[int, list[Vector]]]] = {}
        self._depths: list[int] = []
        depth = 0
        for node in graph.nodes:
            depth = max(depth, node.source.layer + 1)
            self._depths.append(depth)
        Session(self._machine).start(prompt, 1, stop_ids=())

    def execute(self) -> None:
        """To the end of the prompt and its first new token."""
        loop = self.build.debug.labels.get("loop", -1)
        position = -1
        while not self._machine.halted:
            pc = self._machine.pc
            if pc == loop:
                self._hold_against_the_graph(position)
                position += 1
                if position == len(self._prompt):
                    return
            self._machine.step()
            self._collect(pc)
        self._hold_against_the_graph(position)

    def tolerance(self, node: int, reference: Vector) -> float:
        """For a value of graph node `node`."""
        import numpy as np

        roundings = 4 + 14 * self._depths[node]
        unit = HALF_ULP[self.build.manifest.dtype.name] * float(np.abs(reference).max(initial=0.0))
        return SAFETY * math.sqrt(roundings) * unit

    def _collect(self, pc: int) -> None:
        """Remember the results of an instruction by the values of the graph they belong to."""
        nodes = self.build.debug.instruction_nodes
        if not nodes or nodes[pc] < 0:
            return
        instr = self._machine.program[pc]
        place = _PLACES.get(instr.mnemonic, Place.LMU)
        for name, begin, parts in self._written(pc):
            if place is Place.LMU:
                self._writers[name] = pc
            else:
                self._writers.setdefault(name, pc)
            self._pieces.setdefault(name, {}).setdefault(place, {})[begin] = parts

    def _hold_against_the_graph(self, position: int) -> None:
        """Evaluate every op of the token on the machine's own values, and compare what came of them."""
        if position < 0:
            return
        trace: dict[str, Vector] = {}
        for node in self.graph.nodes:
            if node.op == "sample":
                break
            inputs = [trace[name] for name in node.inputs]
            expected = self._executor.evaluate(node, inputs, self._prompt[position], position)
            for name, reference in zip(node.outputs, expected, strict=True):
                found = _whole(self._pieces.get(name, {}), self.graph.shapes[name], self._partition)
                trace[name] = reference if found is None else found.reshape(reference.shape)
                if found is not None:
                    self.values[name] = found
                    self.results += 1
                    self._compare(node, name, position, found, reference.reshape(-1), inputs)
        self._pieces = {}
        self._writers = {}

    def _compare(
        self, node: Node, name: str, position: int, found: Vector, reference: Vector, inputs: list[Vector]
    ) -> None:
        import numpy as np

        difference = float(np.abs(found - reference).max())
        units = UNITS_OF_ATTENTION if node.op == "attend" else UNITS_ALLOWED
        tolerance = units * HALF_ULP[self.build.manifest.dtype.name] * float(np.abs(reference).max(initial=0.0))
        if node.op in ("linear", "expert") and self.diverged is None and not difference <= tolerance:
            role = "weight" if node.op == "linear" else f"expert.{int(inputs[1][node.integer('place')])}"
            rows = np.linalg.norm(self._executor.parameter(node.parameter(role)), axis=1)
            tolerance += ORDER * float(rows.max()) * float(np.linalg.norm(inputs[0]))
        if self.diverged is None and not difference <= tolerance:
            pc = self._writers[name]
            source = self.build.debug.node_of(pc)
            what = f"pc {pc}: {self._machine.disassemble(pc)} from {source} at token {position}"
            self.diverged = Comparison(what, difference, tolerance, pc)

    def _written(self, pc: int) -> list[tuple[str, int, list[Vector]]]:
        """Names of the values an instruction wrote to, where, and each device's part."""
        from compiler.emulator.accesses import spans

        state, instr = self._machine.state, self._machine.program[pc]
        node = self.graph.nodes[self.build.debug.instruction_nodes[pc]]
        if instr.mnemonic == "mm" and instr.integer("out"):
            self._writers[node.outputs[0]] = pc
            return []
        if instr.mnemonic in ("wr.key", "wr.value"):
            cache = state.memory.cache(state.memory.place(instr.integer("hbm")).region.name)
            at = state.registers[instr.integer("at")]
            return [(node.inputs[0], 0, [cache.token(device, at) for device in range(len(state.lmu))])]
        found = []
        if node.op in ("norm", "add_norm") and instr.mnemonic == "vscale":
            return []  # a key head for the norm over all of them, each head once
        for span in spans(instr):
            if span.written and not span.extent:
                name = node.outputs[1 if span.operand == "sum" else 0]
                parts = [lmu[span.begin : span.begin + span.count].copy() for lmu in state.lmu]
                found.append((name, span.begin, parts))
        return found


def _whole(places: Mapping[Place, Mapping[int, list[Vector]]], shape: Shape, partition: Partition) -> Vector | None:
    """A value of the model, from its pieces on the devices; None when some are not known.

    Args:
        places: the pieces by where they were written and where they begin, one of each device.
    """
    import numpy as np

    from compiler.graph.ir import Spread

    place = max(places, default=Place.LMU)
    pieces = places.get(place, {})
    begins = sorted(pieces)
    if not begins or any(first + len(pieces[first][0]) != second for first, second in pairwise(begins)):
        return None
    parts = [np.concatenate([pieces[begin][device] for begin in begins]) for device in range(len(pieces[begins[0]]))]
    length, size = parts[0].shape[0], shape.size
    if place is Place.GATHERED and shape.spread is Spread.CACHE:
        heads = parts[0].reshape(-1, shape.width)[:: partition.copies]
        return heads[: shape.heads].reshape(-1) if len(heads) >= shape.heads else None
    if place is Place.GATHERED or (shape.spread is Spread.VECTOR and length >= size):
        return parts[0][:size] if length >= size else None
    if length != partition.local_size(shape):
        return None
    whole = np.zeros(size, np.float32)
    for run in partition.runs(shape):
        whole[run.source : run.source + run.count] = parts[run.device][run.local : run.local + run.count]
    return whole
