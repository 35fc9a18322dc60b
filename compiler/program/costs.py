"""The cost model: what a choice costs, by the scheduler's clock, on a few layers of the model.

Layers are alike, so a program of the first ones, with what stands before and
behind all of them, tells choices apart in a fraction of the time of all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from compiler.dtypes import DType
from compiler.errors import CapacityError
from compiler.graph.ir import Graph
from compiler.graph.rewrite import few_layers
from compiler.mapping.partition import Chunks
from compiler.mapping.plan import lay_out
from compiler.program.allocate import place_buffers
from compiler.program.blocks import Blocks, take_apart
from compiler.program.lower import lower
from compiler.program.predict import Prediction
from compiler.program.schedule import Overlap, reordered
from compiler.target import Target
from compiler.target.timing import Rules

_MATRICES = ("linear", "expert")


@dataclass(frozen=True, slots=True)
class CostModel:
    """Predicts a build: a graph on devices of a target.

    Attributes:
        graph: its first layers, see `cost_model`.
        programs: of that graph.
        rules: latency rules of the build, which know the number of devices.
        tokens: length of the text for which costs are taken.
    """

    graph: Graph
    programs: LoweredPrograms
    rules: Rules
    lmu_elements: int
    tokens: int

    def cycles(self, chunks: Chunks, overlap: Overlap) -> float:
        """Predicted cycles of one token; infinite where the LMU is too small."""
        blocks = self.programs.with_chunks(chunks)
        order = overlap.order(blocks, self.rules)
        if sum(buffer.elements for buffer in blocks.program.buffers) > self.lmu_elements:
            try:
                place_buffers(reordered(blocks.program, order), self.lmu_elements)
            except CapacityError:
                return math.inf
        prediction = Prediction(self.rules, blocks.kinds.works(self.rules, self.tokens), len(order))
        for place in blocks.path:
            prediction.place(order[place], blocks.demands[order[place]])
        return prediction.cycles


class LoweredPrograms:
    """The lowered programs of a graph, by the chunks of their gathers; each is made and taken apart once.

    No rule of a target goes into them: several targets may share one.
    """

    def __init__(self, graph: Graph, target: Target, num_devices: int, dtype: DType, max_length: int) -> None:
        self.graph = graph
        self._build = target, num_devices, dtype, max_length
        self._made: dict[Chunks, Blocks] = {}

    def with_chunks(self, chunks: Chunks) -> Blocks:
        """The lowered program, for any order of its instructions."""
        if chunks not in self._made:
            mapping = lay_out(self.graph, *self._build, chunks, segments=False)
            self._made[chunks] = take_apart(lower(self.graph, mapping))
        return self._made[chunks]


def decisive(graph: Graph, more: int = 0) -> Graph:
    """The first layers of a graph, until one with each set of matrices was among them, and so many more."""
    shapes = {parameter.name: parameter.shape for parameter in graph.parameters}
    matrices: dict[int, list[tuple[str, tuple[int, ...]]]] = {}
    for node in graph.nodes:
        if node.op in _MATRICES and node.source.layer >= 0:
            sizes = (shapes[name] for _, name in node.parameters)
            matrices.setdefault(node.source.layer, []).extend((node.op, size) for size in sizes)
    sets = [tuple(matrices[layer]) for layer in sorted(matrices)]
    return few_layers(graph, 1 + max(sets.index(each) for each in sets) + more)


def cost_model(
    graph: Graph, target: Target, rules: Rules, dtype: DType, max_length: int, tokens: int, more: int = 0
) -> CostModel:
    """The cost model of a whole graph, with so many layers more than it needs to have each kind."""
    short = decisive(graph, more)
    programs = LoweredPrograms(short, target, rules.num_devices, dtype, max_length)
    return CostModel(short, programs, rules, target.lmu_bytes // dtype.itemsize, tokens)


def choose_window(costs: CostModel, chunks: Chunks, overlap: Overlap, windows: tuple[int, ...]) -> Overlap:
    """How far ahead instructions and their streams may be issued: the nearest that is worth it.

    A wide window keeps more values alive in the LMU, so that of two equal ones the narrow one is taken.
    """
    best, fewest = overlap, math.inf
    for window in sorted(windows):
        tried = replace(overlap, window=window)
        cycles = costs.cycles(chunks, tried)
        if cycles < fewest:
            best, fewest = tried, cycles
    return best
