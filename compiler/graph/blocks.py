"""Building blocks that families share: attention and feed-forward networks, as values and the nodes they make.

A value names modules below its parent and says what is special about the
block; defaults are Llama's.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.checkpoint.alibi import Alibi
from compiler.checkpoint.generated import QueryScale
from compiler.checkpoint.rope import Rope
from compiler.graph.activations import limits
from compiler.graph.builder import GraphBuilder, Norm
from compiler.graph.ir import Cut, Heads, Shape
from compiler.isa.spec import RopeStyle

XIELU = "xielu"
"""The activation with parameters of its own."""


@dataclass(frozen=True, slots=True)
class Fused:
    """Query, key and value rows in one tensor.

    Attributes:
        name: module below the attention module.
        grouped: for each key/value head its queries, its key, its value; else all queries, keys, values.
        parts: the tensor is so many of them, each with its share of the heads; with `grouped`, one for each.
        value_first: values stand before keys.
    """

    name: str
    grouped: bool = False
    parts: int = 1
    value_first: bool = False

    def cuts(self, heads: Heads) -> tuple[Cut, Cut, Cut]:
        """Rows of the query, the key and the value."""
        width, kv_heads = heads.head_dim, heads.num_key_value_heads
        rows = (heads.num_attention_heads + 2 * kv_heads) * width
        parts = kv_heads if self.grouped else self.parts
        query, other, period = heads.num_attention_heads * width // parts, kv_heads * width // parts, rows // parts
        key, value = (query + other, query) if self.value_first else (query, query + other)
        return (
            Cut("query", 0, query, period, rows),
            Cut("key", key, other, period, rows),
            Cut("value", value, other, period, rows),
        )


@dataclass(frozen=True, slots=True)
class HeadNorm:
    """Normalisation of queries and keys, before they rotate unless `rotated`.

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
    rotated: bool = False


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
        clip: limit of query, key and value behind their norms, 0 for none.
        sinks: tensor of one score per head that belongs to no token, "" for none.
        query_scale: multiplies rotated queries, None for none.
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
    sinks: str = ""
    query_scale: QueryScale | None = None


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
class Positions:
    """What a position is, as values of the graph: a rotary row, slopes, what queries are multiplied by."""

    rotary: dict[Rope, str]
    slopes: dict[Alibi, str]
    query_scales: dict[QueryScale, str]


def attention(b: GraphBuilder, x: str, layer: str, block: Attention, width: int, positions: Positions) -> str:
    """Attention over all tokens so far; returns the output projection, a vector of `width`."""
    module = f"{layer}.{block.name}"
    query, key, value = _query_key_value(b, x, module, block)
    if block.head_norm and not block.head_norm.rotated:
        query, key = _head_norms(b, query, key, module, block.head_norm)
    for limit in limits(block.clip) if block.clip else ():
        query, key, value = (b.act(each, limit, module) for each in (query, key, value))
    if block.rope:
        row, lanes = positions.rotary[block.rope], block.rope.rotary_dim
        query = b.rope(query, row, lanes, block.style, f"{module}.{block.query}")
        key = b.rope(key, row, lanes, block.style, f"{module}.{block.key}")
    if block.head_norm and block.head_norm.rotated:
        query, key = _head_norms(b, query, key, module, block.head_norm)
    if block.query_scale:
        query = b.weigh(query, positions.query_scales[block.query_scale], 0, module)
    b.write_cache(key, value, module)
    slopes, coarse = (positions.slopes[block.alibi], block.alibi.bfloat16) if block.alibi else ("", False)
    sinks = b.sinks(f"{module}.{block.sinks}", module) if block.sinks else ""
    attended = b.attend(query, block.scale, module, block.window, block.cap, slopes, coarse, sinks)
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
        results.append(b.linear(x, path, shape, block.bias, cut=cut, transposed=block.transposed))
    return tuple(results)


def _head_norms(b: GraphBuilder, query: str, key: str, module: str, block: HeadNorm) -> tuple[str, str]:
    return (
        _head_norm(b, query, f"{module}.{block.query}", block),
        _head_norm(b, key, f"{module}.{block.key}", block),
    )


def _head_norm(b: GraphBuilder, x: str, module: str, block: HeadNorm) -> str:
    shape = b.shape(x)
    stored = (shape.heads, shape.width) if block.own == "matrix" else None
    return b.head_norm(x, module, block.norm, block.over, stored, "" if block.own == "matrix" else block.own)


def feed_forward(b: GraphBuilder, x: str, layer: str, block: FeedForward, width: int) -> str:
    """The feed-forward network; returns a vector of `width`."""
    module = f"{layer}.{block.name}" if block.name else layer
    rows = 2 * block.inner

    def inner(name: str, cut: Cut | None, act: str) -> str:
        path = f"{module}.{name}"
        result = b.linear(x, path, b.vector(block.inner), block.bias, cut=cut, transposed=block.transposed)
        return activated(b, result, act, path, module) if act else result

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


def activated(b: GraphBuilder, x: str, act: str, path: str, network: str) -> str:
    """An activation function by its Hugging Face name, of a value of module `path` in a feed-forward network."""
    if act == "relu2":  # no line follows its tail, so no table does: relu, squared
        x = b.act(x, "relu", path)
        return b.mul(x, x, path)
    if act == XIELU:
        return _xielu(b, x, path, f"{network}.act_fn")
    return b.act(x, act, path)


def _xielu(b: GraphBuilder, x: str, path: str, module: str) -> str:
    """a x^2 + c x above 0, b (exp(x) - 1 - x) + c x below, with learned a, b, c.

    Source: arXiv 2411.13010; transformers.activations.XIELUActivation.
    """

    def learned(name: str, stored_shape: tuple[int, ...]) -> str:
        return b.scalar(f"{module}.{name}", module, stored_shape)

    beta = learned("beta", ())
    above = b.act(learned("alpha_p", (1,)), "softplus", module)
    below = b.add(beta, b.act(learned("alpha_n", (1,)), "softplus", module), module)
    positive = b.act(x, "relu", path)
    parts = (
        b.weigh(b.mul(positive, positive, path), above, 0, path),
        b.weigh(b.act(x, "negative_exponential", path), below, 0, path),
    )
    return b.add(b.add(*parts, path), b.weigh(x, beta, 0, path), path)
