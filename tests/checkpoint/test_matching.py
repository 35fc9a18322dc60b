"""All that is wrong between specs and checkpoint is said at once; what is right is paired."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from compiler.checkpoint.matching import Match, match_tensors
from compiler.checkpoint.reader import open_checkpoint
from compiler.checkpoint.tensors import StoredTensor, TensorSpec
from compiler.errors import CheckpointError, VerificationError


@contextmanager
def stored(folder: Path, tensors: dict[str, torch.Tensor]) -> Iterator[dict[str, StoredTensor]]:
    save_file(tensors, folder / "model.safetensors")
    with open_checkpoint(folder) as checkpoint:
        yield dict(checkpoint.tensors)


def match(specs: list[TensorSpec], tensors: dict[str, StoredTensor]) -> tuple[Match, ...]:
    return match_tensors(specs, tensors, lambda name: name.endswith(".mask"))


def test_everything_wrong_is_in_one_line(folder: Path) -> None:
    held = {f"extra.{index}": torch.zeros(1) for index in range(11)}
    held |= {"flat": torch.zeros(6), "whole": torch.zeros(2, dtype=torch.int32), "h.mask": torch.ones(1).bool()}
    specs = [TensorSpec("gone", (1,)), TensorSpec("flat", (2, 3)), TensorSpec("whole", (2,))]
    with stored(folder, held) as tensors, pytest.raises(CheckpointError) as caught:
        match(specs, tensors)
    line = str(caught.value)
    assert "1 missing: gone;" in line
    assert "11 unexpected: extra.0, " in line
    assert "and 3 more;" in line
    assert "1 misshapen: flat [6] instead of [2, 3];" in line
    assert "1 not floating-point: whole (I32);" in line
    assert "mask" not in line
    assert line.endswith("; use a checkpoint in float16, bfloat16 or float32")


def test_a_mismatch_may_be_the_files_or_the_config(folder: Path) -> None:
    with stored(folder, {"w": torch.zeros(2)}) as tensors, pytest.raises(CheckpointError) as caught:
        match([TensorSpec("w", (3,))], tensors)
    assert str(caught.value).endswith("; the files or config.json may be wrong; download the model again")


def test_float8_is_called_by_its_name(folder: Path) -> None:
    held = {"w": torch.zeros(2, dtype=torch.float8_e4m3fn)}
    with stored(folder, held) as tensors, pytest.raises(CheckpointError) as caught:
        match([TensorSpec("w", (2,))], tensors)
    assert "1 in float8 or less, which is not supported: w (F8_E4M3); use a checkpoint in float16" in str(caught.value)


def test_an_alias_stands_in_for_the_name(folder: Path) -> None:
    specs = [TensorSpec("model.w", (2,), aliases=("decoder.w", "w"))]
    with stored(folder, {"w": torch.zeros(2)}) as tensors:
        assert [item.stored.name for item in match(specs, tensors) if item.stored] == ["w"]


def test_two_spellings_of_one_tensor_are_refused(folder: Path) -> None:
    specs = [TensorSpec("model.w", (2,), aliases=("w",))]
    with (
        stored(folder, {"w": torch.zeros(2), "model.w": torch.zeros(2)}) as tensors,
        pytest.raises(CheckpointError, match="1 unexpected: w"),
    ):
        match(specs, tensors)


def test_an_optional_tensor_may_be_absent(folder: Path) -> None:
    specs = [TensorSpec("w", (2,)), TensorSpec("bias", (2,), optional=True)]
    with stored(folder, {"w": torch.zeros(2)}) as tensors:
        assert [item.spec.name for item in match(specs, tensors)] == ["w"]


@pytest.mark.parametrize(("optional", "reads_own"), [(False, False), (True, True)])
def test_only_an_optional_tie_gives_way_to_the_checkpoints_own_values(
    optional: bool, reads_own: bool, folder: Path
) -> None:
    specs = [TensorSpec("w", (2,)), TensorSpec("head", (2,), tied_to="w", optional=optional)]
    with stored(folder, {"w": torch.zeros(2), "head": torch.ones(2)}) as tensors:
        assert (match(specs, tensors)[1].stored is not None) == reads_own
        del tensors["head"]
        assert match(specs, tensors)[1].stored is None


@pytest.mark.parametrize(
    "specs",
    [
        [TensorSpec("w", (2,)), TensorSpec("w", (2,))],
        [TensorSpec("head", (2,), tied_to="w")],
        [TensorSpec("w", (3,)), TensorSpec("head", (2,), tied_to="w")],
        [TensorSpec("w", (2,)), TensorSpec("a", (2,), tied_to="w"), TensorSpec("b", (2,), tied_to="a")],
    ],
)
def test_specs_that_contradict_each_other_are_our_own_bug(specs: list[TensorSpec], folder: Path) -> None:
    with stored(folder, {"w": torch.zeros(2)}) as tensors, pytest.raises(VerificationError):
        match(specs, tensors)
