"""Damage between two phases is found before it spreads."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.cli.main import main
from compiler.errors import ArtifactError
from compiler.workspace import ModelFolder
from torture.subject import MODEL_ID, write_checkpoint


def test_a_damaged_converted_model_is_not_mapped(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ModelFolder(prefix, MODEL_ID)
    write_checkpoint(folder.ckpt, seed=1)
    command = ["compile", MODEL_ID, "--prefix", str(prefix), "--offline"]
    assert main(command) == 0
    path = folder.ckpt / "hyperdex_model.bin"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert main([*command, "--num-device", "2"]) == ArtifactError.exit_code
    last = capsys.readouterr().err.splitlines()[-1]
    assert "hyperdex_model.bin is damaged: tensor" in last and "--force" in last
    assert folder.builds() == ("u55c-1x",)
    assert main([*command, "--num-device", "2", "--force"]) == 0
    assert main(["verify", MODEL_ID, "--prefix", str(prefix), "--build", "u55c-2x"]) == 0
