"""Checkpoint folders as the tests need them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty `ckpt` folder of a model, with a config.json."""
    path = tmp_path / "ORG" / "NAME" / "ckpt"
    path.mkdir(parents=True)
    (path / "config.json").write_text('{"model_type": "opt"}')
    return path


@pytest.fixture
def write_raw() -> Callable[..., None]:
    """Write a safetensors file from a header and bytes as they are, sound or not."""

    def write(
        path: Path, header: Mapping[str, object] | bytes, content: bytes = b"", length: int | None = None
    ) -> None:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + content)

    return write
