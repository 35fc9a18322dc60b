"""Transmit under compute: in how many chunks each vector is gathered, chosen by the scheduler's clock.

While chunk i is under way between the devices, chunk i + 1 is computed; what
stays exposed is the last one. More chunks cost packets, instructions and the
SXE's latency more often, so none are cut where the clock sees no gain.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.dtypes import DType
from compiler.graph.ir import Graph, Spread
from compiler.graph.rewrite import few_layers
from compiler.mapping.partition import AT_ONCE, Chunks
from compiler.mapping.plan import plan_mapping
from compiler.program.lower import lower
from compiler.program.predict import predict_token
from compiler.program.schedule import Overlap
from compiler.target import Target
from compiler.target.timing import Rules

_LAYERS = 2
"""Layers are alike: so many of them, with what stands before and behind all layers, decide."""

_WORTH = 0.0005
"""Share of a token that twice the chunks have to save."""


@dataclass(frozen=True, slots=True)
class ChunkTransmit:
    """Chooses `Chunks` for a build; the partition and lowering do the rest.

    Requires: a legal graph. Ensures: a program that is predicted to take no longer.

    Attributes:
        counts: numbers of chunks for each width, and for the heads, tried until one gains nothing more.
    """

    counts: tuple[int, ...] = (2, 4, 8)

    name = "chunk-transmit"

    def choose(
        self, graph: Graph, target: Target, rules: Rules, dtype: DType, max_length: int, overlap: Overlap
    ) -> Chunks:
        """The chunks with which a token takes the fewest cycles; one width after the other."""
        if rules.num_devices == 1:
            return AT_ONCE
        short = few_layers(graph, _LAYERS)

        def cycles(chunks: Chunks) -> int:
            mapping = plan_mapping(short, target, rules.num_devices, dtype, max_length, chunks)
            program = overlap.run(lower(short, mapping), rules)
            return predict_token(program.instructions, program.labels, rules, overlap.tokens - 1).cycles

        best, fewest = AT_ONCE, cycles(AT_ONCE)
        for width in (0, *_widths(short)):
            before = best
            for count in self.counts:
                tried = before.with_count(width, count)
                taken = cycles(tried)
                if taken > fewest * (1 - _WORTH):
                    break
                best, fewest = tried, taken
        return best


def _widths(graph: Graph) -> list[int]:
    """Widths of vectors that matrices make, the widest first."""
    made = (graph.shapes[node.outputs[0]] for node in graph.nodes if node.op in ("linear", "expert"))
    return sorted({shape.size for shape in made if shape.spread is Spread.VECTOR}, reverse=True)
