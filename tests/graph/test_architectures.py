"""Phase 0: what a config may say, and how a refusal reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compiler.checkpoint.config import CheckpointConfig
from compiler.errors import UnsupportedModelError
from compiler.graph.architectures import SUPPORTED, build_graph, is_harmless
from compiler.graph.architectures.listing import renewed
from compiler.graph.verify import verify_graph
from tests.tiny import EVERY, LLAMA, OPT, tiny_graph


def _refusal(config: dict[str, Any]) -> str:
    with pytest.raises(UnsupportedModelError) as caught:
        build_graph(CheckpointConfig(config))
    return str(caught.value)


@pytest.mark.parametrize("name", EVERY)
def test_the_graph_of_a_config_is_legal(name: str) -> None:
    verify_graph(tiny_graph(name, False, False))


def test_every_supported_architecture_has_a_tiny_model() -> None:
    assert {row.name for row in SUPPORTED} == {config["architectures"][0] for config in EVERY.values()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architectures": ["MambaForCausalLM"]}, ("MambaForCausalLM", "hyperdex models --supported")),
        ({"architectures": ["X"], "auto_map": {"AutoModel": "m.X"}}, ("auto_map", "never run")),
        ({"architectures": []}, ("architectures", "exactly one")),
        ({"architectures": None}, ("architectures", "exactly one")),
        ({"architectures": ["a\x1b[31m"]}, (r"a\x1b[31m",)),
        ({"quantization_config": {"quant_method": "gptq"}}, ("quantization_config", "gptq")),
        ({"num_hidden_layers": 10**9}, ("num_hidden_layers", "1000000000", "1024")),
        ({"num_hidden_layers": 0}, ("num_hidden_layers", "is 0;")),
        ({"hidden_size": -48}, ("hidden_size", "-48")),
        ({"hidden_size": 48.0}, ("hidden_size", "48.0")),
        ({"hidden_size": True}, ("hidden_size", "is true;")),
        ({"hidden_size": None}, ("hidden_size", "missing")),
        ({"num_attention_heads": 10}, ("hidden_size 48", "num_attention_heads 10")),
        ({"num_key_value_heads": 4}, ("num_attention_heads 6", "num_key_value_heads 4")),
        ({"head_dim": 0}, ("head_dim", "is 0;")),
        ({"hidden_act": "maxout"}, ("hidden_act", "maxout", "silu")),
        ({"rms_norm_eps": float("nan")}, ("rms_norm_eps", "NaN")),
        ({"rope_scaling": {"type": "spiral"}}, ("rope_type", "spiral", "yarn")),
        ({"rope_scaling": {"rope_type": "linear"}}, ("factor",)),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, ("low_freq_factor",)),
        ({"rope_parameters": [1]}, ("rope_parameters", "object")),
        (
            {"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}},
            ("short_factor", "4"),
        ),
        ({"rope_theta": -1}, ("rope_theta", "-1")),
        ({"tie_word_embeddings": "yes"}, ("tie_word_embeddings", "yes")),
    ],
)
def test_a_senseless_config_is_refused_naming_field_and_value(change: dict[str, Any], words: tuple[str, ...]) -> None:
    message = _refusal({**LLAMA, **change})
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("gemma3", {"layer_types": ["chunked_attention"] * 2}, ("layer_types", "chunked_attention", "full_attention")),
        ("gemma3", {"layer_types": ["full_attention"]}, ("layer_types", "each of 2 layers")),
        ("gemma3", {"layer_types": ["sliding_attention"] * 2, "sliding_window": None}, ("sliding_window", "missing")),
        ("gemma3", {"use_bidirectional_attention": True}, ("use_bidirectional_attention", "causal")),
        ("gemma2", {"attn_logit_softcapping": -50}, ("attn_logit_softcapping", "-50")),
        ("mistral", {"sliding_window": 0}, ("sliding_window", "is 0;")),
        ("olmo", {"clip_qkv": 0.0}, ("clip_qkv", "0.0", "from 0.001")),
        ("falcon", {"num_kv_heads": 4}, ("num_attention_heads 6", "num_kv_heads 4")),
        ("falcon", {"activation": "sqrtsoftplus"}, ("activation", "sqrtsoftplus")),
        ("gptj", {"rotary_dim": None}, ("rotary_dim", "missing")),
        ("gptj", {"rotary_dim": 99}, ("rotary_dim", "99")),
        ("gpt2", {"n_head": 5}, ("n_embd 48", "n_head 5")),
        ("smollm3", {"no_rope_layers": [1]}, ("no_rope_layers", "each of 2 layers")),
        ("mpt", {"attn_config": {"alibi": False}}, ("attn_config.alibi", "False")),
        ("phi3", {"rope_scaling": {"type": "spiral"}}, ("rope_type", "spiral")),
        ("granite", {"residual_multiplier": float("inf")}, ("residual_multiplier", "Infinity")),
        ("bloom", {"n_layer": 10**9}, ("n_layer", "1000000000")),
        ("exaone", {"num_key_value_heads": 5}, ("num_attention_heads 6", "num_key_value_heads 5")),
        ("mixtral", {"num_experts_per_tok": 6}, ("num_experts_per_tok is 6", "num_local_experts 5")),
        ("olmoe", {"num_experts": 0}, ("num_experts is ", "from 1 to 512")),
        ("gpt-oss", {"swiglu_limit": 6.99}, ("swiglu_limit", "6.99", "twelve significant bits")),
        ("gpt-oss", {"swiglu_alpha": -1}, ("swiglu_alpha", "-1")),
        ("gpt-oss", {"quantization_config": {"quant_method": "mxfp4"}}, ("quantization_config", "mxfp4")),
        ("ministral3", {"rope_parameters": {"rope_type": "default"}}, ("original_max_position_embeddings", "missing")),
        ("apertus", {"hidden_act": "maxout"}, ("hidden_act", "maxout", "xielu")),
        ("qwen3-moe", {"num_experts": 512, "num_hidden_layers": 1000}, ("num_experts 512", "512000", "32768")),
        ("glm4-moe", {"n_group": 8, "topk_group": 4}, ("n_group", "topk_group")),
        ("gpt-neo", {"attention_types": [[["local"], 1]]}, ("attention_types", "each of 2 layers")),
        ("gpt-neo", {"attention_types": [[["sparse"], 2]]}, ("attention_types", "global or local")),
        ("codegen", {"n_head": 6}, ("n_head 6", "parts of qkv_proj 4")),
        ("hunyuan", {"rope_scaling": {"type": "dynamic", "factor": 1.0, "alpha": -1}}, ("alpha", "-1")),
        ("gemma3-wrapped", {"text_config": {"quantization_config": {"quant_method": "awq"}}}, ("awq", "quantised")),
        ("llava", {"text_config": {"model_type": "llama", "hidden_size": -1}}, ("text_config", "hidden_size", "-1")),
        ("cwm", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}, "head_dim": 2}, ("dynamic", "needs 3")),
        ("cwm", {"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1}}, ("rope_theta", "yarn")),
        ("nemotron", {"hidden_act": "xielu"}, ("hidden_act", "xielu", "relu2")),
        ("qwen3", {"quantization_config": {"quant_method": "fp8"}}, ("quantization_config", "fp8")),
    ],
)
def test_a_family_refuses_what_its_fields_cannot_mean(
    name: str, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    message = _refusal({**EVERY[name], **change})
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", EVERY)
def test_every_family_refuses_a_billion_layers_and_negative_widths(name: str) -> None:
    config = EVERY[name]
    for field in ("num_hidden_layers", "n_layer", "n_layers", "hidden_size", "n_embd", "d_model", "vocab_size"):
        if field in config:
            for value in (0, -1, 10**9, "many", 1.5):
                assert field in _refusal({**config, field: value})


def test_the_table_of_the_readme_is_the_table_of_the_code() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert renewed(text) == text, "run python -m compiler.graph.architectures.listing README.md"


def test_the_architectures_are_sorted_and_named_once() -> None:
    names = [row.name for row in SUPPORTED]
    assert sorted(set(names), key=str.lower) == sorted(names, key=str.lower)
    assert all(row.example.count("/") == 1 and row.features for row in SUPPORTED)


def test_an_odd_head_cannot_rotate() -> None:
    assert "rotary" in _refusal({**LLAMA, "head_dim": 7})


def test_a_tied_head_reads_the_embedding() -> None:
    tied = build_graph(CheckpointConfig({**LLAMA, "tie_word_embeddings": True}))
    assert "lm_head.weight" not in {parameter.name for parameter in tied.parameters}
    assert tied.nodes[-2].parameter("weight") == "model.embed_tokens.weight"


def test_harmless_tensors_are_buffers_and_the_copy_of_a_tied_head() -> None:
    graph = tiny_graph("llama-tied-mqa")
    assert is_harmless("model.layers.0.self_attn.rotary_emb.inv_freq", graph)
    assert is_harmless("lm_head.weight", graph)
    assert not is_harmless("model.layers.0.self_attn.q_proj.weight", graph)


def test_opt_without_biases_and_affine_norms_reads_none() -> None:
    graph = build_graph(CheckpointConfig({**OPT, "enable_bias": False, "layer_norm_elementwise_affine": False}))
    assert not [parameter for parameter in graph.parameters if parameter.kind in ("bias", "norm")]
    verify_graph(graph)
