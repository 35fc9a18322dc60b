"""Weights that the build's dtype cannot hold: refused by name, or clamped and written down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.artifacts.reader import open_build
from compiler.cli.main import main
from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32
from compiler.emulator.memory import Memory
from compiler.errors import CheckpointError
from compiler.rounding import cast
from compiler.workspace import ModelFolder
from torture.subject import MODEL_ID, safetensors_bytes, weights, write_checkpoint

LARGE = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture
def model(prefix: Path) -> ModelFolder:
    """A model with one weight matrix that float16 cannot hold, stored as float32."""
    folder = ModelFolder(prefix, MODEL_ID)
    write_checkpoint(folder.ckpt, seed=1)
    tensors = {name: array.astype("<f4") for name, array in weights(1).items()}
    tensors[LARGE][3, 5], tensors[LARGE][4, 6], tensors[LARGE][5, 7] = 65519.0, 70000.0, -1e30
    (folder.ckpt / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    return folder


def _compile(folder: ModelFolder, *options: str) -> int:
    return main(["compile", MODEL_ID, "--prefix", str(folder.prefix), "--offline", *options])


def test_overflow_is_refused_by_name_before_anything_is_written(
    model: ModelFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _compile(model) == CheckpointError.exit_code
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"{LARGE} (1e+30)" in last and "--allow-overflow" in last
    assert model.builds() == ()
    assert sorted(path.name for path in model.ckpt.iterdir()) == ["config.json", "model.safetensors"]


def test_allowed_overflow_is_clamped_and_recorded(model: ModelFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert _compile(model, "--allow-overflow") == 0
    assert f"[Warning] 1 tensor holds values beyond float16, which ends at 65504: {LARGE}" in capsys.readouterr().err
    build = open_build(model.param("u55c-1x"), model.inst("u55c-1x"), verify=True)
    assert build.param_manifest.clamped == build.manifest.clamped == (LARGE,)
    region = next(each for each in build.memory_map.regions if each.name == LARGE)
    matrix = Memory(build, range(1)).open_parameters(region.begin, region.rows, region.cols, region.stride)
    values = matrix.readers[0].values().reshape(region.rows, region.cols)
    assert (values[3, 5], values[4, 6], values[5, 7]) == (65504.0, 65504.0, -65504.0)
    assert np.isfinite(values).all()
    assert main(["verify", MODEL_ID, "--prefix", str(model.prefix)]) == 0
    assert "1 tensor clamped to float16" in capsys.readouterr().out


def test_a_clamped_build_is_not_taken_for_one_that_is_not(
    model: ModelFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _compile(model, "--allow-overflow") == 0
    assert _compile(model) == CheckpointError.exit_code
    capsys.readouterr()
    assert _compile(model, "--allow-overflow") == 0
    assert capsys.readouterr().err.count("Up to date") == 4


def test_the_flag_changes_nothing_where_nothing_overflows(
    model: ModelFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _compile(model, "--dtype", "float32") == 0
    capsys.readouterr()
    assert _compile(model, "--dtype", "float32", "--allow-overflow") == 0
    assert capsys.readouterr().err.count("Up to date") == 4


@pytest.mark.parametrize("target", [FLOAT16, BFLOAT16, FLOAT32], ids=str)
def test_clamping_keeps_what_fits_and_the_sign(target: object) -> None:
    assert target in (FLOAT16, BFLOAT16, FLOAT32)
    values = np.array([0.0, -0.0, 1.5, -1e-7, 3.4e38, -3.4e38, 65519.0], np.float32)
    clamped = cast(values, FLOAT32, target, clamp=True)
    plain = cast(values, FLOAT32, target)
    as_numbers = cast(clamped, target, FLOAT32)
    assert np.isfinite(as_numbers).all()
    fits = np.isfinite(cast(plain, target, FLOAT32))
    assert (clamped[fits] == plain[fits]).all()
    assert (np.signbit(as_numbers) == np.signbit(values)).all()
