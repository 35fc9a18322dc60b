"""The reference executor: what each op means, in a few lines of numpy per op.

It runs a graph on whole tensors, one token at a time, with no device, no
layout and no instruction in sight. It is the definition that the op table
refers to: float32 inside an op, one rounding to the build's dtype per output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.checkpoint.generated import generated_table
from compiler.dtypes import BFLOAT16, DType
from compiler.graph.activations import activation_table
from compiler.graph.ir import Graph, Node
from compiler.isa.spec import RopeStyle
from compiler.rounding import round_to

Array = NDArray[np.float32]
LoadTensor = Callable[[str], Array]


class ReferenceExecutor:
    """Runs a graph.

    Args:
        graph: with or without passes.
        load: a parameter of the graph by name, as float32 in its own shape.
        dtype: to which every value and parameter is rounded.
        max_length: rows of generated tables.
        keep: hold all parameters; else each is loaded whenever it is used, and memory for the largest is enough.
    """

    def __init__(self, graph: Graph, load: LoadTensor, dtype: DType, max_length: int, *, keep: bool = True) -> None:
        self._graph = graph
        self._dtype = dtype
        self._keys: dict[int, list[Array]] = {}
        self._values: dict[int, list[Array]] = {}
        self._load = load
        self._max_length = max_length
        self._kept = {each.name: self._loaded(each.name) for each in graph.parameters} if keep else {}
        self.trace: dict[str, Array] = {}

    def step(self, token: int, position: int) -> Array:
        """Logits after feeding one token; `trace` then holds every value of the step by name."""
        self.trace = {}
        for node in self._graph.nodes:
            if node.op == "sample":
                return self.trace[node.inputs[0]].reshape(-1)
            inputs = [self.trace[name] for name in node.inputs]
            self.trace |= zip(node.outputs, self.evaluate(node, inputs, token, position), strict=True)
        raise AssertionError("a verified graph ends in sample")

    def evaluate(self, node: Node, inputs: list[Array], token: int, position: int) -> list[Array]:
        """The outputs of one node for inputs from anywhere; caches remember what it writes to them."""
        results = self._run(node, inputs, token, position)
        return [round_to(np.asarray(result, np.float32), self._dtype) for result in results]

    def parameter(self, name: str) -> Array:
        """A parameter, rounded."""
        kept = self._kept.get(name)
        return self._loaded(name) if kept is None else kept

    def _loaded(self, name: str) -> Array:
        table = self._graph.parameter(name).generated
        values = self._load(name) if table is None else generated_table(table, self._max_length)
        return round_to(values, self._dtype)

    def _run(self, node: Node, inputs: list[Array], token: int, position: int) -> list[Array]:
        parameters = _Parameters(self, dict(node.parameters))
        layer, heads = node.integer("layer"), self._graph.heads
        group = heads.num_attention_heads // heads.num_key_value_heads
        match node.op:
            case "embed":
                first = self._graph.parameter(node.parameter("table")).first_row
                row = token if node.text("index") == "token" else position
                return [parameters["table"][first + row]]
            case "rotary":
                return [parameters["table"][position]]
            case "by_head":
                return [parameters["table"][0]]
            case "number":
                return [parameters["table"][position if node.text("index") == "position" else 0]]
            case "linear":
                return [self._linear(node, inputs, parameters)]
            case "bias":
                return [inputs[0].reshape(-1) + parameters["bias"]]
            case "act":
                return [activation_table(node.text("act")).evaluate(inputs[0])]
            case "add":
                return [inputs[0] + inputs[1]]
            case "mul":
                return [inputs[0] * inputs[1]]
            case "norm":
                return [self._normalised(node, inputs[0], parameters)]
            case "add_norm":
                total = round_to(inputs[0] + inputs[1], self._dtype)
                return [_norm(node, total, parameters), total]
            case "rope":
                return [_rope(node, inputs[0], inputs[1], heads.head_dim)]
            case "write_key":
                self._keys.setdefault(layer, []).append(inputs[0].reshape(-1, heads.head_dim))
                return []
            case "write_value":
                self._values.setdefault(layer, []).append(inputs[0].reshape(-1, heads.head_dim))
                return []
            case "scores":
                query = inputs[0].reshape(-1, heads.head_dim)
                keys = np.stack(self._keys[layer])
                scores = np.stack([_dot(keys[:, head // group], row) for head, row in enumerate(query)])
                return [_activated(node, scores)]
            case "scale":
                factor = np.full(1, node.number("scale"), np.float32)
                return [inputs[0] * (round_to(factor, self._dtype) if node.integer("rounded") else factor)]
            case "softmax":
                return [
                    _softmax(node, inputs[0].reshape(-1, inputs[0].shape[-1]), *inputs[1:]).reshape(inputs[0].shape)
                ]
            case "rank":
                chosen = np.argsort(-inputs[0], kind="stable")[: self._graph.shapes[node.outputs[0]].size]
                return [inputs[-1][chosen], chosen.astype(np.float32)]
            case "expert":
                number = int(inputs[1][node.integer("place")])
                product = _dot(parameters[f"expert.{number}"], inputs[0])
                return [_activated(node, product + parameters.get(f"bias.{number}", np.float32(0)))]
            case "weigh":
                return [inputs[0] * inputs[1][node.integer("place")]]
            case "attend":
                values = np.stack(self._values[layer])
                return [np.stack([_dot(values[:, head // group].T, row) for head, row in enumerate(inputs[0])])]
        raise AssertionError(f"op {node.op} has no rule")

    def _normalised(self, node: Node, x: Array, parameters: Mapping[str, Array]) -> Array:
        if node.text("over") != "head":
            return _norm(node, x.reshape(-1), parameters)
        rows = x.reshape(-1, self._graph.heads.head_dim)
        shared = {role: np.broadcast_to(w.reshape(-1, rows.shape[1]), rows.shape) for role, w in parameters.items()}
        results = [_norm(node, row, {role: w[head] for role, w in shared.items()}) for head, row in enumerate(rows)]
        return np.concatenate(results)

    def _linear(self, node: Node, inputs: list[Array], parameters: Mapping[str, Array]) -> Array:
        result = _dot(parameters["weight"], inputs[0].reshape(-1))
        if "bias" in parameters:
            result = result + parameters["bias"]
        if node.integer("rotary_dim"):
            result = _rope(node, result, inputs[1], self._graph.heads.head_dim)
        return _activated(node, result)


class _Parameters(Mapping[str, Array]):
    """The parameters of a node by role, each taken when it is asked for."""

    def __init__(self, executor: ReferenceExecutor, names: Mapping[str, str]) -> None:
        self._executor = executor
        self._names = names

    def __getitem__(self, role: str) -> Array:
        return self._executor.parameter(self._names[role])

    def __contains__(self, role: object) -> bool:
        return role in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _activated(node: Node, x: Array) -> Array:
    """What a node's activation makes of its result, if it has one."""
    return activation_table(node.text("act")).evaluate(x) if node.text("act") else x


