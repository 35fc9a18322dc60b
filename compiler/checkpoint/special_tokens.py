"""The tokens that end a text, as config.json and generation_config.json declare them.

Both are checked before any work: config.json alone when a model is planned, both
when the checkpoint is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from compiler.checkpoint.config import CheckpointConfig
from compiler.checkpoint.regular_file import find_file
from compiler.errors import CheckpointError, UnsupportedModelError
from compiler.isa.host import STOP_LIMIT

GENERATION_CONFIG = "generation_config.json"
_LIMIT_BYTES = 1 << 20
_ADVICE = "repair or remove it"


class StopTokens(NamedTuple):
    """The tokens that end a text.

    Attributes:
        ids: those the model has.
        beyond: declared, but none of the vocabulary: they never end a text, as in transformers.
        file: that declares them.
    """

    ids: tuple[int, ...]
    beyond: tuple[int, ...]
    file: str


def check_special_tokens(config: CheckpointConfig) -> None:
    """Check that the tokens that begin and end a text are integers, lists of them, or absent.

    Raises:
        UnsupportedModelError: naming the field.
    """
    for name in ("bos_token_id", "eos_token_id"):
        config.integers(name)


def stop_tokens(ckpt: Path, config: Mapping[str, object], vocab_size: int) -> StopTokens:
    """End-of-text tokens: generation_config.json's, else config.json's.

    Args:
        ckpt: the checkpoint; a missing generation_config.json says nothing.
        config: content of config.json.
        vocab_size: tokens of the model.

    Raises:
        CheckpointError: generation_config.json cannot be read.
        UnsupportedModelError: what is declared is no id, or there are too many.
    """
    declared = CheckpointConfig(_generation_config(ckpt), GENERATION_CONFIG)
    if declared.fields.get("eos_token_id") is None:
        declared = CheckpointConfig(config)
    if declared.fields.get("eos_token_id") is None:
        declared = CheckpointConfig(declared.table("text_config"))
    ids = declared.integers("eos_token_id")
    found = tuple(token for token in ids if 0 <= token < vocab_size)
    if len(found) > STOP_LIMIT:
        raise UnsupportedModelError(
            f"{declared.file}: eos_token_id lists {len(found)} tokens, at most {STOP_LIMIT} are supported", "shorten it"
        )
    return StopTokens(found, tuple(token for token in ids if token not in found), declared.file)


def _generation_config(ckpt: Path) -> Mapping[str, object]:
    file = find_file(ckpt, GENERATION_CONFIG)
    if file is None:
        return {}
    if file.size > _LIMIT_BYTES:
        raise CheckpointError(f"{GENERATION_CONFIG} has {file.size} bytes, at most {_LIMIT_BYTES}", _ADVICE)
    with file.open() as opened:
        content = opened.read(0, file.size)
    try:
        loaded = json.loads(content)
    except (ValueError, RecursionError):
        loaded = None
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{GENERATION_CONFIG} is not a JSON object", _ADVICE)
    return loaded
