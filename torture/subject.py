"""What is tortured: a tiny model, compiled, and what its folder may look like afterwards.

The checkpoint is written by hand, so that nothing of a stranger's library stands between
a fault and what it does.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from torture.forked import Commands, Outcome

MODEL_ID = "torture/tiny"
BUILD = "u55c-1x"
ARTIFACTS = ("param", "inst")
CONVERTED = ("hyperdex_model.bin", "hyperdex_config.json")
KEPT_DOTFILES = frozenset({".lock"})
EXIT_CODES = frozenset({0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130})

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "max_position_embeddings": 32,
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_hidden_layers": 1,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
    "vocab_size": 61,
}


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that CONFIG asks for."""
    hidden, kv, inner, vocab = 32, 16, 48, 61
    layer = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden)}
    shapes |= {f"model.layers.0.{name}.weight": shape for name, shape in layer.items()}
    return shapes | {"model.norm.weight": (hidden,), "lm_head.weight": (vocab, hidden)}


def safetensors_bytes(tensors: dict[str, np.ndarray]) -> bytes:
    """A safetensors file of float16 or float32 arrays."""
    names = {np.dtype("<f2"): "F16", np.dtype("<f4"): "F32"}
    header: dict[str, object] = {}
    end = 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": names[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [end, end + array.nbytes],
        }
        end += array.nbytes
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in tensors.values())


def weights(seed: int) -> dict[str, np.ndarray]:
    """Random float16 tensors, other ones for every seed."""
    chosen = np.random.default_rng(seed)
    return {
        name: (chosen.standard_normal(shape) / math.sqrt(shape[-1])).astype("<f2")
        for name, shape in tensor_shapes().items()
    }


def write_checkpoint(ckpt: Path, seed: int) -> None:
    """Write config.json and model.safetensors, as a person would place them."""
    ckpt.mkdir(parents=True, exist_ok=True)
    (ckpt / "model.safetensors").write_bytes(safetensors_bytes(weights(seed)))
    (ckpt / "config.json").write_text(json.dumps(CONFIG, indent=2))


@dataclass(frozen=True)
class Subject:
    """A prefix with the tiny model, and the commands that work on it."""

    commands: Commands
    prefix: Path

    @property
    def folder(self) -> Path:
        """The model's folder."""
        return self.prefix / MODEL_ID

    @property
    def ckpt(self) -> Path:
        """Its checkpoint."""
        return self.folder / "ckpt"

    def compile(self, *options: str, **fault: object) -> Outcome:
        """`hyperdex compile`; see `Commands.run`."""
        arguments = ["compile", MODEL_ID, "--prefix", str(self.prefix), "--offline", *options]
        return self.commands.run(arguments, **fault)  # type: ignore[arg-type]

    def verify(self) -> Outcome:
        """`hyperdex verify`."""
        return self.commands.run(["verify", MODEL_ID, "--prefix", str(self.prefix)])

    def artifacts(self) -> dict[str, bytes]:
        """Every file of the build, by its path in the model's folder."""
        files = [path for kind in ARTIFACTS for path in (self.folder / kind / BUILD).rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}

    def converted(self) -> dict[str, bytes]:
        """The files of the converted checkpoint that are there."""
        return {name: (self.ckpt / name).read_bytes() for name in CONVERTED if (self.ckpt / name).exists()}

    def results(self) -> dict[str, bytes]:
        """Everything that a compile promises."""
        return {**self.artifacts(), **self.converted()}

    def leftovers(self) -> list[str]:
        """Names that a finished compile must not leave."""
        found = [path for path in self.folder.rglob("*") if path.name.startswith(".")]
        return sorted(str(path.relative_to(self.folder)) for path in found if path.name not in KEPT_DOTFILES)


def copy_subject(original: Subject, prefix: Path) -> Subject:
    """The same in another prefix, with times kept."""
    shutil.rmtree(prefix, ignore_errors=True)
    shutil.copytree(original.prefix, prefix)
    return Subject(original.commands, prefix)


def manners(outcome: Outcome) -> str:
    """What is wrong with how a command ended, whatever it did; "" when nothing is."""
    if outcome.timed_out:
        return "took too long"
    if outcome.code == -9:
        return ""
    if outcome.code not in EXIT_CODES:
        return f"exit code {outcome.code}: {outcome.stderr[-300:]!r}"
    said = outcome.stdout + outcome.stderr
    if "Traceback" in said:
        return f"a traceback: {outcome.stderr[-300:]!r}"
    if any(not (char.isprintable() or char in "\n\t") for char in said):
        return f"control characters: {said!r}"
    errors = [line for line in outcome.stderr.splitlines() if line.startswith("hyperdex: error:")]
    if outcome.code and (len(errors) != 1 or outcome.stderr.splitlines()[-1] != errors[0]):
        return f"exit code {outcome.code} and {len(errors)} error lines"
    return ""
