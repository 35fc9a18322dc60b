"""Tiny models for tests below the pipeline: configs, graphs and random tensors, without files."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.checkpoint.config import CheckpointConfig
from compiler.dtypes import FLOAT32, DType
from compiler.graph.architectures import build_graph
from compiler.graph.ir import Graph
from compiler.graph.passes import passes_for, run_passes
from compiler.rounding import Stored

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 48,
    "vocab_size": 101,
    "intermediate_size": 70,
    "max_position_embeddings": 40,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "attention_bias": True,
    "mlp_bias": True,
}
LLAMA_TIED_MQA = {**LLAMA, "num_key_value_heads": 1, "tie_word_embeddings": True, "head_dim": 10}
OPT: dict[str, Any] = {
    "architectures": ["OPTForCausalLM"],
    "hidden_size": 48,
    "vocab_size": 101,
    "ffn_dim": 70,
    "max_position_embeddings": 40,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
}
OPT_350M = {**OPT, "word_embed_proj_dim": 20, "do_layer_norm_before": False}
CONFIGS = {"llama": LLAMA, "llama-tied-mqa": LLAMA_TIED_MQA, "opt": OPT, "opt-350m": OPT_350M}


def tiny_graph(name: str, fusion: bool = True, reorder: bool = True) -> Graph:
    """Graph of a tiny model after its passes."""
    return run_passes(build_graph(CheckpointConfig(CONFIGS[name])), passes_for(fusion, reorder))


@dataclass(frozen=True)
class RandomTensors:
    """Random float32 tensors by name, the same for the same name."""

    graph: Graph

    def array(self, name: str) -> Stored:
        """Values near 0, or near 1 for the weight of a norm."""
        parameter = self.graph.parameter(name)
        chosen = np.random.default_rng(zlib.crc32(name.encode()))
        values = chosen.standard_normal(parameter.shape).astype(np.float32) * np.float32(0.2)
        return values + 1 if parameter.kind == "norm" and name.endswith("weight") else values

    def dtype(self, name: str) -> DType:
        """Always float32."""
        return FLOAT32
