"""A running local hub, and the real client pointed at it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from compiler.errors import HyperDexError
from compiler.hub import Snapshot, download
from compiler.hub.client import Patience
from compiler.workspace import ModelFolder
from tests.hub.local_hub import LocalHub, running

MODEL = "org/model"
TOKEN = "hf_SecretTokenOfTheTests"
WEIGHTS = "model.safetensors"
QUICK = Patience(attempts=3, first_wait_s=0.001, longest_wait_s=0.002, longest_asked_s=0.0, timeout_s=5.0)

CONFIG = json.dumps({"model_type": "opt", "hidden_size": 8}).encode()
SHARDS = {f"model-0000{i}-of-00002.safetensors": bytes([i]) * 3000 for i in (1, 2)}
INDEX = json.dumps({"weight_map": {f"t{i}": name for i, name in enumerate(SHARDS)}}).encode()
WHOLE = {"config.json": CONFIG, "tokenizer.json": b'{"a":1}', "model.safetensors": bytes(range(256)) * 40}
SHARDED = {"config.json": CONFIG, "model.safetensors.index.json": INDEX, **SHARDS}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    """A hub with one repository, and no token stored anywhere."""
    import huggingface_hub.constants

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with running(LocalHub()) as hub:
        hub.add(MODEL, WHOLE)
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


@pytest.fixture
def folder(prefix: Path) -> ModelFolder:
    """The model's folder, not created yet."""
    return ModelFolder(prefix, MODEL)


def get(folder: ModelFolder, **options: object) -> Snapshot:
    """Download into `folder` with little patience."""
    return download(folder.model_id, folder, patience=QUICK, **options)  # type: ignore[arg-type]


def refused(folder: ModelFolder, **options: object) -> HyperDexError:
    """Return the error of a download that must fail and leave no weights."""
    with pytest.raises(HyperDexError) as caught:
        get(folder, **options)
    assert str(caught.value).isprintable()
    assert not (folder.ckpt / WEIGHTS).exists()
    return caught.value
