"""The mixture of experts: as a value, and the nodes it makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.graph.activations import clip, swiglu
from compiler.graph.blocks import FeedForward, activated, feed_forward
from compiler.graph.builder import GraphBuilder
from compiler.graph.ir import Plane


@dataclass(frozen=True, slots=True)
class Stack:
    """The matrices of all experts in two tensors of three dimensions, experts first.

    Attributes:
        gate_up, down: the tensors, below the module of the mixture.
        interleaved: gate and up rows take turns; else the gate's come first.
        transposed: a matrix is stored as columns, then rows.
        bias: what the tensors of the biases have behind these names, "" for no biases.
    """

    gate_up: str
    down: str
    interleaved: bool = False
    transposed: bool = False
    bias: str = ""


@dataclass(frozen=True, slots=True)
class ClampedSwiglu:
    """GPT-OSS's gate: y * sigmoid(alpha * y) * (clamp(up) + 1), y and up limited to `limit`."""

    alpha: float
    limit: float


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of gated experts: the chosen ones' results, weighted by the router.

    Attributes:
        count: experts; chosen: how many of them run for a token.
        inner: width inside each.
        normalised: weights of the chosen sum to 1; else they are probabilities among all.
        scale: multiplies the weights.
        correction: tensor, below the module of the mixture, that is added to the chances of the experts for the
            choice only; "" for none.
        corrects: what of the scores these chances are: "sigmoid", or "softmax", whose tensor is a matrix of one row;
            without a correction they are softmax.
        name: module below the layer; router: below that.
        router_bias: whether the router has one.
        expert: pattern of an expert's module, with {} for its number; gate, up, down: below that.
        stack: where they are instead, None for a module per expert.
        shared: a network that runs for every token, its name below the layer; None for none.
        shared_gate: module, below that of the mixture, of the logit of its share; "" when it has no gate.
    """

    count: int
    chosen: int
    inner: int
    act: str | ClampedSwiglu
    normalised: bool
    scale: float = 1.0
    correction: str = ""
    corrects: str = "sigmoid"
    name: str = "mlp"
    router: str = "gate"
    router_bias: bool = False
    expert: str = "experts.{}"
    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"
    stack: Stack | None = None
    shared: FeedForward | None = None
    shared_gate: str = ""


Matrix = Callable[[str, int], str]
"""(input, place among the chosen) -> matrix of the chosen expert @ input."""


def mixture(b: GraphBuilder, x: str, layer: str, block: Experts, width: int) -> str:
    """The mixture of experts; returns a vector of `width`."""
    module = f"{layer}.{block.name}"
    weights, chosen = _chosen(b, x, block, module)
    gate, up = (_matrix(b, block, module, chosen, part, block.inner, width) for part in ("gate", "up"))
    down = _matrix(b, block, module, chosen, "down", width, block.inner)
    total = ""
    for place in range(block.chosen):
        hidden = _gated(b, block.act, gate(x, place), up(x, place), module)
        result = b.weigh(down(hidden, place), weights, place, module)
        total = b.add(total, result, module) if total else result
    return b.add(total, _shared(b, x, layer, block, block.shared, width), module) if block.shared else total


def _shared(b: GraphBuilder, x: str, layer: str, block: Experts, network: FeedForward, width: int) -> str:
    result = feed_forward(b, x, layer, network, width)
    if not block.shared_gate:
        return result
    gate = f"{layer}.{block.name}.{block.shared_gate}"
    share = b.act(b.linear(x, gate, b.vector(1), False), "sigmoid", gate)
    return b.weigh(result, share, 0, gate)


def _chosen(b: GraphBuilder, x: str, block: Experts, module: str) -> tuple[str, str]:
    """Weights of the chosen experts, and which they are.

    The softmax of the chosen scores is what renormalising their probabilities gives, and the softmax of the
    logarithms of their sigmoids what renormalising these gives.
    """
    router = f"{module}.{block.router}"
    scores = b.linear(x, router, b.vector(block.count), block.router_bias)
    if block.correction:
        weights, chosen = _corrected(b, scores, block, module, router)
    else:
        weights, chosen = b.rank(scores if block.normalised else b.softmax(scores, router), block.chosen, router)
    if block.normalised:
        weights = b.softmax(weights, router)
    return b.scale(weights, block.scale, router), chosen


def _corrected(b: GraphBuilder, scores: str, block: Experts, module: str, router: str) -> tuple[str, str]:
    """Weights of the experts with the best corrected chances, as logarithms if they are normalised, and which."""
    tensor = f"{module}.{block.correction}"
    if block.corrects == "softmax":
        chances = b.softmax(scores, router)
        logarithms = scores
        shifted = b.add(chances, b.row(tensor, router, block.count, (1, block.count)), router)
    else:
        chances = b.act(scores, "sigmoid", router)
        logarithms = b.act(scores, "log_sigmoid", router) if block.normalised else ""
        shifted = b.shift(chances, tensor, router)
    return b.rank(shifted, block.chosen, router, logarithms if block.normalised else chances)


def _gated(b: GraphBuilder, act: str | ClampedSwiglu, gate: str, up: str, module: str) -> str:
    if isinstance(act, str):
        return b.mul(activated(b, gate, act, module, module), up, module)
    raised = b.act(up, clip(act.limit, 1.0), module)
    return b.mul(raised, b.act(gate, swiglu(act.alpha, act.limit), module), module)


def _matrix(b: GraphBuilder, block: Experts, module: str, chosen: str, part: str, rows: int, cols: int) -> Matrix:
    """Declare one matrix of every expert, and its bias if it has one."""
    parameters = {}
    for number in range(block.count):
        name = f"{module}.{block.expert.format(number)}.{getattr(block, part)}"
        tensor, plane, transposed = f"{name}.weight", None, False
        if block.stack:
            name = f"{module}.{block.stack.down if part == 'down' else block.stack.gate_up}"
            tensor, plane, transposed = name, _plane(block, part, number), block.stack.transposed
        parameters[f"expert.{number}"] = b.expert_parameter(tensor, (rows, cols), name, plane, transposed)
    source = name
    if block.stack and block.stack.bias:
        for number in range(block.count):
            bias = b.expert_parameter(f"{name}{block.stack.bias}", (rows,), name, _plane(block, part, number))
            parameters[f"bias.{number}"] = bias
    return lambda x, place: b.expert(x, chosen, place, rows, parameters, source)


def _plane(block: Experts, part: str, number: int) -> Plane:
    if part == "down":
        return Plane(number, block.count)
    assert block.stack
    first, step = (1, 2) if block.stack.interleaved else (block.inner, 1)
    return Plane(number, block.count, part, first if part == "up" else 0, step, 2 * block.inner)
