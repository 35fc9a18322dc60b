"""Graph passes: values with options, run in the order of a tuple.

In: a legal graph. Out: a legal graph that computes the same function. The
pipeline of a compile is `passes_for(fusion, reorder)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler.graph.ir import Graph
from compiler.graph.passes.dead_code import DeadCode
from compiler.graph.passes.fuse_linear import FuseLinear
from compiler.graph.passes.fuse_residual_norm import FuseResidualNorm
from compiler.graph.passes.fuse_softmax import FuseSoftmax
from compiler.graph.passes.value_first import ValueFirst
from compiler.graph.verify import verify_graph

Pass = DeadCode | FuseLinear | FuseResidualNorm | FuseSoftmax | ValueFirst
Watcher = Callable[[Pass, Graph, Graph], None]

FUSION_PASSES: tuple[Pass, ...] = (DeadCode(), FuseLinear(), FuseResidualNorm(), FuseSoftmax())
REORDER_PASSES: tuple[Pass, ...] = (ValueFirst(),)


def passes_for(fusion: bool, reorder: bool) -> tuple[Pass, ...]:
    """The passes of a compile, in order."""
    return (FUSION_PASSES if fusion else ()) + (REORDER_PASSES if reorder else ())


def run_passes(graph: Graph, passes: Sequence[Pass], watch: Watcher | None = None) -> Graph:
    """Run each pass and verify what it made.

    Args:
        graph: a legal one.
        watch: called after each pass with the graph before and after.

    Raises:
        VerificationError: a pass made an illegal graph.
    """
    for step in passes:
        changed = step.run(graph)
        verify_graph(changed, graph)
        if watch is not None:
            watch(step, graph, changed)
        graph = changed
    return graph
