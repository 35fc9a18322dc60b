"""CwmForCausalLM: Llama 3 in which three of four layers slide.

Source: transformers.models.cwm.modeling_cwm.
"""

from __future__ import annotations

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import (
    GROUPED,
    ROPES,
    Architecture,
    llama_like,
    read_windows,
    rms,
    with_windows,
)
from compiler.graph.decoder import Decoder

_PATTERN = 4  # every fourth layer, the first one included, sees everything


def cwm(config: CheckpointConfig) -> Decoder:
    """A Code World Model."""
    model = llama_like(config, rms(config, 1e-5), mlp_bias=config.flag("mlp_bias", False))
    return with_windows(model, read_windows(config, model.layers, lambda layer: layer % _PATTERN != 0))


CWM = Architecture(
    name="CwmForCausalLM",
    example="facebook/cwm",
    features=("sliding and full layers", GROUPED, ROPES),
    build=cwm,
    defaults={
        "num_key_value_heads": 8,
        "head_dim": 128,
        "sliding_window": 8192,
        "rope_theta": 1e6,
        "rope_parameters": {
            "rope_theta": 1e6,
            "rope_type": "llama3",
            "factor": 16.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192,
        },
    },
)
