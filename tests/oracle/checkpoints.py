"""Tiny random checkpoints, made by transformers itself: the oracle of every token test.

A recipe names a family and what is special about it. `write_checkpoint` saves
weights, biases and norms that are all random (a zero bias or a unit norm would
hide a swapped tensor) and `greedy` says what transformers generates from it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

HELD = "held to transformers"
"""Property of a test that compares with transformers: [architecture, dtype, device counts]."""
VOCAB_SIZE = 101
MAX_LENGTH = 64
PROMPT = (5, 17, 88, 3, 42)
OTHER_PROMPT = (61, 9, 9, 30, 77, 12, 95, 4)

_SIZES: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": MAX_LENGTH,
}
"""Fields that most families spell alike; None in `_DIFFERENT` leaves one out."""

_NO_SIZES: dict[str, Any] = {key: None for key in _SIZES if key != "vocab_size"}
_GPT: dict[str, Any] = {
    **_NO_SIZES,
    "n_embd": 48,
    "n_inner": 80,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": MAX_LENGTH,
}

_TOKENS: dict[str, Any] = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": 2}
_TWINS = {"exaone": "llama"}
"""Families that transformers has no code for, and the one that computes the same."""

_DIFFERENT: dict[str, dict[str, Any]] = {
    "opt": {"intermediate_size": None, "num_key_value_heads": None, "ffn_dim": 80, "word_embed_proj_dim": 48},
    "gpt2": _GPT,
    "gpt_bigcode": _GPT,
    "gptj": {**_GPT, "rotary_dim": 6},
    "gpt_neox": {"num_key_value_heads": None, "hidden_size": 64},
    "stablelm": {"hidden_size": 64},
    "falcon": {"num_key_value_heads": None, "intermediate_size": None, "ffn_hidden_size": 80},
    "bloom": {**_NO_SIZES, "hidden_size": 48, "n_layer": 2, "n_head": 4},
    "mpt": {**_NO_SIZES, "d_model": 48, "n_layers": 2, "n_heads": 4, "max_seq_len": MAX_LENGTH},
    "mistral": {"sliding_window": 6},
    "ministral": {"head_dim": 12, "sliding_window": 5},
    "cohere2": {"head_dim": 12, "sliding_window": 5},
    "gemma": {"head_dim": 12},
    "gemma2": {"head_dim": 12, "sliding_window": 5, "query_pre_attn_scalar": 20},
    "gemma3_text": {"head_dim": 12, "sliding_window": 5, "query_pre_attn_scalar": 20},
    "glm": {"head_dim": 16},
    "glm4": {"head_dim": 16},
    "nemotron": {"head_dim": 12},
    "arcee": {"head_dim": 12},
    "hyperclovax": {"head_dim": 12},
    "mixtral": {"num_local_experts": 6, "num_experts_per_tok": 2},
    "qwen3_moe": {"head_dim": 12, "num_local_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    "glm4_moe": {"head_dim": 12, "n_routed_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    "dots1": {
        "n_routed_experts": 6,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "n_shared_experts": 2,
        "sliding_window": 5,
        "max_window_layers": 1,
    },
    "cwm": {"head_dim": 12, "sliding_window": 5, "bos_token_id": 1},
    "hunyuan_v1_dense": {"head_dim": 12},
    "ernie4_5": {"head_dim": 12},
    "helium": {"head_dim": 12},
    "seed_oss": {"head_dim": 12},
    "vaultgemma": {"head_dim": 12, "sliding_window": 5, "query_pre_attn_scalar": 20},
    "persimmon": {"num_key_value_heads": None},
    "gpt_neo": {
        **_NO_SIZES,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_layers": 2,
        "num_heads": 4,
        "max_position_embeddings": MAX_LENGTH,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 5,
    },
    "codegen": {**_GPT, "rotary_dim": 6},
    "granitemoe": {"num_local_experts": 6, "num_experts_per_tok": 2},
    "granitemoeshared": {"num_local_experts": 6, "num_experts_per_tok": 2, "shared_intermediate_size": 56},
    "qwen2_moe": {
        "num_experts": 6,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 56,
    },
    "ministral3": {"head_dim": 12, "sliding_window": None},
    "gpt_oss": {"head_dim": 12, "num_local_experts": 6, "num_experts_per_tok": 2, "sliding_window": 5},
    "olmoe": {"num_experts": 6, "num_experts_per_tok": 2},
    "granite_swa": {"sliding_window": 5},
    "granitemoe_swa": {"num_local_experts": 6, "num_experts_per_tok": 2, "sliding_window": 5},
    "mellum": {
        "head_dim": 12,
        "num_local_experts": 6,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "sliding_window": 5,
    },
    "exaone_moe": {
        "head_dim": 12,
        "num_experts": 6,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "sliding_window": 5,
    },
    "flex_olmo": {"num_experts": 6, "num_experts_per_tok": 2},
    "ernie4_5_moe": {"head_dim": 12, "moe_num_experts": 6, "moe_k": 2, "moe_intermediate_size": 32},
    "hunyuan_v1_moe": {"head_dim": 12, "num_experts": 6, "moe_topk": 2},
    "minimax_m2": {"head_dim": 12, "num_local_experts": 6, "num_experts_per_tok": 2},
    "solar_open": {
        "head_dim": 12,
        "n_routed_experts": 6,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "intermediate_size": None,
    },
}


@dataclass(frozen=True)
class Recipe:
    """One tiny model.

    Attributes:
        name: also its name in the prefix, `tiny/NAME`.
        family: its `model_type`.
        config: what differs from the family's sizes.
        old_dialect: write `rope_scaling` and `rope_theta` as before transformers 5.
        shard_bytes: largest shard, so that the checkpoint has several; 0: one file.
        bare: names without their prefix, and the buffers and copies that older checkpoints hold.
    """

    name: str
    family: str
    config: dict[str, Any] = field(default_factory=dict)
    old_dialect: bool = False
    shard_bytes: int = 0
    bare: bool = False

    @property
    def model_id(self) -> str:
        """Its id in the prefix."""
        return f"tiny/{self.name}"

    def __str__(self) -> str:
        return self.name


def _rope(**kind: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_theta": 10000.0, **kind}}


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
PHI_LONGROPE = {
    "original_max_position_embeddings": 32,
    **_rope(
        rope_type="longrope", short_factor=[1.0, 1.1, 1.3, 1.5, 1.8, 2.5], long_factor=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    ),
}
MINISTRAL3_ROPE = _rope(**{**YARN, "original_max_position_embeddings": 4}, llama_4_scaling_beta=0.5)
GRANITE = {
    "num_key_value_heads": 2,
    "embedding_multiplier": 3.0,
    "attention_multiplier": 0.4,
    "residual_multiplier": 0.6,
    "logits_scaling": 5.0,
}

RECIPES = (
    Recipe("opt", "opt"),
    Recipe("opt-untied", "opt", {"tie_word_embeddings": False}),
    Recipe("opt-350m-like", "opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 24}),
    Recipe("opt-no-bias", "opt", {"enable_bias": False, "activation_function": "gelu"}),
    Recipe("opt-plain-norm", "opt", {"layer_norm_elementwise_affine": False}),
    Recipe("opt-sharded", "opt", shard_bytes=20_000),
    Recipe("llama", "llama"),
    Recipe("llama-gqa", "llama", {"num_key_value_heads": 2}),
    Recipe("llama-mqa", "llama", {"num_key_value_heads": 1}),
    Recipe("llama-tied", "llama", {"tie_word_embeddings": True}),
    Recipe("llama-biases", "llama", {"attention_bias": True, "mlp_bias": True}),
    Recipe("llama-head-dim", "llama", {"head_dim": 16, "num_attention_heads": 6, "num_key_value_heads": 2}),
    Recipe("llama-theta", "llama", _rope(rope_type="default", rope_theta=500000.0), old_dialect=True),
    Recipe("llama-linear", "llama", _rope(rope_type="linear", factor=2.0)),
    Recipe("llama-linear-old", "llama", _rope(rope_type="linear", factor=2.0), old_dialect=True),
    Recipe("llama-dynamic", "llama", _rope(rope_type="dynamic", factor=2.0)),
    Recipe("llama-yarn", "llama", _rope(**YARN)),
    Recipe("llama-yarn-old", "llama", _rope(**YARN), old_dialect=True),
    Recipe("llama-llama3", "llama", _rope(**LLAMA3)),
    Recipe("llama-llama3-old", "llama", _rope(**LLAMA3), old_dialect=True),
    Recipe("llama-bare", "llama", {"tie_word_embeddings": True}, bare=True),
    Recipe("llama-heads-of-80", "llama", {"head_dim": 80, "num_key_value_heads": 2}),
    Recipe("llama-heads-of-256", "llama", {"head_dim": 256, "num_attention_heads": 2, "num_key_value_heads": 1}),
    Recipe("mistral", "mistral", {"sliding_window": 6, "num_key_value_heads": 2}),
    Recipe("mistral-full", "mistral", {"sliding_window": None, "head_dim": 24}),
    Recipe(
        "ministral",
        "ministral",
        {"sliding_window": 5, "head_dim": 12, "layer_types": ["full_attention", "sliding_attention"]},
    ),
    Recipe("qwen2", "qwen2", {"num_key_value_heads": 2}),
    Recipe("qwen2-window", "qwen2", {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}),
    Recipe("qwen3", "qwen3", {"num_key_value_heads": 2, "head_dim": 16}),
    Recipe("qwen3-biases", "qwen3", {"attention_bias": True, "head_dim": 24}),
    Recipe("stablelm", "stablelm", {"num_key_value_heads": 2}),
    Recipe("stablelm-parallel", "stablelm", {"use_parallel_residual": True, "use_qkv_bias": True}),
    Recipe("stablelm-norms", "stablelm", {"qk_layernorm": True, "num_key_value_heads": 2}),
    Recipe("starcoder2", "starcoder2", {"num_key_value_heads": 2, "sliding_window": 6}),
    Recipe("starcoder2-plain", "starcoder2", {"use_bias": False, "tie_word_embeddings": False}),
    Recipe("phi", "phi"),
    Recipe("phi-norms", "phi", {"qk_layernorm": True, "num_key_value_heads": 2}),
    Recipe("phi-old", "phi", old_dialect=True),
    Recipe("phi-yarn", "phi", _rope(**YARN, partial_rotary_factor=0.5), old_dialect=True),
    Recipe("phi3", "phi3", {"num_key_value_heads": 2}),
    Recipe("phi3-window", "phi3", {"sliding_window": 5}),
    Recipe("phi3-longrope", "phi3", PHI_LONGROPE),
    Recipe("olmo", "olmo", {"clip_qkv": 0.5}),
    Recipe("olmo-biases", "olmo", {"attention_bias": True, "num_key_value_heads": 2}),
    Recipe("olmo2", "olmo2", {"num_key_value_heads": 2}),
    Recipe("olmo2-mqa", "olmo2", {"num_key_value_heads": 1, "attention_bias": True}),
    Recipe("olmo3", "olmo3", {"num_hidden_layers": 4, "sliding_window": 4}),
    Recipe("gemma", "gemma", {"num_key_value_heads": 1, "head_dim": 32}),
    Recipe("gemma2", "gemma2", {"num_key_value_heads": 2}),
    Recipe("gemma2-caps", "gemma2", {"attn_logit_softcapping": 1.5, "final_logit_softcapping": 2.0}),
    Recipe("gemma3", "gemma3_text", {"num_hidden_layers": 6, "num_key_value_heads": 2}),
    Recipe("gemma3-old", "gemma3_text", {"num_hidden_layers": 6}, old_dialect=True),
    Recipe("cohere", "cohere", {"num_key_value_heads": 2}),
    Recipe("cohere-norms", "cohere", {"use_qk_norm": True, "num_key_value_heads": 2, "attention_bias": True}),
    Recipe("cohere2", "cohere2", {"num_hidden_layers": 4, "num_key_value_heads": 2}),
    Recipe("gpt2", "gpt2"),
    Recipe("gpt2-bare", "gpt2", bare=True),
    Recipe("gpt2-by-layer", "gpt2", {"scale_attn_by_inverse_layer_idx": True, "n_inner": None}),
    Recipe("gpt2-unscaled", "gpt2", {"scale_attn_weights": False, "tie_word_embeddings": False}),
    Recipe("gpt-bigcode", "gpt_bigcode"),
    Recipe("gpt-bigcode-heads", "gpt_bigcode", {"multi_query": False}),
    Recipe("gptj", "gptj"),
    Recipe("gpt-neox", "gpt_neox"),
    Recipe("gpt-neox-old", "gpt_neox", _rope(rope_theta=500.0, partial_rotary_factor=0.5), old_dialect=True),
    Recipe("gpt-neox-sequential", "gpt_neox", {"use_parallel_residual": False, "attention_bias": False}),
    Recipe("falcon", "falcon"),
    Recipe("falcon-heads", "falcon", {"multi_query": False, "bias": True, "parallel_attn": False}),
    Recipe("falcon-new", "falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    Recipe(
        "falcon-new-one-norm",
        "falcon",
        {"new_decoder_architecture": True, "num_kv_heads": 4, "num_ln_in_parallel_attn": 1},
    ),
    Recipe("falcon-alibi", "falcon", {"alibi": True, "multi_query": False}),
    Recipe("falcon-alibi-odd", "falcon", {"alibi": True, "num_attention_heads": 6, "bias": True}),
    Recipe("bloom", "bloom"),
    Recipe("bloom-odd-heads", "bloom", {"n_head": 6, "apply_residual_connection_post_layernorm": True}),
    Recipe("mpt", "mpt"),
    Recipe("mpt-odd-heads", "mpt", {"n_heads": 6, "attn_config": {"clip_qkv": 0.5, "softmax_scale": 1.5}}),
    Recipe("exaone", "exaone", {"num_key_value_heads": 2}),
    Recipe("exaone-tied", "exaone", {"tie_word_embeddings": True, **_rope(**LLAMA3)}),
    Recipe("exaone4", "exaone4", {"num_hidden_layers": 4, "sliding_window": 5, "num_key_value_heads": 2}),
    Recipe("exaone4-full", "exaone4", {"sliding_window": None, "layer_types": ["full_attention"] * 2}),
    Recipe("granite", "granite", GRANITE),
    Recipe("hyperclovax", "hyperclovax", GRANITE),
    Recipe("hyperclovax-plain", "hyperclovax", {"use_post_norm": False}),
    Recipe("smollm3", "smollm3", {"no_rope_layers": [0, 1]}),
    Recipe(
        "smollm3-window",
        "smollm3",
        {
            "use_sliding_window": False,
            "sliding_window": 5,
            "no_rope_layers": [0, 1],
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    Recipe("glm", "glm", {"num_key_value_heads": 2}),
    Recipe("glm4", "glm4", {"num_key_value_heads": 2}),
    Recipe("nemotron", "nemotron", {"num_key_value_heads": 2}),
    Recipe("mixtral", "mixtral", {"num_key_value_heads": 2, "head_dim": 12}),
    Recipe("mixtral-window", "mixtral", {"sliding_window": 5, "head_dim": 12}),
    Recipe("qwen3-moe", "qwen3_moe", {"num_experts_per_tok": 3}),
    Recipe("qwen3-moe-mixed", "qwen3_moe", {"norm_topk_prob": True, "mlp_only_layers": [0]}),
    Recipe("qwen3-moe-window", "qwen3_moe", {"use_sliding_window": True, "sliding_window": 5}),
    Recipe("olmoe", "olmoe", {"num_experts_per_tok": 3}),
    Recipe("olmoe-normalised", "olmoe", {"norm_topk_prob": True, "num_key_value_heads": 2}),
    Recipe("olmoe-clip-odd", "olmoe", {"clip_qkv": 0.3}),
    Recipe("olmoe-clip", "olmoe", {"clip_qkv": 0.75}),
    Recipe("gpt-oss", "gpt_oss", {"num_key_value_heads": 2}),
    Recipe("gpt-oss-limits", "gpt_oss", {"swiglu_limit": 0.25, "swiglu_alpha": 1.0, "attention_bias": False}),
    Recipe("apertus", "apertus", {"num_key_value_heads": 2}),
    Recipe("apertus-theta", "apertus", _rope(rope_type="default", rope_theta=100.0), old_dialect=True),
    Recipe("apertus-plain", "apertus", {"hidden_act": "silu", "attention_bias": True}),
    Recipe("ministral3", "ministral3", MINISTRAL3_ROPE),
    Recipe("ministral3-window", "ministral3", {**MINISTRAL3_ROPE, "sliding_window": 5, "num_key_value_heads": 2}),
    Recipe("glm4-moe", "glm4_moe", {"num_key_value_heads": 2, "use_qk_norm": True, "routed_scaling_factor": 2.5}),
    Recipe("glm4-moe-biases", "glm4_moe", {"attention_bias": True, "norm_topk_prob": False}),
    Recipe("dots1", "dots1", {"num_key_value_heads": 2, "first_k_dense_replace": 1}),
    Recipe("dots1-normalised", "dots1", {"norm_topk_prob": True, "num_experts_per_tok": 3}),
    Recipe("cwm", "cwm", {"num_hidden_layers": 4, "num_key_value_heads": 2, **_rope(**LLAMA3)}),
    Recipe("ernie4-5", "ernie4_5", {"num_key_value_heads": 2}),
    Recipe("ernie4-5-biases", "ernie4_5", {"use_bias": True, "tie_word_embeddings": False}),
    Recipe("helium", "helium", {"attention_bias": True, "mlp_bias": True}),
    Recipe("seed-oss", "seed_oss", {"num_key_value_heads": 2}),
    Recipe("seed-oss-biases", "seed_oss", {"attention_out_bias": True, "mlp_bias": True}),
    Recipe("vaultgemma", "vaultgemma", {"num_key_value_heads": 2}),
    Recipe("hunyuan", "hunyuan_v1_dense", {"num_key_value_heads": 2}),
    Recipe("hunyuan-alpha", "hunyuan_v1_dense", _rope(rope_type="dynamic", factor=1.0, alpha=1000.0)),
    Recipe("persimmon", "persimmon"),
    Recipe("persimmon-plain", "persimmon", {"qk_layernorm": False, "tie_word_embeddings": True}),
    Recipe("gpt-neo", "gpt_neo"),
    Recipe("codegen", "codegen"),
    Recipe("granitemoe", "granitemoe", GRANITE),
    Recipe("granitemoeshared", "granitemoeshared", GRANITE),
    Recipe("qwen2-moe", "qwen2_moe", {"num_key_value_heads": 2}),
    Recipe("qwen2-moe-window", "qwen2_moe", {"use_sliding_window": True, "sliding_window": 5, "norm_topk_prob": True}),
    Recipe("granite-swa", "granite_swa", {**GRANITE, "num_hidden_layers": 4}),
    Recipe(
        "granite-swa-bases",
        "granite_swa",
        {"num_hidden_layers": 4, "layer_rope_theta": [0, 100.0, 10000.0, 0], "tie_word_embeddings": False},
    ),
    Recipe("granitemoe-swa", "granitemoe_swa", {"shared_intermediate_size": 56, "num_key_value_heads": 2}),
    Recipe(
        "mellum",
        "mellum",
        {
            "num_hidden_layers": 3,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "mlp_layer_types": ["sparse", "dense", "sparse"],
        },
    ),
    Recipe("exaone-moe", "exaone_moe", {"num_hidden_layers": 4, "num_key_value_heads": 2}),
    Recipe("nanochat", "nanochat", {"num_key_value_heads": 2}),
    Recipe("nanochat-plain", "nanochat", {"final_logit_softcapping": None, "attention_bias": True}),
    Recipe("flex-olmo", "flex_olmo", {"num_key_value_heads": 2}),
    Recipe("flex-olmo-normalised", "flex_olmo", {"norm_topk_prob": True, "attention_bias": True}),
    Recipe("ernie4-5-moe", "ernie4_5_moe", {"num_key_value_heads": 2, "use_bias": True}),
    Recipe(
        "ernie4-5-moe-mixed",
        "ernie4_5_moe",
        {"num_hidden_layers": 4, "moe_layer_interval": 2, "moe_num_shared_experts": 0, "moe_layer_end_index": 2},
    ),
    Recipe("hunyuan-moe", "hunyuan_v1_moe", {"num_key_value_heads": 2, "attention_bias": True}),
    Recipe("hunyuan-moe-lists", "hunyuan_v1_moe", {"moe_topk": [3, 3]}),
    Recipe("minimax-m2", "minimax_m2", {"num_key_value_heads": 2, "rotary_dim": 6}),
    Recipe("solar-open", "solar_open", {"num_key_value_heads": 2, "routed_scaling_factor": 2.5}),
    Recipe("solar-open-biases", "solar_open", {"attention_bias": True, "norm_topk_prob": False}),
    Recipe("jais2", "jais2", {"num_key_value_heads": 2}),
    Recipe("arcee", "arcee", {"attention_bias": True, "mlp_bias": True}),
)


FAMILIES = [next(each for each in RECIPES if each.family == family) for family in {r.family: None for r in RECIPES}]
"""The first recipe of each family."""


@contextmanager
def quiet() -> Iterator[None]:
    """transformers without its warnings and progress bars, which would end up in captured output."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def make_config(recipe: Recipe) -> Any:
    """The transformers config of a recipe."""
    from transformers import AutoConfig

    sizes = {**_SIZES, **_DIFFERENT.get(recipe.family, {}), **recipe.config}
    given = {key: value for key, value in sizes.items() if value is not None or key in recipe.config}
    return AutoConfig.for_model(_TWINS.get(recipe.family, recipe.family), **{**_TOKENS, **given})


