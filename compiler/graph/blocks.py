"""Building blocks that families share: attention and feed-forward networks."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.graph.builder import GraphBuilder
from compiler.isa.spec import RopeStyle


@dataclass(frozen=True, slots=True)
class Attention:
    """Self-attention of one layer: module names, biases, scale and rotation.

    Attributes:
        module: path of the attention module.
        query, key, value, output: names of the projections below it.
        bias: whether query, key and value have one; output_bias likewise.
        scale: multiplies the scores.
        rotary: value of the rotary row, "" for none.
        rotary_dim, style: how much of each head rotates, and in which pairs.
    """

    module: str
    scale: float
    bias: bool
    output_bias: bool
    query: str = "q_proj"
    key: str = "k_proj"
    value: str = "v_proj"
    output: str = "o_proj"
    rotary: str = ""
    rotary_dim: int = 0
    style: RopeStyle = RopeStyle.HALF


def attention(b: GraphBuilder, x: str, block: Attention, width: int) -> str:
    """Attention over all tokens so far; returns the output projection, a vector of `width`."""
    query = b.linear(x, f"{block.module}.{block.query}", b.query(), block.bias)
    key = b.linear(x, f"{block.module}.{block.key}", b.cache(), block.bias)
    value = b.linear(x, f"{block.module}.{block.value}", b.cache(), block.bias)
    if block.rotary:
        query = b.rope(query, block.rotary, block.rotary_dim, block.style, f"{block.module}.{block.query}")
        key = b.rope(key, block.rotary, block.rotary_dim, block.style, f"{block.module}.{block.key}")
    b.write_cache(key, value, block.module)
    attended = b.attend(query, block.scale, block.module)
    return b.linear(attended, f"{block.module}.{block.output}", b.vector(width), block.output_bias)


def gated_mlp(b: GraphBuilder, x: str, module: str, inner: int, width: int, act: str, bias: bool) -> str:
    """down(act(gate(x)) * up(x))."""
    gate = b.linear(x, f"{module}.gate_proj", b.vector(inner), bias)
    gate = b.act(gate, act, f"{module}.gate_proj")
    up = b.linear(x, f"{module}.up_proj", b.vector(inner), bias)
    product = b.mul(gate, up, module)
    return b.linear(product, f"{module}.down_proj", b.vector(width), bias)


def mlp(
    b: GraphBuilder, x: str, module: str, inner: int, width: int, act: str, bias: bool, names: tuple[str, str]
) -> str:
    """second(act(first(x)))."""
    first, second = (f"{module}.{name}" for name in names)
    hidden = b.act(b.linear(x, first, b.vector(inner), bias), act, first)
    return b.linear(hidden, second, b.vector(width), bias)
