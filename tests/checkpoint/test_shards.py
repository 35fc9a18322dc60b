"""Which files are read: the right ones, whole, and none outside the model folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from compiler.checkpoint.reader import open_checkpoint
from compiler.errors import CheckpointError

INDEX = "model.safetensors.index.json"


def write_index(folder: Path, weight_map: object) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def refused(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught, open_checkpoint(folder):
        pass
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.fixture
def sharded(folder: Path) -> Path:
    save_file({"a": torch.ones(3), "b": torch.zeros(2)}, folder / "model-00001-of-00002.safetensors")
    save_file({"c": torch.ones(4)}, folder / "model-00002-of-00002.safetensors")
    write_index(
        folder,
        {"a": "model-00001-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"}
        | {"c": "model-00002-of-00002.safetensors"},
    )
    return folder


def test_shards_are_one_checkpoint(sharded: Path) -> None:
    with open_checkpoint(sharded) as checkpoint:
        assert sorted(checkpoint.tensors) == ["a", "b", "c"]
        assert [chunk.sum() for chunk in checkpoint.chunks("c")] == [4.0]
        assert [file.name for file in checkpoint.files][-1] == INDEX


def test_bin_shards_are_read_where_no_safetensors_exist(folder: Path) -> None:
    torch.save({"a": torch.ones(3)}, folder / "pytorch_model-1.bin")
    torch.save({"b": torch.ones(3)}, folder / "pytorch_model-2.bin")
    weight_map = {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with open_checkpoint(folder) as checkpoint:
        assert sorted(checkpoint.tensors) == ["a", "b"]
    save_file({"x": torch.ones(1)}, folder / "model.safetensors")
    with open_checkpoint(folder) as checkpoint:
        assert sorted(checkpoint.tensors) == ["x"]


def test_missing_shards_are_named_together(sharded: Path) -> None:
    for path in sharded.glob("*.safetensors"):
        path.unlink()
    assert "lacks 2 of 2 shards: model-00001-of-00002.safetensors, model-00002" in refused(sharded)


def test_tensors_that_the_index_promises_are_named_together(sharded: Path) -> None:
    shard = "model-00001-of-00002.safetensors"
    write_index(sharded, {"a": shard, "b": shard} | {f"lost.{index}": shard for index in range(20)})
    assert "20 tensors that its shards lack: lost.0, lost.1" in refused(sharded)
    assert "and 12 more" in refused(sharded)


def test_a_tensor_comes_from_the_shard_that_the_index_names(folder: Path) -> None:
    save_file({"a": torch.zeros(1)}, folder / "1.safetensors")
    save_file({"a": torch.ones(1), "b": torch.ones(1)}, folder / "2.safetensors")
    for owner, value in (("1", 0.0), ("2", 1.0)):
        write_index(folder, {"a": f"{owner}.safetensors", "b": "2.safetensors"})
        with open_checkpoint(folder) as checkpoint:
            assert next(checkpoint.chunks("a"))[0] == value


@pytest.mark.parametrize(
    "name",
    [
        "../../other/model.safetensors",
        "/etc/model.safetensors",
        "sub/model.safetensors",
        "..\\model.safetensors",
        "C:model.safetensors",
        ".hidden.safetensors",
        "a\x00.safetensors",
        "a\n.safetensors",
        "model.bin",
        "",
        "x" * 300 + ".safetensors",
        None,
        7,
        ["1.safetensors"],
    ],
)
def test_a_weight_map_cannot_leave_the_folder(name: object, sharded: Path) -> None:
    write_index(sharded, {"a": name})
    assert "not a .safetensors file name" in refused(sharded)


@pytest.mark.parametrize("weight_map", [None, [], {}, "x", 3])
def test_an_index_without_a_map_is_refused(weight_map: object, sharded: Path) -> None:
    write_index(sharded, weight_map)
    assert "no weight_map" in refused(sharded)


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, '{"weight_map": {"a": "1", "a": "2"}}'])
def test_a_damaged_index_is_refused(content: str, sharded: Path) -> None:
    (sharded / INDEX).write_text(content)
    assert INDEX in refused(sharded)


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    assert "holds no weights" in refused(folder)


def test_a_link_inside_the_model_folder_is_followed_as_in_a_hub_cache(folder: Path) -> None:
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    save_file({"a": torch.ones(2)}, blobs / "0123")
    (folder / "model.safetensors").symlink_to(Path("..") / "blobs" / "0123")
    with open_checkpoint(folder) as checkpoint:
        assert list(checkpoint.tensors) == ["a"]


def test_a_link_out_of_the_model_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "outside")
    (folder / "model.safetensors").symlink_to(tmp_path / "outside")
    assert "outside the model folder" in refused(folder)


def test_a_dangling_link_is_no_file_and_a_loop_of_links_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.symlink_to(folder / "nothing")
    assert "holds no weights" in refused(folder)
    path.unlink()
    path.symlink_to(path)
    assert "model.safetensors" in refused(folder)


def test_a_pipe_a_device_or_a_folder_is_refused_without_waiting(folder: Path) -> None:
    path = folder / "model.safetensors"
    os.mkfifo(path)
    assert "is a pipe" in refused(folder)
    path.unlink()
    path.mkdir()
    assert "is a folder" in refused(folder)


def test_a_file_that_may_not_be_read_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file({"a": torch.ones(2)}, path)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert "cannot be opened" in refused(folder)