def architecture(recipe: Recipe) -> str:
    """The class that config.json of a recipe names."""
    return "ExaoneForCausalLM" if recipe.family == "exaone" else class_name(recipe)


def class_name(recipe: Recipe) -> str:
    """The transformers class that computes what a recipe does."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return str(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[_TWINS.get(recipe.family, recipe.family)])


def write_checkpoint(recipe: Recipe, folder: Path, dtype: str = "float32", tokenizer: bool = False) -> None:
    """Save the model of `recipe` to `folder` as transformers would, weights seeded by its name."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(make_config(recipe))
    fill_with_noise(model, seed=sum(recipe.name.encode()))
    model.to(getattr(torch, dtype))
    shard: dict[str, Any] = {"max_shard_size": recipe.shard_bytes} if recipe.shard_bytes else {}
    with quiet():
        model.save_pretrained(folder, **shard)
    if recipe.family in _TWINS:
        folder.rename(folder.with_name("twin"))
        _write_exaone(folder.with_name("twin"), folder)
    if recipe.bare:
        _strip_prefix(folder)
    if recipe.old_dialect:
        _rewrite_rope(folder / "config.json")
    if tokenizer:
        write_tokenizer(folder)


def fill_with_noise(model: Any, seed: int) -> None:
    """Make every parameter of a transformers model random, biases and norms too, and what corrects the routing."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = name.endswith("weight") and (parameter.ndim == 1 or "norm" in name)
            parameter.copy_(1.0 + 0.2 * noise if is_norm else 0.15 * noise)
        for name, buffer in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
    model.tie_weights()


def _write_exaone(twin: Path, folder: Path) -> None:
    """A Llama with the names of EXAONE 3, for which transformers has no code."""
    from safetensors.torch import load_file, save_file

    names = {
        "model.embed_tokens.": "transformer.wte.",
        "model.norm.": "transformer.ln_f.",
        "model.layers.": "transformer.h.",
        ".self_attn.o_proj.": ".attn.attention.out_proj.",
        ".self_attn.": ".attn.attention.",
        ".mlp.gate_proj.": ".mlp.c_fc_0.",
        ".mlp.up_proj.": ".mlp.c_fc_1.",
        ".mlp.down_proj.": ".mlp.c_proj.",
        ".input_layernorm.": ".ln_1.",
        ".post_attention_layernorm.": ".ln_2.",
    }
    tensors = {}
    for name, tensor in load_file(twin / "model.safetensors").items():
        for old, new in names.items():
            name = name.replace(old, new)
        tensors[name] = tensor
    config = json.loads((twin / "config.json").read_text(encoding="utf-8"))
    fields = {
        "num_hidden_layers": "num_layers",
        "rms_norm_eps": "layer_norm_epsilon",
        "hidden_act": "activation_function",
    }
    config = {fields.get(key, key): value for key, value in config.items()}
    config.update(architectures=["ExaoneForCausalLM"], model_type="exaone", auto_map={"AutoConfig": "modeling.X"})
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _strip_prefix(folder: Path) -> None:
    """Leave out `transformer.` or `model.`, and add what nobody reads: masks, frequencies, the copy of a tied head."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    path = folder / "model.safetensors"
    tensors = {name.removeprefix("transformer.").removeprefix("model."): t for name, t in load_file(path).items()}
    embedding = next(tensors[name] for name in ("wte.weight", "embed_tokens.weight") if name in tensors)
    tensors.setdefault("lm_head.weight", embedding.copy())
    stem = "h.0.attn" if "wte.weight" in tensors else "layers.0.self_attn"
    tensors[f"{stem}.rotary_emb.inv_freq"] = np.ones(6, dtype=np.float32)
    if stem.startswith("h."):
        tensors[f"{stem}.bias"] = np.ones((1, 1, 8, 8), dtype=np.uint8)
        tensors[f"{stem}.masked_bias"] = np.float32([-1e9])
    save_file(tensors, path, {"format": "pt"})


