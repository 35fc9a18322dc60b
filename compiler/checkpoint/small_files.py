"""The files of a checkpoint beside its weights: config, tokenizer, generation settings.

In: a checkpoint folder. Out: which are there, with their hashes. A program is made from
them, too: the tokens that end a text are in it, and a prompt becomes tokens by them.
"""

from __future__ import annotations

from pathlib import Path

from compiler.checkpoint.converted import SourceFile
from compiler.checkpoint.regular_file import find_file

SMALL_NAMES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "chat_template.jinja",
)
"""Everything that is read but the weights; only the first must exist."""


def hash_small_files(ckpt: Path) -> tuple[SourceFile, ...]:
    """Name, size and SHA-256 of those that are there, in the order of the table.

    Raises:
        CheckpointError: one cannot be read, is no regular file or a link that leaves the model folder.
    """
    found = [find_file(ckpt, name) for name in SMALL_NAMES]
    return tuple(SourceFile(file.name, file.size, file.sha256()) for file in found if file is not None)
