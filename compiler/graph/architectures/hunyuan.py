"""HunYuanDenseV1ForCausalLM and HunYuanMoEV1ForCausalLM: norms of query and key heads behind the rotation.

Source: transformers.models.hunyuan_v1_dense and hunyuan_v1_moe.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.errors import UnsupportedModelError
from compiler.graph.architectures.family import GROUPED, ROPES, Architecture, llama_like, read_heads, rms, with_layers
from compiler.graph.architectures.mixtures import read_experts
from compiler.graph.blocks import FeedForward, HeadNorm
from compiler.graph.decoder import Decoder


def hunyuan(config: CheckpointConfig) -> Decoder:
    """A dense HunYuan."""
    bias, norm = config.flag("attention_bias", False), rms(config, 1e-5)
    model = llama_like(_fixed_base(config), norm, bias=bias, output_bias=bias)
    head_norm = HeadNorm(norm, "query_layernorm", "key_layernorm", rotated=True)
    return with_layers(model, lambda _, layer: replace(layer, attention=replace(layer.attention, head_norm=head_norm)))


def hunyuan_moe(config: CheckpointConfig) -> Decoder:
    """A HunYuan of mixtures, with an expert that runs for every token."""
    given = {"num_experts": _one(config, "num_experts"), "num_experts_per_tok": _one(config, "moe_topk")}
    experts = read_experts(CheckpointConfig({**config.fields, **given}), "intermediate_size", True)
    shared = FeedForward(experts.inner, str(experts.act), name="mlp.shared_mlp")
    experts = replace(experts, router="gate.wg", shared=shared)
    return with_layers(hunyuan(config), lambda _, layer: replace(layer, experts=experts))


def _one(config: CheckpointConfig, name: str) -> int:
    """A field that may be a list of the same number for each layer."""
    values = set(config.integers(name)) or {1}
    if len(values) > 1:
        raise UnsupportedModelError(f"config.json: {name} differs from layer to layer; it must be the same for all")
    return values.pop()


def _fixed_base(config: CheckpointConfig) -> CheckpointConfig:
    """A dynamic rope with `alpha` stretches the base once and for all, whatever the length of the text."""
    table = CheckpointConfig(config.table("rope_scaling") or config.table("rope_parameters"))
    if table.fields.get("rope_type", table.fields.get("type")) != "dynamic" or not table.fields.get("alpha"):
        return config
    width = read_heads(config, grouped=True).head_dim
    if width < 4:
        raise UnsupportedModelError(f"config.json: head_dim is {width}; rope_type dynamic needs 4")
    theta = table.number("rope_theta", 1.0, 1e12, config.number("rope_theta", 1.0, 1e12, 10000.0))
    base = theta * table.number("alpha", 1e-3, 1e6) ** (width / (width - 2))
    return CheckpointConfig(
        {**config.fields, "rope_scaling": None, "rope_parameters": {"rope_type": "default", "rope_theta": base}}
    )


HUNYUAN = Architecture(
    name="HunYuanDenseV1ForCausalLM",
    example="tencent/Hunyuan-7B-Instruct",
    features=("norm of each query and key head behind the rotation", "dynamic rope with alpha", GROUPED, ROPES),
    build=hunyuan,
)
HUNYUAN_MOE = Architecture(
    name="HunYuanMoEV1ForCausalLM",
    example="tencent/Hunyuan-A13B-Instruct",
    features=("mixture of experts with a shared one", *HUNYUAN.features),
    build=hunyuan_moe,
    missing="another number of experts in each layer",
)
