"""The tensors a graph asks of a checkpoint: each once, whatever parameters are parts of it."""

from __future__ import annotations

from compiler.checkpoint.tensors import TensorSpec
from compiler.errors import VerificationError
from compiler.graph.ir import Graph


def tensor_specs(graph: Graph) -> tuple[TensorSpec, ...]:
    """What phase 2 converts, in the order of first use.

    Raises:
        VerificationError: two parameters disagree on the shape of a tensor.
    """
    found: dict[str, TensorSpec] = {}
    for parameter in graph.parameters:
        for name, shape in parameter.tensors:
            bare = name.removeprefix(graph.prefix)
            spec = TensorSpec(name, shape, (bare,) if bare != name else (), source=parameter.source)
            known = found.setdefault(name, spec)
            if known.shape != shape:
                raise VerificationError(f"tensor {name} is asked for as {list(known.shape)} and as {list(shape)}")
    return tuple(found.values())
