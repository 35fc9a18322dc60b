"""Laws of the graph passes, shown on the reference executor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32, DType
from compiler.errors import VerificationError
from compiler.graph.ir import Graph, Node, Spread, attributes
from compiler.graph.passes import DeadCode, FuseLinear, FuseResidualNorm, FuseSoftmax, ValueFirst, passes_for
from compiler.graph.reference import ReferenceExecutor
from compiler.graph.rewrite import readers, with_nodes
from compiler.graph.verify import verify_graph
from tests.tiny import CONFIGS, EVERY, RandomTensors, tiny_graph

TOKENS = (5, 17, 100, 3)


def _logits(graph: Graph, dtype: DType) -> np.ndarray:
    executor = ReferenceExecutor(graph, RandomTensors(graph).parameter, dtype, 40)
    return np.stack([executor.step(token, position) for position, token in enumerate(TOKENS)])


@pytest.mark.parametrize("name", EVERY)
def test_all_passes_keep_every_float32_bit(name: str) -> None:
    plain = _logits(tiny_graph(name, False, False), FLOAT32)
    assert np.array_equal(_logits(tiny_graph(name), FLOAT32), plain)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16], ids=str)
def test_fusing_residuals_and_reordering_keep_every_bit_at_any_dtype(name: str, dtype: DType) -> None:
    graph = tiny_graph(name, False, False)
    changed = ValueFirst().run(FuseResidualNorm().run(graph))
    assert np.array_equal(_logits(changed, dtype), _logits(graph, dtype))


@pytest.mark.parametrize("name", EVERY)
def test_each_pass_removes_what_it_fuses(name: str) -> None:
    graph = tiny_graph(name, False, False)
    fused = FuseLinear().run(graph)
    writers = {name: node for node in fused.nodes for name in node.outputs}
    for node in fused.nodes:
        if node.op in ("bias", "act", "rope"):  # behind a norm, or a rotation behind an activation
            writer = writers[node.inputs[0]]
            if len(readers(fused)[node.inputs[0]]) > 1:
                continue
            assert writer.op not in ("linear", "expert") or (node.op == "rope" and writer.text("act"))
    softened = FuseSoftmax().run(graph)
    scaled = [graph.shapes[node.inputs[0]].spread for node in softened.nodes if node.op == "scale"]
    assert Spread.SCORES not in scaled
    residuals = FuseResidualNorm().run(graph)
    added = {node.outputs[0] for node in residuals.nodes if node.op == "add"}
    assert not [node for node in residuals.nodes if node.op == "norm" and node.inputs[0] in added]
    assert [node for node in residuals.nodes if node.op == "add_norm"]
    for changed in (fused, residuals):
        verify_graph(changed)


@pytest.mark.parametrize("name", EVERY)
def test_the_value_comes_first_then_the_key_then_the_query(name: str) -> None:
    graph = tiny_graph(name)
    made = {output: index for index, node in enumerate(graph.nodes) for output in node.outputs}
    read = readers(graph)
    for layer in range(graph.num_layers):
        place = {
            node.op: index for index, node in reversed([*enumerate(graph.nodes)]) if node.integer("layer", -1) == layer
        }
        query = made[graph.nodes[place["scores"]].inputs[0]]
        assert place["write_key"] < query
        value = graph.nodes[place["write_value"]].inputs[0]
        if len(read[value]) == 1:
            assert place["write_value"] < place["write_key"]


def test_every_switch_of_a_fusion_is_heard() -> None:
    graph = tiny_graph("llama", False, False)
    kept = {node.op for node in FuseLinear(bias=False).run(graph).nodes}
    assert "bias" in kept
    assert "rope" in {node.op for node in FuseLinear(rope=False).run(graph).nodes}
    assert "act" in {node.op for node in FuseLinear(act=False).run(graph).nodes}
    assert passes_for(False, False) == ()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_verifier_finds_a_dropped_or_moved_node(name: str) -> None:
    graph = tiny_graph(name)
    for index, node in enumerate(graph.nodes):
        if node.outputs or node.op == "sample":
            with pytest.raises(VerificationError):
                verify_graph(with_nodes(graph, graph.nodes[:index] + graph.nodes[index + 1 :]))
    for index in range(1, len(graph.nodes)):
        before, node = graph.nodes[index - 1 : index + 1]
        if set(before.outputs) & set(node.inputs):
            swapped = (*graph.nodes[: index - 1], node, before, *graph.nodes[index + 1 :])
            with pytest.raises(VerificationError, match="before it is written"):
                verify_graph(with_nodes(graph, swapped))


def _with_dead_code(graph: Graph) -> Graph:
    """The graph with a second copy of each norm that half its readers use, a factor of one, and a tail nobody reads."""
    nodes: list[Node] = []
    renamed: dict[str, str] = {}
    shapes = dict(graph.shapes)
    for index, node in enumerate(graph.nodes):
        if index % 2:
            node = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        nodes.append(node)
        if node.op not in ("norm", "embed"):
            continue
        name = node.outputs[0]
        copy, scaled, unread = (f"{name} {word}" for word in ("again", "times one", "unread"))
        shapes |= dict.fromkeys((copy, scaled, unread), graph.shapes[name])
        nodes.append(replace(node, outputs=(copy,)))
        nodes.append(Node("act", (name,), (unread,), attributes=attributes(act="relu")))
        renamed[name] = copy
        if graph.shapes[name].spread is Spread.VECTOR:
            nodes.append(Node("scale", (copy,), (scaled,), attributes=attributes(scale=1.0)))
            renamed[name] = scaled
    return replace(graph, nodes=tuple(nodes), shapes=shapes)


@pytest.mark.parametrize("name", CONFIGS)
def test_dead_code_goes_and_nothing_else_does(name: str) -> None:
    graph = tiny_graph(name, False, False)
    grown = _with_dead_code(graph)
    verify_graph(grown)
    assert len(grown.nodes) > len(graph.nodes)
    cleaned = DeadCode().run(grown)
    assert cleaned == graph
    assert np.array_equal(_logits(grown, FLOAT16), _logits(cleaned, FLOAT16))


@pytest.mark.parametrize("name", EVERY)
def test_families_build_no_dead_code(name: str) -> None:
    graph = tiny_graph(name, False, False)
    factors = [node for node in graph.nodes if node.op == "scale" and node.number("scale") == 1.0]
    assert len(DeadCode().run(graph).nodes) == len(graph.nodes) - len(factors)
