"""One tiny model, compiled once for all tests of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.cli.main import main
from tests.oracle.checkpoints import RECIPES, write_checkpoint

MODEL_ID = "tiny/llama-gqa"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix with a tiny Llama and its tokenizer, compiled to u55c-1x-float32 and u55c-3x-float32."""
    prefix = tmp_path_factory.mktemp("prefix")
    recipe = next(each for each in RECIPES if each.model_id == MODEL_ID)
    write_checkpoint(recipe, prefix / MODEL_ID / "ckpt", tokenizer=True)
    for num_devices in ("1", "3"):
        options = ["--prefix", str(prefix), "--num-device", num_devices, "--dtype", "float32", "--offline"]
        assert main(["compile", MODEL_ID, *options]) == 0
    return prefix
