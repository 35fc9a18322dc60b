"""Building blocks that families share: attention and feed-forward networks, as values and the nodes they make.

A value names modules below its parent and says what is special about the
block; defaults are Llama's.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.checkpoint.alibi import Alibi
from compiler.checkpoint.rope import Rope
from compiler.graph.activations import clip
from compiler.graph.builder import GraphBuilder, Norm
from compiler.graph.ir import Cut, Heads, Shape
from compiler.isa.spec import RopeStyle


@dataclass(frozen=True, slots=True)
class Fused:
    """Query, key and value rows in one tensor.

    Attributes:
        name: module below the attention module.
        grouped: for each key/value head its queries, its key, its value; else all queries, keys, values.
    """

    name: str
    grouped: bool = False

    def cuts(self, heads: Heads) -> tuple[Cut, Cut, Cut]:
        """Rows of the query, the key and the value."""
        width, kv_heads = heads.head_dim, heads.num_key_value_heads
        rows = (heads.num_attention_heads + 2 * kv_heads) * width
        parts = kv_heads if self.grouped else 1
        query, other, period = heads.num_attention_heads * width // parts, kv_heads * width // parts, rows // parts
        return (
            Cut("query", 0, query, period, rows),
            Cut("key", query, other, period, rows),
            Cut("value", query + other, other, period, rows),
        )


@dataclass(frozen=True, slots=True)
class HeadNorm:
    """Normalisation of queries and keys before they rotate.

    Attributes:
        over: "head" or "heads", see `GraphBuilder.head_norm`.
        own: how heads have weights of their own: "" they share one, "matrix" one row each, else the pattern of
            the module of each.
    """

    norm: Norm
    query: str = "q_norm"
    key: str = "k_norm"
    over: str = "head"
    own: str = ""


@dataclass(frozen=True, slots=True)
class Attention:
    """Self-attention.

    Attributes:
        scale: multiplies the scores.
        bias: whether query, key and value have one; output_bias likewise.
        name: module below the layer; query, key, value, output: projections below it.
        fused: the one tensor of query, key and value, if it is one.
        transposed: weights are stored as columns, then rows.
        rope: None for none; style: which lanes it pairs.
        alibi: linear biases, None for none.
        head_norm: None for none.
        window: most tokens seen, 0 for all.
        cap: soft limit of the scores, 0 for none.
        clip: limit of query, key and value, 0 for none.
    """

    scale: float
    bias: bool = False
    output_bias: bool = False
    name: str = "self_attn"
    query: str = "q_proj"
    key: str = "k_proj"
    value: str = "v_proj"
    output: str = "o_proj"
    fused: Fused | None = None
    transposed: bool = False
    rope: Rope | None = None
    style: RopeStyle = RopeStyle.HALF
    alibi: Alibi | None = None
    head_norm: HeadNorm | None = None
    window: int = 0
    cap: float = 0.0
    clip: float = 0.0


@dataclass(frozen=True, slots=True)
class FeedForward:
    """down(act(gate(x)) * up(x)), or down(act(up(x))) without a gate.

    Attributes:
        inner: width inside.
        name: module below the layer, "" for the layer itself.
        gate: "" for none; fused: one module of gate rows, then up rows.
        transposed: weights are stored as columns, then rows.
    """

    inner: int
    act: str
    bias: bool = False
    name: str = "mlp"
    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"
    fused: str = ""
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of gated experts: the chosen ones' results, weighted by the router.

    Attributes:
        count: experts; chosen: how many of them run for a token.
        inner: width inside each.
        normalised: weights of the chosen sum to 1; else they are probabilities among all.
        name: module below the layer; router: below that.
        expert: pattern of an expert's module, with {} for its number; gate, up, down: below that.
    """

    count: int
    chosen: int
    inner: int
    act: str
    normalised: bool
    name: str = "mlp"
    router: str = "gate"
    expert: str = "experts.{}"
    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"


@dataclass(frozen=True, slots=True)
class Positions:
    """What a position is, as values of the graph: the rotary row of each rope, the slopes of each alibi."""

    rotary: dict[Rope, str]
    slopes: dict[Alibi, str]


