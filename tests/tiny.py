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
_COMMON: dict[str, Any] = {
    key: LLAMA[key] for key in LLAMA if key not in ("architectures", "attention_bias", "mlp_bias")
}


def _tiny(architecture: str, **fields: Any) -> dict[str, Any]:
    return {**_COMMON, "architectures": [architecture], **fields}


_GPT: dict[str, Any] = {"vocab_size": 101, "n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 40}


def _gpt(architecture: str, **fields: Any) -> dict[str, Any]:
    return {**_GPT, "architectures": [architecture], **fields}


def _wrapped(architecture: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"architectures": [architecture], "text_config": {**_COMMON, "model_type": kind, **fields}}


_MANY = {"n_routed_experts": 5, "num_experts_per_tok": 3}

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "llama-tied-mqa": LLAMA_TIED_MQA,
    "opt": OPT,
    "opt-350m": OPT_350M,
    "mistral": _tiny("MistralForCausalLM", sliding_window=3),
    "gpt2": _gpt("GPT2LMHeadModel"),
    "falcon": _tiny("FalconForCausalLM", new_decoder_architecture=True, num_kv_heads=2, alibi=True, bias=True),
    "stablelm": _tiny("StableLmForCausalLM", qk_layernorm=True, use_parallel_residual=True),
    "cohere": _tiny("CohereForCausalLM", use_qk_norm=True, attention_bias=True),
    "olmo2": _tiny("Olmo2ForCausalLM", head_dim=10, attention_bias=True),
    "gemma2": _tiny("Gemma2ForCausalLM", head_dim=10, sliding_window=2, attn_logit_softcapping=2.0),
    "qwen3-moe": _tiny(
        "Qwen3MoeForCausalLM",
        num_experts=5,
        num_experts_per_tok=3,
        moe_intermediate_size=24,
        norm_topk_prob=True,
        decoder_sparse_step=2,
    ),
    "bloom": {"architectures": ["BloomForCausalLM"], "vocab_size": 101, "hidden_size": 48, "n_layer": 2, "n_head": 6},
}
"""Tiny models that between them need every piece of machinery."""

