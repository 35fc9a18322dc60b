"""NanoChatForCausalLM: norms without weights, also behind the embedding, and a rotation the other way round.

Source: transformers.models.nanochat.modeling_nanochat.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import GROUPED, ROPES, Architecture, llama_like, read_cap, rms, with_layers
from compiler.graph.blocks import HeadNorm
from compiler.graph.decoder import Decoder, Layer


def nanochat(config: CheckpointConfig) -> Decoder:
    """A nanochat; query and key heads are normalised behind the rotation."""
    bias, norm = config.flag("attention_bias", False), replace(rms(config), weight=False)
    model = llama_like(config, norm, act="relu2", bias=bias, output_bias=bias)

    def change(_index: int, layer: Layer) -> Layer:
        assert layer.attention.rope
        rope = replace(layer.attention.rope, backwards=True)
        block = replace(layer.attention, rope=rope, head_norm=HeadNorm(norm, rotated=True))
        return replace(layer, attention=block, mlp=replace(layer.mlp, gate="", up="fc1", down="fc2"))

    cap = read_cap(config, "final_logit_softcapping")
    return replace(with_layers(model, change), embedding_norm="norm", logit_cap=cap)


NANOCHAT = Architecture(
    name="NanoChatForCausalLM",
    example="karpathy/nanochat-d32",
    features=("norms without weights", "soft cap of the logits", "squared ReLU", GROUPED, ROPES),
    build=nanochat,
    defaults={"final_logit_softcapping": 15.0},
)
