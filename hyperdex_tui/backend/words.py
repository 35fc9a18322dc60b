"""A config.json in plain words, and the size of its weights, without loading either.

Whatever family a model is of, its config names the same few things by a few
names. What is missing or of another type is left out.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

from compiler.checkpoint.regular_file import find_file
from compiler.checkpoint.tensors import is_shape
from compiler.dtypes import SAFETENSORS_DTYPES
from compiler.errors import CheckpointError
from compiler.sanitize import one_line

_HEADER_LIMIT_BYTES = 100 << 20
_LARGEST = 1 << 62
"""No number of a model is as large; what is comes from a damaged or hostile file, and is not shown."""

_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_WIDTH = ("hidden_size", "n_embd", "d_model")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads")
_INNER = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
_ACTIVATION = ("hidden_act", "activation_function", "hidden_activation")
_EXPERTS = ("num_local_experts", "num_experts")


def config_words(config: dict[str, object]) -> tuple[str, ...]:
    """What a config says, a sentence or two to a line; () for a config that says nothing."""
    sentences = (_body(config), _attention(config), _feed_forward(config), _vocabulary(config), _positions(config))
    return tuple(sentence for sentence in sentences if sentence)


def _body(config: dict[str, object]) -> str:
    layers, width = _number(config, _LAYERS), _number(config, _WIDTH)
    return f"{layers:,} decoder layers on vectors of {width:,} elements" if layers and width else ""


def _attention(config: dict[str, object]) -> str:
    heads, width = _number(config, _HEADS), _number(config, _WIDTH)
    if not heads:
        return ""
    size = _number(config, ("head_dim",)) or (width // heads if width else 0)
    shared = _number(config, _KV_HEADS) or (1 if config.get("multi_query") is True else heads)
    text = f"{heads:,} attention heads" + (f" of {size:,} elements" if size else "")
    if shared == 1 and heads > 1:
        text += "; all share one head of keys and values"
    elif shared != heads:
        text += f"; keys and values in {shared:,} heads"
    window = _number(config, ("sliding_window",))
    if window and config.get("use_sliding_window") is not False:
        text += f"; a window of {window:,} tokens"
    return text


def _feed_forward(config: dict[str, object]) -> str:
    inner, experts = _number(config, _INNER), _number(config, _EXPERTS)
    activation = _text(config, _ACTIVATION)
    text = f"feed-forward of {inner:,} elements" if inner else ""
    if text and activation:
        text += f", {activation}"
    if text and experts:
        chosen = _number(config, ("num_experts_per_tok",))
        text += f"; {experts:,} experts" + (f", {chosen:,} work on a token" if chosen else "")
    return text


def _vocabulary(config: dict[str, object]) -> str:
    count = _number(config, ("vocab_size",))
    if not count:
        return ""
    tied = config.get("tie_word_embeddings")
    shared = {True: "; one matrix for input and output", False: "; separate matrices for input and output"}
    return f"vocabulary of {count:,} tokens" + (shared[tied] if isinstance(tied, bool) else "")


def _positions(config: dict[str, object]) -> str:
    count = _number(config, _POSITIONS)
    text = f"texts up to {count:,} tokens" if count else ""
    parameters = config.get("rope_parameters") or config.get("rope_scaling")
    scaling = parameters if isinstance(parameters, dict) else {}
    kind = scaling.get("rope_type") or scaling.get("type")
    theta = config.get("rope_theta") or scaling.get("rope_theta")
    if isinstance(theta, (int, float)) and not isinstance(theta, bool) and 0 < theta < _LARGEST:
        text += f"{'; ' if text else ''}rotary positions, base {theta:,.0f}"
        text += f", scaled ({one_line(kind, 20)})" if isinstance(kind, str) and kind != "default" else ""
    return text


def weights_of(ckpt: Path) -> tuple[int, str]:
    """Number of parameters in the safetensors files of a checkpoint, and the dtype most of them have; 0 when unknown.

    Reads headers alone.
    """
    counts: Counter[str] = Counter()
    try:
        for path in sorted(ckpt.glob("*.safetensors")):
            for dtype, count in _header_counts(ckpt, path.name):
                counts[dtype] += count
    except (OSError, ValueError, RecursionError, CheckpointError):
        return 0, ""
    if not 0 < counts.total() < _LARGEST:
        return 0, ""
    most = counts.most_common(1)[0][0]
    return counts.total(), str(SAFETENSORS_DTYPES.get(most) or one_line(most, 12))


def _header_counts(ckpt: Path, name: str) -> list[tuple[str, int]]:
    """Dtype and number of elements of each tensor in a safetensors file.

    Raises:
        CheckpointError: it cannot be opened, is no regular file, or ends too early.
        ValueError: it has no header of safetensors.
    """
    file = find_file(ckpt, name)
    if file is None:
        raise ValueError("a dangling link")
    with file.open() as opened:
        size = int.from_bytes(opened.read(0, 8), "little")
        if not 0 < size <= _HEADER_LIMIT_BYTES:
            raise ValueError("no header")
        header = json.loads(opened.read(8, size))
    if not isinstance(header, dict):
        raise ValueError("no object")
    found = []
    for name, entry in header.items():
        shape = entry.get("shape") if isinstance(entry, dict) and name != "__metadata__" else None
        if isinstance(shape, list) and is_shape(shape):
            found.append((str(entry.get("dtype")), math.prod(shape)))
    return found


def config_dtype(config: dict[str, object]) -> str:
    """The dtype a config names, "" when it names none."""
    return _text(config, ("dtype", "torch_dtype")).removeprefix("torch.")


def _number(config: dict[str, object], names: tuple[str, ...]) -> int:
    values = (config.get(name) for name in names)
    numbers = (value for value in values if isinstance(value, int) and not isinstance(value, bool))
    return next((value for value in numbers if 0 < value < _LARGEST), 0)


def _text(config: dict[str, object], names: tuple[str, ...]) -> str:
    values = (config.get(name) for name in names)
    return next((one_line(value, 24) for value in values if isinstance(value, str)), "")