EVERY: dict[str, dict[str, Any]] = {
    **CONFIGS,
    "gemma3-wrapped": _wrapped("Gemma3ForConditionalGeneration", "gemma3_text", head_dim=8, sliding_window=3),
    "llava": _wrapped("LlavaForConditionalGeneration", "llama"),
    "mistral3": _wrapped("Mistral3ForConditionalGeneration", "mistral", sliding_window=3),
    "codegen": _gpt("CodeGenForCausalLM", rotary_dim=6),
    "cwm": _tiny("CwmForCausalLM", head_dim=8, sliding_window=3),
    "ernie4-5": _tiny("Ernie4_5ForCausalLM", head_dim=8),
    "gpt-neo": {
        "architectures": ["GPTNeoForCausalLM"],
        "vocab_size": 101,
        "hidden_size": 48,
        "num_layers": 2,
        "num_heads": 4,
        "max_position_embeddings": 40,
        "window_size": 3,
    },
    "granitemoe": _tiny("GraniteMoeForCausalLM", num_local_experts=5, num_experts_per_tok=2),
    "granitemoeshared": _tiny("GraniteMoeSharedForCausalLM", num_local_experts=5, shared_intermediate_size=20),
    "dots1": _tiny(
        "Dots1ForCausalLM", sliding_window=3, max_window_layers=1, n_shared_experts=2, moe_intermediate_size=20, **_MANY
    ),
    "glm4-moe": _tiny("Glm4MoeForCausalLM", moe_intermediate_size=20, use_qk_norm=True, **_MANY),
    "helium": _tiny("HeliumForCausalLM", head_dim=8),
    "hunyuan": _tiny("HunYuanDenseV1ForCausalLM"),
    "granite-swa": _tiny("GraniteSWAForCausalLM", sliding_window=3, layer_rope_theta=[0, 100.0]),
    "granitemoe-swa": _tiny("GraniteMoeSWAForCausalLM", num_local_experts=5, sliding_window=3),
    "mellum": _tiny(
        "MellumForCausalLM", num_local_experts=5, num_experts_per_tok=2, moe_intermediate_size=20, head_dim=8
    ),
    "exaone-moe": _tiny(
        "ExaoneMoeForCausalLM", num_experts=5, num_experts_per_tok=2, moe_intermediate_size=20, sliding_window=3
    ),
    "nanochat": _tiny("NanoChatForCausalLM"),
    "flex-olmo": _tiny("FlexOlmoForCausalLM", num_experts=5, num_experts_per_tok=2),
    "ernie4-5-moe": _tiny(
        "Ernie4_5_MoeForCausalLM", moe_num_experts=5, moe_k=2, moe_intermediate_size=20, moe_num_shared_experts=1
    ),
    "hunyuan-moe": _tiny("HunYuanMoEV1ForCausalLM", num_experts=5, moe_topk=[2, 2]),
    "minimax-m2": _tiny("MiniMaxM2ForCausalLM", num_local_experts=5, num_experts_per_tok=2, head_dim=8, rotary_dim=4),
    "solar-open": _tiny("SolarOpenForCausalLM", moe_intermediate_size=20, head_dim=8, **_MANY),
    "jais2": _tiny("Jais2ForCausalLM"),
    "persimmon": _tiny("PersimmonForCausalLM"),
    "qwen2-moe": _tiny(
        "Qwen2MoeForCausalLM",
        num_experts=5,
        num_experts_per_tok=3,
        moe_intermediate_size=24,
        shared_expert_intermediate_size=20,
    ),
    "seed-oss": _tiny("SeedOssForCausalLM", head_dim=8),
    "vaultgemma": _tiny("VaultGemmaForCausalLM", head_dim=8),
    "apertus": _tiny("ApertusForCausalLM"),
    "arcee": _tiny("ArceeForCausalLM"),
    "cohere2": _tiny("Cohere2ForCausalLM", sliding_window=3),
    "exaone": _tiny("ExaoneForCausalLM", activation_function="silu", auto_map={"AutoConfig": "x.Y"}),
    "exaone4": _tiny("Exaone4ForCausalLM", sliding_window=3),
    "gemma": _tiny("GemmaForCausalLM", head_dim=8),
    "gemma3": _tiny("Gemma3ForCausalLM", head_dim=8, sliding_window=3),
    "glm": _tiny("GlmForCausalLM", head_dim=8),
    "glm4": _tiny("Glm4ForCausalLM", head_dim=8),
    "gpt-bigcode": _gpt("GPTBigCodeForCausalLM"),
    "gpt-neox": _tiny("GPTNeoXForCausalLM", num_key_value_heads=6),
    "gpt-oss": _tiny("GptOssForCausalLM", num_local_experts=5, num_experts_per_tok=2, sliding_window=3, head_dim=8),
    "gptj": _gpt("GPTJForCausalLM", rotary_dim=6),
    "granite": _tiny("GraniteForCausalLM", embedding_multiplier=3.0, residual_multiplier=0.5, logits_scaling=4.0),
    "hyperclovax": _tiny("HyperCLOVAXForCausalLM"),
    "ministral": _tiny("MinistralForCausalLM", sliding_window=3, layer_types=["full_attention", "sliding_attention"]),
    "ministral3": _tiny("Ministral3ForCausalLM", head_dim=8),
    "mpt": {
        "architectures": ["MptForCausalLM"],
        "vocab_size": 101,
        "d_model": 48,
        "n_layers": 2,
        "n_heads": 4,
        "max_seq_len": 40,
        "attn_config": {"clip_qkv": 6},
    },
    "nemotron": _tiny("NemotronForCausalLM"),
    "olmo": _tiny("OlmoForCausalLM", clip_qkv=8.0),
    "olmo3": _tiny("Olmo3ForCausalLM", sliding_window=3),
    "phi": _tiny("PhiForCausalLM", qk_layernorm=True),
    "phi3": _tiny("Phi3ForCausalLM"),
    "qwen2": _tiny("Qwen2ForCausalLM", sliding_window=2, use_sliding_window=True, max_window_layers=1),
    "qwen3": _tiny("Qwen3ForCausalLM", head_dim=10),
    "smollm3": _tiny("SmolLM3ForCausalLM", no_rope_layers=[1, 0]),
    "starcoder2": _tiny("Starcoder2ForCausalLM"),
    "mixtral": _tiny("MixtralForCausalLM", num_local_experts=5, num_experts_per_tok=2),
    "olmoe": _tiny("OlmoeForCausalLM", num_experts=5, num_experts_per_tok=2),
}
"""One for every supported architecture at least."""


_WIDER: dict[str, Any] = {"hidden_size": 192, "intermediate_size": 328, "vocab_size": 301}

WIDE: dict[str, dict[str, Any]] = {
    "llama": {**LLAMA, **_WIDER},
    "opt": {**OPT, "hidden_size": 192, "ffn_dim": 328, "vocab_size": 301},
    "gpt2": {**CONFIGS["gpt2"], "n_embd": 192, "vocab_size": 301},
    "falcon": {**CONFIGS["falcon"], "hidden_size": 192, "vocab_size": 301},
    "olmo2": {**CONFIGS["olmo2"], **_WIDER},
    "qwen3-moe": {**CONFIGS["qwen3-moe"], **_WIDER, "moe_intermediate_size": 140},
    "gptj": {**EVERY["gptj"], "n_embd": 192, "vocab_size": 301},
}
"""Wide enough for several chunks on each of several devices."""


def wide_graph(name: str, fusion: bool = True, reorder: bool = True) -> Graph:
    """Graph of a wide model after its passes."""
    return run_passes(build_graph(CheckpointConfig(WIDE[name])), passes_for(fusion, reorder))


def tiny_graph(name: str, fusion: bool = True, reorder: bool = True) -> Graph:
    """Graph of a tiny model after its passes."""
    return run_passes(build_graph(CheckpointConfig(EVERY[name])), passes_for(fusion, reorder))


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
        whole = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
        plane = parameter.plane
        whole = whole[plane.index] if plane else whole
        whole = whole.T if parameter.transposed else whole
        whole = whole[plane.first :: plane.step][: parameter.shape[0]] if plane else whole
        if parameter.cut is not None:
            groups = whole.reshape(-1, parameter.cut.period, *whole.shape[1:])
            whole = groups[:, parameter.cut.first : parameter.cut.first + parameter.cut.count]
        return np.ascontiguousarray(whole).reshape(parameter.shape)

    def _tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {name: (each.kind, shape) for each in self.graph.parameters for name, shape in each.tensors}

    def dtype(self, name: str) -> DType:
        """Always float32."""
        return FLOAT32
