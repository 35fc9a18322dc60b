"""ExaoneForCausalLM (EXAONE 3.0 and 3.5), Exaone4ForCausalLM and ExaoneMoeForCausalLM (K-EXAONE).

The first is a Llama under GPT-2's names; its own modelling code is never run.

Source: config.json and tensors of LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct; transformers.models.exaone4 and
exaone_moe.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import LAYER_LIMIT, CheckpointConfig
from compiler.graph.architectures.family import (
    GROUPED,
    ROPES,
    Architecture,
    llama_like,
    read_windows,
    rms,
    with_layers,
    with_windows,
)
from compiler.graph.architectures.glm_moe import sigmoid_experts
from compiler.graph.architectures.mixtures import read_sparse
from compiler.graph.blocks import HeadNorm
from compiler.graph.builder import Norm
from compiler.graph.decoder import Decoder, Layer


def exaone(config: CheckpointConfig) -> Decoder:
    """EXAONE 3."""
    eps = config.number("layer_norm_epsilon", 0.0, 1.0, 1e-5)
    layers = "num_layers" if "num_layers" in config.fields else "num_hidden_layers"
    model = llama_like(config, Norm("rmsnorm", eps), act_name="activation_function", layers_name=layers)

    def change(_index: int, layer: Layer) -> Layer:
        block = replace(layer.attention, name="attn.attention", output="out_proj")
        network = replace(layer.mlp, gate="c_fc_0", up="c_fc_1", down="c_proj")
        return Layer(block, network, before_attention="ln_1", before_mlp="ln_2")

    model = with_layers(model, change)
    return replace(model, root="transformer", embedding="wte", layer_list="h", final_norm="ln_f")


def exaone4(config: CheckpointConfig) -> Decoder:
    """EXAONE 4: norms behind the blocks."""
    return with_layers(
        _hybrid(config),
        lambda _, layer: replace(
            layer,
            before_attention="",
            after_attention="post_attention_layernorm",
            before_mlp="",
            after_mlp="post_feedforward_layernorm",
        ),
    )


def exaone_moe(config: CheckpointConfig) -> Decoder:
    """K-EXAONE: norms before the blocks, which are mixtures behind the first layers."""
    dense = config.integer("first_k_dense_replace", 0, LAYER_LIMIT, 1)
    experts = sigmoid_experts(config, config.flag("norm_topk_prob", True), "num_shared_experts", 2.5)
    experts = replace(experts, correction="e_score_correction_bias")
    model = _hybrid(config)
    sparse = read_sparse(config, model.layers, lambda layer: layer >= dense)
    return with_layers(model, lambda index, layer: replace(layer, experts=experts if sparse[index] else None))


def _hybrid(config: CheckpointConfig) -> Decoder:
    """A norm on every query and key head; where some layers slide, only those rotate."""
    norm = rms(config, 1e-5)
    model = llama_like(config, norm)
    pattern = config.integer("sliding_window_pattern", 0, 1024, 4) if config.fields.get("layer_types") is None else 0
    windows = read_windows(config, model.layers, lambda layer: pattern > 0 and (layer + 1) % pattern != 0)
    hybrid = config.fields.get("sliding_window") is not None

    def change(index: int, layer: Layer) -> Layer:
        block = replace(layer.attention, head_norm=HeadNorm(norm))
        return replace(layer, attention=replace(block, rope=None) if hybrid and not windows[index] else block)

    return with_windows(with_layers(model, change), windows)


EXAONE = Architecture(
    name="ExaoneForCausalLM",
    example="LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct",
    features=(GROUPED, ROPES, "tied or untied head"),
    build=exaone,
    harmless=(".attn.attention.bias", ".attn.attention.rotary.inv_freq"),
)
EXAONE4 = Architecture(
    name="Exaone4ForCausalLM",
    example="LGAI-EXAONE/EXAONE-4.0-1.2B",
    features=("sliding layers with rope, full layers without", "norm of each query and key head", GROUPED, ROPES),
    build=exaone4,
    defaults={"num_key_value_heads": 32, "sliding_window": 4096},
)
EXAONE_MOE = Architecture(
    name="ExaoneMoeForCausalLM",
    example="LGAI-EXAONE/K-EXAONE-236B-A23B",
    features=("mixture of experts chosen by sigmoid, shared experts, dense layers", *EXAONE4.features),
    build=exaone_moe,
    missing="experts chosen by groups",
    beside=("mtp.", "model.mtp"),
    defaults={**EXAONE4.defaults, "num_experts": 64, "num_experts_per_tok": 8, "moe_intermediate_size": 1024},
)
