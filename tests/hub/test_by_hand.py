"""Files placed by hand: whatever keeps them from being a checkpoint is named, without asking the hub."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from compiler.errors import CheckpointError, HubError, HyperDexError
from compiler.hub import read_config
from compiler.workspace import ModelFolder
from tests.hub.conftest import CONFIG, MODEL, SHARDED, WHOLE, get
from tests.hub.local_hub import LocalHub
from tests.sealed import sealed

REPLACEMENTS: dict[str, Callable[[Path], object]] = {
    "a folder, expected a regular file": Path.mkdir,
    "a pipe, expected a regular file": os.mkfifo,
    "cannot be opened": lambda path: path.symlink_to(path.name),
    "outside the model folder": lambda path: path.symlink_to("/etc/passwd"),
}


def place(folder: ModelFolder, files: dict[str, bytes]) -> None:
    folder.ckpt.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder.ckpt / name).write_bytes(content)


def both(folder: ModelFolder, *, offline: bool) -> HyperDexError:
    """The error of the two phases that look at the files, in their order."""
    with pytest.raises(HyperDexError) as caught:
        read_config(MODEL, folder, offline=offline)
        get(folder, offline=offline)
    assert str(caught.value).isprintable()
    return caught.value


@pytest.mark.parametrize("offline", [False, True], ids=["online", "offline"])
@pytest.mark.parametrize("said", REPLACEMENTS)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_is_no_regular_file_is_named(
    hub: LocalHub, folder: ModelFolder, name: str, said: str, offline: bool
) -> None:
    place(folder, {other: content for other, content in WHOLE.items() if other != name})
    REPLACEMENTS[said](folder.ckpt / name)
    error = both(folder, offline=offline)
    assert isinstance(error, CheckpointError)
    assert name in str(error)
    assert said in str(error)
    assert hub.seen == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"model.safetensors": b"x"}, "but config.json is missing; place it there, too"),
        ({"config.json": CONFIG}, "holds no weights: neither model.safetensors nor pytorch_model.bin"),
        ({"config.json": CONFIG, "tokenizer.json": b"{}"}, "holds no weights"),
    ],
)
def test_a_part_of_a_checkpoint_names_the_other_part(
    hub: LocalHub, folder: ModelFolder, files: dict[str, bytes], said: str
) -> None:
    place(folder, files)
    error = both(folder, offline=True)
    assert isinstance(error, CheckpointError)
    assert said in str(error)


@pytest.mark.parametrize("missing", [False, True], ids=["empty", "missing"])
def test_nothing_at_all_is_a_matter_of_the_hub(hub: LocalHub, folder: ModelFolder, missing: bool) -> None:
    if not missing:
        folder.ckpt.mkdir(parents=True)
    error = both(folder, offline=True)
    assert isinstance(error, HubError)
    assert "config.json and the weights are missing" in str(error)


def test_a_file_in_the_place_of_ckpt_is_named(hub: LocalHub, folder: ModelFolder) -> None:
    folder.path.mkdir(parents=True)
    folder.ckpt.write_text("")
    for offline in (False, True):
        assert "ckpt is not a folder" in str(both(folder, offline=offline))
    assert hub.seen == []


def test_shards_without_their_index_name_the_index(hub: LocalHub, folder: ModelFolder) -> None:
    place(folder, {name: content for name, content in SHARDED.items() if not name.endswith(".index.json")})
    error = both(folder, offline=False)
    assert isinstance(error, CheckpointError)
    assert "their index model.safetensors.index.json is missing" in str(error)


def test_weights_under_another_name_are_named(hub: LocalHub, folder: ModelFolder) -> None:
    place(folder, {"config.json": CONFIG, "consolidated.safetensors": b"x"})
    error = both(folder, offline=False)
    assert isinstance(error, CheckpointError)
    assert "holds consolidated.safetensors, but neither model.safetensors" in str(error)


def test_a_shard_that_is_no_file_is_named(hub: LocalHub, folder: ModelFolder) -> None:
    place(folder, SHARDED)
    shard = next(name for name in SHARDED if name.startswith("model-"))
    (folder.ckpt / shard).unlink()
    (folder.ckpt / shard).mkdir()
    assert f"{shard} in {folder.ckpt} is a folder" in str(both(folder, offline=False))
    (folder.ckpt / shard).rmdir()
    (folder.ckpt / shard).symlink_to("nowhere")
    assert f"{shard} is a link to nothing" in str(both(folder, offline=False))


def test_a_download_that_is_not_whole_says_what_is_missing_offline(hub: LocalHub, folder: ModelFolder) -> None:
    get(folder)
    (folder.ckpt / "tokenizer.json").unlink()
    assert "(tokenizer.json changed or missing)" in str(both(folder, offline=True))
    path = folder.ckpt / "hyperdex_download.json"
    record = json.loads(path.read_text())
    path.write_bytes(sealed({**record, "requested": "v1"}))
    assert "not revision main)" in str(both(folder, offline=True))
    path.write_text(json.dumps({**record, "complete": 0}))
    assert "its download was interrupted" in str(both(folder, offline=True))
