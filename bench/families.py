"""Conversion and mapping where tensors are not stored as rows: GPT-2's transposed ones, GPT-OSS's stacked experts.

And phase 0 of a model with thousands of experts, which has to be decided in no time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from bench.copying import ROUNDS, compiled, copy_twice, made_prefix, memory_row, phase_seconds
from bench.measure import Row, median

PHASE_0_LIMIT_S = 3.0
QWEN3_30B_A3B: dict[str, Any] = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "hidden_size": 2048,
    "vocab_size": 151936,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "norm_topk_prob": True,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "max_position_embeddings": 40960,
    "rope_theta": 1e6,
}


@dataclass(frozen=True, slots=True)
class ConfigShape:
    """A shape whose tensors are those that the compiler asks of its config.json."""

    name: str
    fields: dict[str, Any]

    def config(self) -> dict[str, Any]:
        """Its config.json."""
        return self.fields

    def tensors(self) -> list[tuple[str, tuple[int, ...]]]:
        """Name and shape of every tensor that is not tied to another."""
        from compiler.checkpoint.config import CheckpointConfig
        from compiler.graph.architectures import build_graph
        from compiler.graph.tensors import tensor_specs

        specs = tensor_specs(build_graph(CheckpointConfig(self.fields)))
        return [(spec.name, spec.shape) for spec in specs if not spec.tied_to]


GPT2_XL = ConfigShape(
    "gpt2-xl",
    {
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": 1600,
        "n_layer": 48,
        "n_head": 25,
        "n_positions": 1024,
        "vocab_size": 50257,
    },
)
GPT_OSS_LAYER = ConfigShape(
    "gpt-oss-layer",
    {
        "architectures": ["GptOssForCausalLM"],
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "num_hidden_layers": 1,
        "num_attention_heads": 64,
        "num_local_experts": 32,
        "num_experts_per_tok": 4,
        "max_position_embeddings": 131072,
        "vocab_size": 32000,
        "tie_word_embeddings": True,
    },
)


def measure() -> list[Row]:
    """Time and memory of phases 2 and 3 of both shapes on one device, and phase 0 of many experts."""
    return [*_conversion(GPT2_XL), *_conversion(GPT_OSS_LAYER), _phase_0()]


def _conversion(shape: ConfigShape) -> list[Row]:
    with made_prefix(shape, None) as prefix:
        copied_s = [copy_twice(prefix / shape.name / "ckpt" / "model.safetensors", prefix) for _ in range(2)][-1]
        child = compiled(prefix, shape, num_devices=1)
    ratio = f"{phase_seconds(child, 2, 3) / copied_s:.1f} times plain copies"
    return [
        Row(f"{shape.name} shape: phases 2 and 3, 1 device", f"{phase_seconds(child, 2, 3):.1f} s, {ratio}"),
        memory_row(f"{shape.name} shape: anonymous memory, phases 0-4", child.peak_bytes),
    ]


def _phase_0() -> Row:
    from compiler.planning import CompileOptions, make_plan

    options = CompileOptions(num_devices=8)
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        make_plan(QWEN3_30B_A3B, options)
        seconds.append(time.perf_counter() - began)
    taken = median(seconds)
    limit = f"{PHASE_0_LIMIT_S:.0f} s"
    return Row("Qwen3-30B-A3B shape: the plan, 8 devices", f"{taken:.2f} s", limit, taken <= PHASE_0_LIMIT_S)
