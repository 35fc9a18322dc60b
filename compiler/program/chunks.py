"""Transmit under compute: in how many chunks each vector is gathered, chosen by the cost model.

While chunk i is under way between the devices, chunk i + 1 is computed; what
stays exposed is the last one. More chunks cost packets, instructions and the
SXE's latency more often, so none are cut where the clock sees no gain.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.graph.ir import Graph, Spread
from compiler.mapping.partition import AT_ONCE, Chunks
from compiler.program.costs import CostModel
from compiler.program.schedule import Overlap

_WORTH = 0.0002
"""Share of a token that twice the chunks have to save."""


_HEADS = 0
"""Stands for the heads among the widths."""


@dataclass(frozen=True, slots=True)
class ChunkTransmit:
    """Chooses `Chunks` for a build; the partition and lowering do the rest.

    Requires: a legal graph. Ensures: a program that is predicted to take no longer.

    Attributes:
        counts: numbers of chunks for each width, and for the heads; tried from the middle upwards until one gains
            nothing more, and downwards if none above the middle did.
    """

    counts: tuple[int, ...] = (2, 4, 8)

    name = "chunk-transmit"

    def choose(self, costs: CostModel, overlap: Overlap) -> Chunks:
        """The chunks with which a token takes the fewest cycles; one width after the other, and the heads last."""
        if costs.rules.num_devices == 1:
            return AT_ONCE
        middle = len(self.counts) // 2
        best, fewest = AT_ONCE, costs.cycles(AT_ONCE, overlap)
        for width in (*_widths(costs.graph), _HEADS):
            for counts in (self.counts[middle:], self.counts[:middle][::-1]):
                for count in counts:
                    tried = best.with_count(width, count)
                    taken = costs.cycles(tried, overlap)
                    if taken > fewest * (1 - _WORTH):
                        break
                    best, fewest = tried, taken
                if best.of(width) > self.counts[middle]:
                    break
        return best


def _widths(graph: Graph) -> list[int]:
    """Widths of vectors that matrices make, the widest first."""
    made = (graph.shapes[node.outputs[0]] for node in graph.nodes if node.op in ("linear", "expert"))
    return sorted({shape.size for shape in made if shape.spread is Spread.VECTOR}, reverse=True)
