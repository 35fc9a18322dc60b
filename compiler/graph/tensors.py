"""The tensors a graph asks of a checkpoint: each once, whatever parameters are parts of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compiler.checkpoint.converted import ConvertedModel
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
            renames = (*(((graph.prefix, ""),) if graph.prefix else ()), *graph.renames)
            aliases = tuple(new + name.removeprefix(old) for old, new in renames if name.startswith(old))
            spec = TensorSpec(name, shape, aliases, source=parameter.source)
            known = found.setdefault(name, spec)
            if known.shape != shape:
                raise VerificationError(f"tensor {name} is asked for as {list(known.shape)} and as {list(shape)}")
    for own, shared in tied_tensors(graph).items():
        found[own] = TensorSpec(own, found[shared].shape, tied_to=shared, optional=True)
    return tuple(found.values())


def tied_tensors(graph: Graph) -> dict[str, str]:
    """For each matrix that reads another module's weight, the name its own would have, and the one it reads."""
    found = {}
    for node in graph.nodes:
        if node.op != "linear":
            continue
        weight, own = graph.parameter(node.parameter("weight")), f"{node.source.module}.weight"
        if weight.kind == "embedding" and weight.source.tensor != own:
            found[own] = weight.source.tensor
    return found


def config_as_stored(config: Mapping[str, Any], graph: Graph, model: ConvertedModel) -> Mapping[str, Any]:
    """The config, untied if the checkpoint holds a head of its own with other values than the embedding.

    Source: transformers 5 ties such a head only when both have the same values.
    """
    tensors = {tensor.name: tensor for tensor in model.tensors}
    for own, shared in tied_tensors(graph).items():
        head, embedding = tensors.get(own), tensors.get(shared)
        if head is None or embedding is None or head.tied_to:
            continue
        if (head.dtype, head.crc32, head.absmax) != (embedding.dtype, embedding.crc32, embedding.absmax):
            return {**config, "tie_word_embeddings": False}
    return config
