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
_COMMON = {key: LLAMA[key] for key in LLAMA if key not in ("architectures", "attention_bias", "mlp_bias")}


def _tiny(architecture: str, **fields: Any) -> dict[str, Any]:
    return {**_COMMON, "architectures": [architecture], **fields}


CONFIGS = {
    "llama": LLAMA,
    "llama-tied-mqa": LLAMA_TIED_MQA,
    "opt": OPT,
    "opt-350m": OPT_350M,
    "mistral": _tiny("MistralForCausalLM", sliding_window=3),
    "ministral": _tiny("MinistralForCausalLM", sliding_window=3, layer_types=["full_attention", "sliding_attention"]),
    "qwen2": _tiny("Qwen2ForCausalLM", sliding_window=2, use_sliding_window=True, max_window_layers=1),
    "qwen3": _tiny("Qwen3ForCausalLM", head_dim=10),
}


def tiny_graph(name: str, fusion: bool = True, reorder: bool = True) -> Graph:
    """Graph of a tiny model after its passes."""
    return run_passes(build_graph(CheckpointConfig(CONFIGS[name])), passes_for(fusion, reorder))


@dataclass(frozen=True)
class RandomTensors:
    """Random float32 tensors by name, the same for the same name."""

    graph: Graph

    def array(self, name: str) -> Stored:
        """A tensor of the checkpoint: values near 0, or near 1 for the weight of a norm."""
        kind, shape = self._tensors()[name]
        chosen = np.random.default_rng(zlib.crc32(name.encode()))
        values = chosen.standard_normal(shape).astype(np.float32) * np.float32(0.2)
        return values + 1 if kind == "norm" and name.endswith("weight") else values

    def parameter(self, name: str) -> Stored:
        """A parameter of the graph: what of the tensors belongs to it, in its own shape."""
        parameter = self.graph.parameter(name)
        arrays = [self.array(tensor) for tensor, _ in parameter.tensors]
        whole = np.concatenate(arrays).T if parameter.transposed else np.concatenate(arrays)
        if parameter.cut is not None:
            groups = whole.reshape(-1, parameter.cut.period, *whole.shape[1:])
            whole = groups[:, parameter.cut.first : parameter.cut.first + parameter.cut.count]
        return np.ascontiguousarray(whole).reshape(parameter.shape)

    def _tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {name: (each.kind, shape) for each in self.graph.parameters for name, shape in each.tensors}

    def dtype(self, name: str) -> DType:
        """Always float32."""
        return FLOAT32
