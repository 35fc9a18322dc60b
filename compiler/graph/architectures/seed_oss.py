"""SeedOssForCausalLM: Llama with biases on query, key and value, and one of its own for the output.

Source: transformers.models.seed_oss.modeling_seed_oss.
"""

from __future__ import annotations

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import GROUPED, ROPES, Architecture, llama_like, rms
from compiler.graph.decoder import Decoder


def seed_oss(config: CheckpointConfig) -> Decoder:
    """A Seed-OSS."""
    return llama_like(
        config,
        rms(config),
        bias=config.flag("attention_bias", True),
        output_bias=config.flag("attention_out_bias", False),
        mlp_bias=config.flag("mlp_bias", False),
    )


SEED_OSS = Architecture(
    name="SeedOssForCausalLM",
    example="ByteDance-Seed/Seed-OSS-36B-Instruct",
    features=("query, key and value biases", "head_dim of its own", GROUPED, ROPES),
    build=seed_oss,
    defaults={"num_key_value_heads": 8, "head_dim": 128},
)
