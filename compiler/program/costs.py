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
from compiler.mapping.plan import plan_mapping
from compiler.program.allocate import allocate
from compiler.program.lower import lower
from compiler.program.predict import predict_token
from compiler.program.schedule import Overlap
from compiler.target import Target
from compiler.target.timing import Rules

_LAYERS = 2


@dataclass(frozen=True, slots=True)
class CostModel:
    """Predicts a build: a graph on devices of a target.

    Attributes:
        graph: its first layers, see `cost_model`.
        rules: latency rules of the build, which know the number of devices.
        tokens: length of the text for which costs are taken.
    """

    graph: Graph
    target: Target
    rules: Rules
    dtype: DType
    max_length: int
    tokens: int

    def cycles(self, chunks: Chunks, overlap: Overlap) -> float:
        """Predicted cycles of one token, its LMU addresses chosen; infinite where they are too few."""
        mapping = plan_mapping(self.graph, self.target, self.rules.num_devices, self.dtype, self.max_length, chunks)
        program = overlap.run(lower(self.graph, mapping), self.rules)
        try:
            placed = allocate(program, self.target.lmu_bytes // self.dtype.itemsize)
        except CapacityError:
            return math.inf
        return predict_token(placed.instructions, program.labels, self.rules, self.tokens - 1).cycles


def cost_model(graph: Graph, target: Target, rules: Rules, dtype: DType, max_length: int, tokens: int) -> CostModel:
    """The cost model of a whole graph."""
    return CostModel(few_layers(graph, _LAYERS), target, rules, dtype, max_length, tokens)


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
