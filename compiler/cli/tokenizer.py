"""The tokenizer of a model folder: transformers' own, from local files, quietly, without remote code."""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compiler.checkpoint.regular_file import find_file
from compiler.errors import CheckpointError, UsageError
from compiler.opening import open_regular
from compiler.sanitize import one_line

_PLAIN_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
_PLAIN_MODELS = ("llama", "opt")
_CONFIG_LIMIT_BYTES = 16 << 20
_LIMIT_BYTES = 256 << 20
_PANIC = "PanicException"
"""What a panic of native code arrives as; it is no Exception and its class cannot be imported."""

_READ_SUFFIXES = (".json", ".model", ".txt", ".jinja")
_ADVICE = "repair it, download the model again, or give the tokens with --prompt-ids"
_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


class Tokenizer:
    """Text to token ids and back.

    Args:
        ckpt: the folder with the tokenizer's files.

    Raises:
        UsageError: there is no tokenizer.
        CheckpointError: its files cannot be read.
    """

    def __init__(self, ckpt: Path) -> None:
        if not has_tokenizer(ckpt):
            raise UsageError(f"{ckpt} holds no tokenizer ({', '.join(_FILES)})", "give the tokens with --prompt-ids")
        self._ckpt = ckpt
        self._engine = _load(ckpt)

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt, special tokens as the model wants them.

        Raises:
            CheckpointError: the tokenizer is at odds with itself.
        """
        with _explained(self._ckpt):
            return [int(token) for token in self._engine(text)["input_ids"]]

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of token ids, special tokens left out.

        Raises:
            CheckpointError: the tokenizer is at odds with itself.
        """
        with _explained(self._ckpt):
            return str(self._engine.decode(list(token_ids), skip_special_tokens=True))


def has_tokenizer(ckpt: Path) -> bool:
    """Whether the folder holds a tokenizer at all."""
    return any((ckpt / name).is_file() for name in _FILES)


def _check_files(ckpt: Path) -> None:
    """Refuse what a library would wait for, read without end or follow out of the model's folder.

    Raises:
        CheckpointError: naming the file.
    """
    for path in sorted(ckpt.iterdir()):
        if path.suffix in _READ_SUFFIXES and (file := find_file(ckpt, path.name)) and file.size > _LIMIT_BYTES:
            raise CheckpointError(f"{path.name} has {file.size} bytes, at most {_LIMIT_BYTES} are read", _ADVICE)


def _load(ckpt: Path) -> Any:
    _check_files(ckpt)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ["HF_HUB_OFFLINE"] = "1"  # a local folder must never make transformers ask the hub
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils import logging

        logging.set_verbosity_error()
        with _explained(ckpt):
            kind = _tokenizer_class(ckpt)
            return kind.from_pretrained(str(ckpt), local_files_only=True, trust_remote_code=False)


@contextmanager
def _explained(ckpt: Path) -> Iterator[None]:
    """Turn whatever the library makes of a damaged file into one line, and keep its own account of it from stderr.

    Raises:
        CheckpointError: the block failed.
    """
    try:
        with _quiet():
            yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
            raise
        raise CheckpointError(
            f"{ckpt}: the tokenizer, or the config.json it goes by, cannot be read ({_reason(error)})", _ADVICE
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what native code writes to stderr, a backtrace when it panics, from the terminal."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _reason(error: BaseException) -> str:
    """What an error of a library says, without the names of its classes."""
    text = re.sub(r"\b(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception)\b(?:\(|: ?)?", "", str(error))
    return one_line(text, 200).strip(" :'\"") or "its content makes no sense"


def _tokenizer_class(ckpt: Path) -> Any:
    """AutoTokenizer, or what it would choose where that is plain: it loads torch, 2 s and 300 MB, first."""
    declared = _text_field(ckpt / "tokenizer_config.json", "tokenizer_class")
    if (
        declared in _PLAIN_CLASSES
        and _text_field(ckpt / "config.json", "model_type") in _PLAIN_MODELS
        and (ckpt / "tokenizer.json").is_file()
    ):
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast
    from transformers import AutoTokenizer

    return AutoTokenizer


def _text_field(path: Path, name: str) -> str:
    try:
        with open_regular(path) as file:
            loaded = json.loads(file.read(_CONFIG_LIMIT_BYTES))
    except (OSError, ValueError, RecursionError):
        return ""
    value = loaded.get(name) if isinstance(loaded, dict) and "auto_map" not in loaded else None
    return value if isinstance(value, str) else ""
