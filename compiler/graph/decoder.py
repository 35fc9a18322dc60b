"""A decoder-only transformer as a value, and the graph it stands for.

A family's file fills in a `Decoder`: widths, names, and for each layer its
attention, its feed-forward network and where the norms stand. Defaults are
Llama's names and topology.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.checkpoint.alibi import Alibi
from compiler.checkpoint.generated import QueryScale
from compiler.checkpoint.rope import Rope
from compiler.graph.activations import softcap
from compiler.graph.blocks import Attention, FeedForward, Positions, attention, feed_forward
from compiler.graph.builder import GraphBuilder, Norm
from compiler.graph.experts import Experts, mixture
from compiler.graph.ir import Graph, Heads


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer.

    Attributes:
        before_attention, after_attention, before_mlp, after_mlp: names of the norms, "" for none.
        parallel: the feed-forward network reads what attention reads (or its own norm of the same value), and
            both results are added at once.
        sublayer_scale: multiplies what attention and feed-forward network add.
        experts: stand in the place of the feed-forward network, None for none.
        residual_normed: what is added to is the normed value (Bloom's option).
    """

    attention: Attention
    mlp: FeedForward
    before_attention: str = "input_layernorm"
    after_attention: str = ""
    before_mlp: str = "post_attention_layernorm"
    after_mlp: str = ""
    parallel: bool = False
    sublayer_scale: float = 1.0
    residual_normed: bool = False
    experts: Experts | None = None


@dataclass(frozen=True, slots=True)
class Decoder:
    """A whole model.

    Attributes:
        layer: what layer i is.
        root: prefix of all names but the head's, "" for none.
        tied: the head is the embedding.
        positions: longest sequence.
        learned_positions: module of a position table, "" for none.
        embedding_norm: norm behind the embedding, "" for none.
        embedding_scale: multiplies the embedding, rounded to the build's dtype first if embedding_rounded.
        logit_scale: multiplies the logits; logit_cap: their soft limit, 0 for none.
        reread: a text that outgrows the context of pretraining under longrope is read again by the long factors;
            else the keys of before stay.
    """

    hidden: int
    vocab: int
    layers: int
    positions: int
    heads: Heads
    norm: Norm
    layer: Callable[[int], Layer]
    tied: bool
    root: str = "model"
    embedding: str = "embed_tokens"
    layer_list: str = "layers"
    final_norm: str = "norm"
    head: str = "lm_head"
    head_bias: bool = False
    learned_positions: str = ""
    embedding_norm: str = ""
    embedding_scale: float = 1.0
    embedding_rounded: bool = False
    logit_scale: float = 1.0
    logit_cap: float = 0.0
    reread: bool = False


def build_decoder(architecture: str, model: Decoder) -> Graph:
    """The graph of one decode step."""
    root = f"{model.root}." if model.root else ""
    b = GraphBuilder(architecture, model.heads, prefix=root)
    layers = [model.layer(index) for index in range(model.layers)]
    embedding = f"{root}{model.embedding}"
    x = b.embed(embedding, model.vocab, model.hidden, "token")
    x = b.scale(x, model.embedding_scale, embedding, model.embedding_rounded)
    if model.learned_positions:
        module = f"{root}{model.learned_positions}"
        x = b.add(x, b.embed(module, model.positions, model.hidden, "position"), module)
    if model.embedding_norm:
        x = b.norm(x, f"{root}{model.embedding_norm}", model.norm)
    positions = _positions(b, layers, model)
    for index, layer in enumerate(layers):
        b.layer = index
        x = _layer(b, x, f"{root}{model.layer_list}.{index}", layer, model, positions)
    b.layer = -1
    x = b.norm(x, f"{root}{model.final_norm}", model.norm)
    logits = b.linear(x, model.head, b.vector(model.vocab), model.head_bias, embedding if model.tied else "")
    if model.logit_cap:
        logits = b.act(logits, softcap(model.logit_cap, model.logit_scale), model.head)
    else:
        logits = b.scale(logits, model.logit_scale, model.head)
    b.sample(logits)
    return b.finish(model.layers, model.vocab, model.positions)


def _positions(b: GraphBuilder, layers: list[Layer], model: Decoder) -> Positions:
    length = model.positions
    rotary: dict[Rope, str] = {}
    slopes: dict[Alibi, str] = {}
    scales: dict[QueryScale, str] = {}
    for layer in layers:
        rope, alibi, scale = layer.attention.rope, layer.attention.alibi, layer.attention.query_scale
        if rope is not None and rope not in rotary:
            rotary[rope] = b.rotary(rope, length, model.reread)
        if alibi is not None and alibi not in slopes:
            slopes[alibi] = b.slopes(alibi)
        if scale is not None and scale not in scales:
            scales[scale] = b.query_scale(scale, length)
    return Positions(rotary, slopes, scales)


def _layer(b: GraphBuilder, x: str, module: str, layer: Layer, model: Decoder, positions: Positions) -> str:
    def norm(value: str, name: str) -> str:
        return b.norm(value, f"{module}.{name}", model.norm) if name else value

    def added(value: str, name: str, path: str) -> str:
        return b.scale(norm(value, name), layer.sublayer_scale, path)

    def network(read: str) -> str:
        if layer.experts:
            return mixture(b, read, module, layer.experts, model.hidden)
        return feed_forward(b, read, module, layer.mlp, model.hidden)

    attended_path = f"{module}.{layer.attention.name}"
    mlp_name = (layer.experts or layer.mlp).name
    mlp_path = f"{module}.{mlp_name}" if mlp_name else module
    inside = norm(x, layer.before_attention)
    attended = attention(b, inside, module, layer.attention, model.hidden, positions)
    attended = added(attended, layer.after_attention, attended_path)
    if layer.parallel:
        read = norm(x, layer.before_mlp) if layer.before_mlp else inside
        result = added(network(read), layer.after_mlp, mlp_path)
        return b.add(b.add(x, attended, attended_path), result, mlp_path)
    x = b.add(inside if layer.residual_normed else x, attended, attended_path)
    read = norm(x, layer.before_mlp)
    result = added(network(read), layer.after_mlp, mlp_path)
    return b.add(read if layer.residual_normed else x, result, mlp_path)