def _rewrite_rope(path: Path) -> None:
    """Turn `rope_parameters` into the fields that said the same before transformers 5."""
    config = json.loads(path.read_text(encoding="utf-8"))
    parameters = dict(config.pop("rope_parameters"))
    if "full_attention" in parameters:
        config["rope_local_base_freq"] = parameters["sliding_attention"]["rope_theta"]
        parameters = dict(parameters["full_attention"])
    neox = config["model_type"] == "gpt_neox"
    config["rotary_emb_base" if neox else "rope_theta"] = parameters.pop("rope_theta")
    if "partial_rotary_factor" in parameters:
        config["rotary_pct" if neox else "partial_rotary_factor"] = parameters.pop("partial_rotary_factor")
    scaled = parameters.get("rope_type", "default") != "default"
    config["rope_scaling"] = parameters if scaled else None
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")


def write_tokenizer(folder: Path) -> None:
    """Save a byte-level tokenizer of VOCAB_SIZE tokens: lower-case ASCII and a few bytes of UTF-8."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    visible = sorted(pre_tokenizers.ByteLevel.alphabet())
    chosen = [letter for letter in visible if letter.isascii()] + ["Ġ", "Ã", "©"]
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2}
    for letter in [*chosen, "<unk>"]:
        vocabulary.setdefault(letter, len(vocabulary))
    assert len(vocabulary) <= VOCAB_SIZE
    engine = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=engine, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )
    wrapped.save_pretrained(folder)


def load_reference(folder: Path) -> Any:
    """The checkpoint, or its twin, as a transformers model, float32, eager attention.

    But for Falcon, whose eager attention adds linear biases twice: there, its default.
    """
    import torch
    from transformers import AutoModelForCausalLM

    twin = folder.with_name("twin")
    folder = twin if twin.exists() else folder
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    attention = "sdpa" if kind == "falcon" else "eager"
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention)
    return model.eval()


class Reference(NamedTuple):
    """What transformers' own greedy search gives: new tokens, and the logits of each, float32 [tokens, vocabulary]."""

    tokens: list[int]
    logits: Any


def greedy(folder: Path, prompt: tuple[int, ...], count: int) -> list[int]:
    """The new tokens transformers' own greedy search gives."""
    return reference(folder, prompt, count).tokens


def reference(folder: Path, prompt: tuple[int, ...], count: int) -> Reference:
    """Tokens and logits of transformers' own greedy search."""
    return search(load_reference(folder), prompt, count)


def search(model: Any, prompt: tuple[int, ...], count: int) -> Reference:
    """Tokens and logits of a transformers model's greedy search."""
    import torch

    given = torch.tensor([prompt])
    with quiet(), torch.no_grad():
        found = model.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=count,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
    tokens = [int(token) for token in found.sequences[0, len(prompt) :]]
    return Reference(tokens, torch.cat(found.logits).numpy())
