"""What a family's file provides, and the config fields that families have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from compiler.checkpoint.config import LAYER_LIMIT, POSITION_LIMIT, VOCAB_LIMIT, CheckpointConfig, check_divides
from compiler.checkpoint.rope import Rope, read_rope
from compiler.errors import UnsupportedModelError
from compiler.graph.activations import ACTIVATIONS
from compiler.graph.blocks import Attention, FeedForward
from compiler.graph.builder import Norm
from compiler.graph.decoder import Decoder, Layer, build_decoder
from compiler.graph.ir import Graph, Heads

HEAD_LIMIT = 1024
HEAD_DIM_LIMIT = 1024

ROPES = "rope: default, linear, dynamic, yarn, longrope, llama3"
GROUPED = "grouped and multi-query attention"
WINDOW = "sliding window"

SLIDING = "sliding_attention"
FULL = "full_attention"


@dataclass(frozen=True, slots=True)
class Architecture:
    """One row of the table of supported architectures.

    Attributes:
        name: Hugging Face class, as `architectures` of config.json spells it.
        example: a model id on the hub.
        features: what of the family works.
        build: config to the model it describes.
        missing: what of the family does not work, "" when all does.
        harmless: endings of tensors that its checkpoints hold and nobody reads; beside: beginnings of such.
        renames: beginnings of tensor names, and what some checkpoints have in their place.
        defaults: what transformers takes for a field that config.json does not have, where that is not Llama's;
            null counts as a value, but for `rope_parameters`.
    """

    name: str
    example: str
    features: tuple[str, ...]
    build: Callable[[CheckpointConfig], Decoder | Graph]
    missing: str = ""
    harmless: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    renames: tuple[tuple[str, str], ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def graph(self, config: CheckpointConfig) -> Graph:
        """The graph of one decode step; UnsupportedModelError for a field that makes no sense."""
        given = {key: value for key, value in config.fields.items() if value is not None or key != "rope_parameters"}
        made = self.build(CheckpointConfig({**self.defaults, **given}))
        graph = made if isinstance(made, Graph) else build_decoder(self.name, made)
        return replace(graph, renames=self.renames)


def read_layers(config: CheckpointConfig, name: str = "num_hidden_layers") -> int:
    """Number of layers, checked."""
    return config.integer(name, 1, LAYER_LIMIT)


def read_act(config: CheckpointConfig, name: str, default: str) -> str:
    """An activation function by its Hugging Face name."""
    return config.choice(name, (*ACTIVATIONS, "relu2"), default)


def read_clip(config: CheckpointConfig, name: str = "clip_qkv", default: float = 0.0) -> float:
    """A limit of absolute values, such as of query, key and value; 0.0 for none."""
    return default if config.fields.get(name) is None else config.number(name, 1e-3, 1e4)


def read_cap(config: CheckpointConfig, name: str) -> float:
    """A soft limit, 0.0 for none."""
    return 0.0 if config.fields.get(name) is None else config.number(name, 1e-3, 1e6)


def read_heads(
    config: CheckpointConfig, grouped: bool, names: tuple[str, str] = ("hidden_size", "num_attention_heads")
) -> Heads:
    """Attention heads; `grouped` families may have fewer key/value heads and a head_dim of their own.

    Raises:
        UnsupportedModelError: counts that do not divide.
    """
    hidden = config.integer(names[0])
    heads = config.integer(names[1], 1, HEAD_LIMIT)
    if not grouped:
        return Heads(heads, heads, check_divides(names[0], hidden, names[1], heads))
    kv_heads = config.integer("num_key_value_heads", 1, HEAD_LIMIT, heads)
    check_divides(names[1], heads, "num_key_value_heads", kv_heads)
    if config.fields.get("head_dim") is None:
        return Heads(heads, kv_heads, check_divides(names[0], hidden, names[1], heads))
    return Heads(heads, kv_heads, config.integer("head_dim", 1, HEAD_DIM_LIMIT))


def read_windows(config: CheckpointConfig, layers: int, default: Callable[[int], bool]) -> tuple[int, ...]:
    """Tokens each layer sees, 0 for all.

    Args:
        default: whether a layer slides where the config has no `layer_types`.

    Raises:
        UnsupportedModelError: layers of another kind, or of another number.
    """
    types = config.fields.get("layer_types")
    if types is None:
        types = [SLIDING if default(index) else FULL for index in range(layers)]
    if not isinstance(types, list) or len(types) < layers:
        raise UnsupportedModelError(
            f"config.json: layer_types must be a list with one entry for each of {layers} layers"
        )
    for kind in types[:layers]:
        if kind not in (SLIDING, FULL):
            raise UnsupportedModelError(f"config.json: layer_types has {str(kind)[:60]!r}; known are {SLIDING}, {FULL}")
    if config.fields.get("sliding_window") is None:
        if SLIDING in types[:layers] and config.fields.get("layer_types") is not None:
            raise UnsupportedModelError(f"config.json: layer_types has {SLIDING}, and sliding_window is missing")
        return (0,) * layers
    window = config.integer("sliding_window", 1, POSITION_LIMIT)
    return tuple(window if kind == SLIDING else 0 for kind in types[:layers])


def rms(config: CheckpointConfig, default: float = 1e-6, offset: float = 0.0) -> Norm:
    """The RMS norm of a config."""
    return Norm("rmsnorm", config.number("rms_norm_eps", 0.0, 1.0, default), offset=offset)


def layernorm(config: CheckpointConfig, name: str) -> Norm:
    """The layer norm of a config, with weight and bias; `name` is the field of its epsilon."""
    return Norm("layernorm", config.number(name, 0.0, 1.0, 1e-5), bias=True)


def read_layer_ropes(
    config: CheckpointConfig, model: Decoder, theta: float, sliding_theta: str, sliding_default: float
) -> dict[str, Rope]:
    """The rotation of sliding and of full layers.

    `rope_parameters` names both; before transformers 5, `rope_theta` and scaling were for the full layers and
    `sliding_theta` the field with the base of the others.
    """
    width, positions = model.heads.head_dim, model.positions
    if isinstance(config.table("rope_parameters").get(FULL), Mapping):
        return {kind: read_rope(config, width, positions, theta, layer_type=kind) for kind in (FULL, SLIDING)}
    full = read_rope(config, width, positions, theta)
    base = config.number(sliding_theta, 1.0, 1e12, sliding_default)
    plain = {key: value for key, value in config.fields.items() if key not in ("rope_scaling", "rope_parameters")}
    return {FULL: full, SLIDING: read_rope(CheckpointConfig({**plain, "rope_theta": base}), width, positions, base)}


def llama_like(
    config: CheckpointConfig,
    norm: Norm,
    *,
    layers_name: str = "num_hidden_layers",
    act: str = "silu",
    act_name: str = "hidden_act",
    bias: bool = False,
    output_bias: bool = False,
    mlp_bias: bool = False,
    tied: bool = False,
    theta: float = 10000.0,
    partial: float | None = None,
) -> Decoder:
    """A decoder with Llama's config fields, names and topology; the arguments are biases and defaults of fields."""
    heads, layers = read_heads(config, grouped=True), read_layers(config, layers_name)
    positions = config.integer("max_position_embeddings", 1, POSITION_LIMIT)
    rope = read_rope(config, heads.head_dim, positions, theta, partial)
    layer = Layer(
        Attention(heads.head_dim**-0.5, bias, output_bias, rope=rope),
        FeedForward(config.integer("intermediate_size"), read_act(config, act_name, act), mlp_bias),
    )
    return Decoder(
        hidden=config.integer("hidden_size"),
        vocab=config.integer("vocab_size", 1, VOCAB_LIMIT),
        layers=layers,
        positions=positions,
        heads=heads,
        norm=norm,
        layer=lambda _index: layer,
        tied=config.flag("tie_word_embeddings", tied),
    )


def with_layers(model: Decoder, change: Callable[[int, Layer], Layer]) -> Decoder:
    """The model with each layer changed."""
    made = tuple(change(index, model.layer(index)) for index in range(model.layers))
    return replace(model, layer=lambda index: made[index])


def with_windows(model: Decoder, windows: Sequence[int]) -> Decoder:
    """The model with the tokens that each layer sees."""
    return with_layers(
        model, lambda index, layer: replace(layer, attention=replace(layer.attention, window=windows[index]))
    )
