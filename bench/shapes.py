"""Checkpoints of real shapes with made-up weights, written by hand as safetensors.

Weights come from one block of normal numbers, repeated: what is in them does not
matter to copying and mapping, writing gigabytes of fresh ones would.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

BLOCK_ELEMENTS = 1 << 24


class Shape(Protocol):
    """A model of which only the sizes count."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    def config(self) -> dict[str, Any]:
        """Its config.json."""
        ...

    def tensors(self) -> list[tuple[str, tuple[int, ...]]]:
        """Name and shape of every tensor, in file order."""
        ...


@dataclass(frozen=True, slots=True)
class OptShape:
    """The sizes of one OPT model."""

    name: str
    hidden_size: int
    ffn_dim: int
    num_hidden_layers: int
    num_attention_heads: int

    def config(self) -> dict[str, Any]:
        """Its config.json."""
        return {
            "architectures": ["OPTForCausalLM"],
            "model_type": "opt",
            "activation_function": "relu",
            "bos_token_id": 2,
            "do_layer_norm_before": True,
            "dtype": "float16",
            "enable_bias": True,
            "eos_token_id": 2,
            "ffn_dim": self.ffn_dim,
            "hidden_size": self.hidden_size,
            "layer_norm_elementwise_affine": True,
            "max_position_embeddings": 2048,
            "num_attention_heads": self.num_attention_heads,
            "num_hidden_layers": self.num_hidden_layers,
            "pad_token_id": 1,
            "tie_word_embeddings": True,
            "vocab_size": 50272,
            "word_embed_proj_dim": self.hidden_size,
        }

    def tensors(self) -> list[tuple[str, tuple[int, ...]]]:
        """Name and shape of every tensor, in file order."""
        hidden, ffn = self.hidden_size, self.ffn_dim
        found: list[tuple[str, tuple[int, ...]]] = [
            ("model.decoder.embed_tokens.weight", (50272, hidden)),
            ("model.decoder.embed_positions.weight", (2050, hidden)),
        ]
        parts: list[tuple[str, tuple[int, ...]]] = [
            *((f"self_attn.{name}_proj", (hidden, hidden)) for name in ("k", "v", "q", "out")),
            ("self_attn_layer_norm", (hidden,)),
            ("fc1", (ffn, hidden)),
            ("fc2", (hidden, ffn)),
            ("final_layer_norm", (hidden,)),
        ]
        for layer in range(self.num_hidden_layers):
            for name, shape in parts:
                found.append((f"model.decoder.layers.{layer}.{name}.weight", shape))
                found.append((f"model.decoder.layers.{layer}.{name}.bias", (shape[0],)))
        found.append(("model.decoder.final_layer_norm.weight", (hidden,)))
        found.append(("model.decoder.final_layer_norm.bias", (hidden,)))
        return found


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """The sizes of one Llama 3.2 model."""

    name: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int

    def config(self) -> dict[str, Any]:
        """Its config.json."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "bos_token_id": 1,
            "dtype": "float16",
            "eos_token_id": 2,
            "hidden_act": "silu",
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "max_position_embeddings": 2048,
            "num_attention_heads": self.num_attention_heads,
            "num_hidden_layers": self.num_hidden_layers,
            "num_key_value_heads": self.num_key_value_heads,
            "rms_norm_eps": 1e-05,
            "rope_theta": 500000.0,
            "tie_word_embeddings": True,
            "vocab_size": self.vocab_size,
        }

    def tensors(self) -> list[tuple[str, tuple[int, ...]]]:
        """Name and shape of every tensor, in file order."""
        hidden, inner = self.hidden_size, self.intermediate_size
        kv = hidden // self.num_attention_heads * self.num_key_value_heads
        parts: list[tuple[str, tuple[int, ...]]] = [
            ("input_layernorm", (hidden,)),
            ("self_attn.q_proj", (hidden, hidden)),
            ("self_attn.k_proj", (kv, hidden)),
            ("self_attn.v_proj", (kv, hidden)),
            ("self_attn.o_proj", (hidden, hidden)),
            ("post_attention_layernorm", (hidden,)),
            ("mlp.gate_proj", (inner, hidden)),
            ("mlp.up_proj", (inner, hidden)),
            ("mlp.down_proj", (hidden, inner)),
        ]
        layers = [
            (f"model.layers.{layer}.{name}.weight", shape)
            for layer in range(self.num_hidden_layers)
            for name, shape in parts
        ]
        return [("model.embed_tokens.weight", (self.vocab_size, hidden)), *layers, ("model.norm.weight", (hidden,))]


LLAMA_1B = LlamaShape("llama-3.2-1b", 2048, 8192, 16, 32, 8, 128256)
OPT_1_3B = OptShape("opt-1.3b", 2048, 8192, 24, 32)
OPT_6_7B = OptShape("opt-6.7b", 4096, 16384, 32, 32)
OPT_13B = OptShape("opt-13b", 5120, 20480, 40, 40)
OPT_30B = OptShape("opt-30b", 7168, 28672, 48, 56)
OPT_66B = OptShape("opt-66b", 9216, 36864, 64, 72)


def write_checkpoint(shape: Shape, folder: Path, filled_layers: int | None = None) -> int:
    """Write config.json and model.safetensors (float16).

    Args:
        filled_layers: only the first so many layers carry data, the rest are
            holes of a sparse file and read as zeros; None: everything.

    Returns:
        Size of the weights file in bytes.
    """
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(shape.config(), indent=2), encoding="utf-8")
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, extent in shape.tensors():
        size = 2 * math.prod(extent)
        header[name] = {"dtype": "F16", "shape": list(extent), "data_offsets": [offset, offset + size]}
        offset += size
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    block = (np.random.default_rng(7).standard_normal(BLOCK_ELEMENTS, dtype=np.float32) * 0.02).astype(np.float16)
    path = folder / "model.safetensors"
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        start = file.tell()
        for name, _ in shape.tensors():
            begin, end = header[name]["data_offsets"]
            if _is_filled(name, filled_layers):
                file.seek(start + begin)
                _fill(file, block.data, end - begin)
        file.truncate(start + offset)
    return path.stat().st_size


def _is_filled(name: str, filled_layers: int | None) -> bool:
    parts = name.split(".")
    return filled_layers is None or "layers" not in parts or int(parts[3]) < filled_layers


def _fill(file: Any, block: memoryview, size: int) -> None:
    whole = block.cast("B")
    while size > 0:
        piece = whole[: min(size, len(whole))]
        file.write(piece)
        size -= len(piece)
