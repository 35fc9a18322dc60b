"""`hyperdex compile` and `hyperdex generate --json` on a checkpoint of every architecture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compiler.cli.main import main
from tests.oracle.checkpoints import FAMILIES, PROMPT, Recipe, greedy, write_checkpoint


@pytest.mark.slow
@pytest.mark.parametrize("recipe", FAMILIES, ids=str)
def test_the_command_line_gives_transformers_greedy_tokens(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt = tmp_path / recipe.model_id / "ckpt"
    write_checkpoint(recipe, ckpt, tokenizer=True)
    expected = greedy(ckpt, PROMPT, 20)
    where = ["--prefix", str(tmp_path)]
    options = ["--num-device", "2", "--dtype", "float32", "--offline"]
    assert main(["compile", recipe.model_id, *where, *options]) == 0
    capsys.readouterr()
    ids = ",".join(map(str, PROMPT))
    assert main(["generate", recipe.model_id, *where, "--prompt-ids", ids, "--max-new-tokens", "20", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["token_ids"] == expected
    assert told["text"]