def _dot(matrix: Array, vector: Array) -> Array:
    return np.asarray(np.einsum("rk,k->r", np.ascontiguousarray(matrix), np.ascontiguousarray(vector)))


def _norm(node: Node, x: Array, parameters: Mapping[str, Any]) -> Array:
    length, eps = np.float32(x.size), np.float32(node.number("eps"))
    centred = x - x.sum() / length if node.text("kind") == "layernorm" else x
    scale = np.float32(1) / np.sqrt((centred * centred).sum() / length + eps)
    result = centred * scale
    if "weight" in parameters:
        result = result * (parameters["weight"] + np.float32(node.number("offset")))
    return np.asarray(result + parameters["bias"] if "bias" in parameters else result)


def _rope(node: Node, x: Array, rotary: Array, head_dim: int) -> Array:
    width = node.integer("rotary_dim")
    cos, sin = rotary[: width // 2], rotary[width // 2 :]
    rotated = x.reshape(-1, head_dim).copy()
    interleaved = node.integer("style") == RopeStyle.INTERLEAVED
    first = slice(0, width, 2) if interleaved else slice(0, width // 2)
    second = slice(1, width, 2) if interleaved else slice(width // 2, width)
    a, b = rotated[:, first].copy(), rotated[:, second].copy()
    rotated[:, first], rotated[:, second] = a * cos - b * sin, b * cos + a * sin
    return rotated.reshape(x.shape)


def _softmax(node: Node, scores: Array, by_head: Array | None = None) -> Array:
    """Row by row: one row per head, one column per token."""
    scaled = scores * np.float32(node.number("scale"))
    sink = by_head.reshape(-1, 1) if by_head is not None and node.integer("sink") else None
    if by_head is not None and sink is None:
        bias: Array = np.asarray(by_head.reshape(-1, 1) * np.arange(scores.shape[1], dtype=np.float32), np.float32)
        coarse = round_to(bias, BFLOAT16) * np.float32(node.number("scale"))
        scaled = scaled + (coarse if node.integer("coarse") else bias)
    if node.integer("window"):
        scaled[:, : max(0, scores.shape[1] - node.integer("window"))] = -np.inf
    if sink is not None:
        scaled = np.concatenate([scaled, sink], axis=1)
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares = np.stack([row * (np.float32(1) / row.sum()) for row in powers])
    return shares if sink is None else shares[:, :-1]