def attention(b: GraphBuilder, x: str, layer: str, block: Attention, width: int, positions: Positions) -> str:
    """Attention over all tokens so far; returns the output projection, a vector of `width`."""
    module = f"{layer}.{block.name}"
    query, key, value = _query_key_value(b, x, module, block)
    if block.head_norm:
        query = _head_norm(b, query, f"{module}.{block.head_norm.query}", block.head_norm)
        key = _head_norm(b, key, f"{module}.{block.head_norm.key}", block.head_norm)
    if block.rope:
        row, lanes = positions.rotary[block.rope], block.rope.rotary_dim
        query = b.rope(query, row, lanes, block.style, f"{module}.{block.query}")
        key = b.rope(key, row, lanes, block.style, f"{module}.{block.key}")
    b.write_cache(key, value, module)
    slopes, coarse = (positions.slopes[block.alibi], block.alibi.bfloat16) if block.alibi else ("", False)
    attended = b.attend(query, block.scale, module, block.window, block.cap, slopes, coarse)
    output = f"{module}.{block.output}"
    return b.linear(attended, output, b.vector(width), block.output_bias, transposed=block.transposed)


def _query_key_value(b: GraphBuilder, x: str, module: str, block: Attention) -> tuple[str, ...]:
    names = (block.query, block.key, block.value)
    cuts: tuple[Cut | None, ...] = (None, None, None)
    if block.fused:
        names, cuts = (block.fused.name,) * 3, block.fused.cuts(b.heads)
    results = []
    shapes: tuple[Shape, ...] = (b.query(), b.cache(), b.cache())
    for name, shape, cut in zip(names, shapes, cuts, strict=True):
        path = f"{module}.{name}"
        result = b.linear(x, path, shape, block.bias, cut=cut, transposed=block.transposed)
        results.append(b.act(result, clip(block.clip), path) if block.clip else result)
    return tuple(results)


def _head_norm(b: GraphBuilder, x: str, module: str, block: HeadNorm) -> str:
    shape = b.shape(x)
    stored = (shape.heads, shape.width) if block.own == "matrix" else ()
    return b.head_norm(x, module, block.norm, block.over, stored, "" if block.own == "matrix" else block.own)


def feed_forward(b: GraphBuilder, x: str, layer: str, block: FeedForward | Experts, width: int) -> str:
    """The feed-forward network; returns a vector of `width`."""
    if isinstance(block, Experts):
        return mixture(b, x, layer, block, width)
    module = f"{layer}.{block.name}" if block.name else layer
    rows = 2 * block.inner

    def inner(name: str, cut: Cut | None, act: str) -> str:
        path = f"{module}.{name}"
        result = b.linear(x, path, b.vector(block.inner), block.bias, cut=cut, transposed=block.transposed)
        return _activated(b, result, act, path) if act else result

    if block.fused:
        gated = inner(block.fused, Cut("gate", 0, block.inner, rows, rows), block.act)
        up = inner(block.fused, Cut("up", block.inner, block.inner, rows, rows), "")
        hidden = b.mul(gated, up, module)
    elif block.gate:
        gated = inner(block.gate, None, block.act)
        hidden = b.mul(gated, inner(block.up, None, ""), module)
    else:
        hidden = inner(block.up, None, block.act)
    return b.linear(hidden, f"{module}.{block.down}", b.vector(width), block.bias, transposed=block.transposed)


def mixture(b: GraphBuilder, x: str, layer: str, block: Experts, width: int) -> str:
    """The mixture of experts; returns a vector of `width`.

    The softmax of the chosen scores is what renormalising their probabilities gives.
    """
    module = f"{layer}.{block.name}"
    scores = b.linear(x, f"{module}.{block.router}", b.vector(block.count), False)
    if not block.normalised:
        scores = b.softmax(scores, f"{module}.{block.router}")
    weights, chosen = b.rank(scores, block.chosen, f"{module}.{block.router}")
    if block.normalised:
        weights = b.softmax(weights, f"{module}.{block.router}")

    def paths(name: str) -> tuple[str, ...]:
        return tuple(f"{module}.{block.expert.format(number)}.{name}" for number in range(block.count))

    total = ""
    for place in range(block.chosen):
        gate = _activated(b, b.expert(x, chosen, place, paths(block.gate), block.inner), block.act, module)
        hidden = b.mul(gate, b.expert(x, chosen, place, paths(block.up), block.inner), module)
        result = b.weigh(b.expert(hidden, chosen, place, paths(block.down), width), weights, place, module)
        total = b.add(total, result, module) if total else result
    return total


def _activated(b: GraphBuilder, x: str, act: str, module: str) -> str:
    if act == "relu2":  # no line follows its tail, so no table does: relu, squared
        x = b.act(x, "relu", module)
        return b.mul(x, x, module)
    return b.act(x, act, module)
