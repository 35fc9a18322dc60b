"""The two converted files belong together, and damage to either is an ArtifactError."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from compiler.checkpoint.binary import open_model
from compiler.checkpoint.convert import convert
from compiler.checkpoint.converted import CONFIG_NAME, MODEL_NAME, ConvertedModel, load_converted
from compiler.checkpoint.fingerprint import STATE_NAME, checkpoint_fingerprint, is_up_to_date
from compiler.checkpoint.tensors import TensorSpec
from compiler.dtypes import FLOAT16
from compiler.errors import ArtifactError, CheckpointError

SPECS = [TensorSpec("a", (4, 3)), TensorSpec("b", (5,)), TensorSpec("c", (4, 3), tied_to="a")]


def run(folder: Path) -> ConvertedModel:
    config = json.loads((folder / "config.json").read_text())
    return convert(folder, SPECS, config, "X", FLOAT16, ignored=lambda name: False, on_progress=lambda *step: None)


@pytest.fixture
def converted(folder: Path) -> Path:
    torch.manual_seed(0)
    save_file({"a": torch.randn(4, 3), "b": torch.randn(5).half()}, folder / "model.safetensors")
    run(folder)
    return folder


def test_nothing_converted_is_none_and_cannot_be_opened(folder: Path) -> None:
    assert load_converted(folder) is None
    assert is_up_to_date(folder) == (False, "not converted yet")
    with pytest.raises(ArtifactError, match="no converted model"):
        open_model(folder)


def test_a_flipped_byte_of_the_description_is_an_artifact_error(converted: Path) -> None:
    path = converted / CONFIG_NAME
    sound = path.read_bytes()
    for position in range(len(sound) - 1):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 1]) + sound[position + 1 :])
        with pytest.raises(ArtifactError):
            load_converted(converted)


def test_a_truncated_description_is_an_artifact_error(converted: Path) -> None:
    path = converted / CONFIG_NAME
    sound = path.read_bytes()
    for size in random.Random(0).sample(range(len(sound) - 1), 40):
        path.write_bytes(sound[:size])
        with pytest.raises(ArtifactError):
            load_converted(converted)


def _set(path: tuple[str | int, ...], value: object) -> Callable[[dict[str, object]], None]:
    def change(document: dict[str, object]) -> None:
        place: object = document
        for step in path[:-1]:
            place = place[step]  # type: ignore[index]
        place[path[-1]] = value  # type: ignore[index]

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set(("format_version",), 2),
        _set(("format_version",), True),
        _set(("config",), []),
        _set(("config",), {"model_type": "other"}),
        _set(("fingerprint",), "0" * 64),
        _set(("fingerprint",), "xyz"),
        _set(("files", 0, "sha256"), "A" * 64),
        _set(("files", 0, "size"), 1),
        _set(("tensors",), {}),
        _set(("tensors", 0, "offset"), 128),
        _set(("tensors", 0, "offset"), 65),
        _set(("tensors", 1, "offset"), 64),
        _set(("tensors", 0, "bytes"), 44),
        _set(("tensors", 0, "dtype"), "float64"),
        _set(("tensors", 0, "dtype"), "float16"),
        _set(("tensors", 0, "shape"), [4.0, 3]),
        _set(("tensors", 0, "shape"), [3, 4]),
        _set(("tensors", 0, "absmax"), None),
        _set(("tensors", 0, "crc32"), -1),
        _set(("tensors", 0, "name"), "b"),
        _set(("tensors", 2, "tied_to"), "nobody"),
        _set(("tensors", 2, "tied_to"), "c"),
        _set(("tensors", 2, "tied_to"), "b"),
        _set(("tensors", 2, "tied_to"), ""),
    ],
)
def test_a_description_that_lies_is_refused_even_with_a_right_hash(
    change: Callable[[dict[str, object]], None], converted: Path
) -> None:
    path = converted / CONFIG_NAME
    document = json.loads(path.read_bytes())
    del document["sha256"]
    change(document)
    text = json.dumps(document, separators=(",", ":")) + "\n"
    document["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    with pytest.raises(ArtifactError):
        load_converted(converted)
    assert not is_up_to_date(converted)[0]


def test_a_binary_file_of_another_size_header_or_conversion_is_refused(converted: Path) -> None:
    path = converted / MODEL_NAME
    sound = path.read_bytes()
    damaged = [sound[:-1], sound + b"\0", sound[:10], b"", b"X" + sound[1:], sound[:8] + b"\1" + sound[9:]]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(ArtifactError):
            open_model(converted)
        assert not is_up_to_date(converted)[0]
    save_file({"a": torch.randn(4, 3), "b": torch.randn(5).half()}, converted / "model.safetensors")
    path.unlink()
    description = (converted / CONFIG_NAME).read_bytes()
    run(converted)
    (converted / CONFIG_NAME).write_bytes(description)
    with pytest.raises(ArtifactError, match="another conversion"):
        open_model(converted)


def test_a_flipped_byte_of_a_tensor_is_an_artifact_error(converted: Path) -> None:
    sound = (converted / MODEL_NAME).read_bytes()
    model = load_converted(converted)
    assert model is not None
    for tensor in model.tensors:
        open_model(converted).check(tensor.name)
        for position in (tensor.offset, tensor.offset + tensor.bytes - 1):
            damaged = sound[:position] + bytes([sound[position] ^ 64]) + sound[position + 1 :]
            (converted / MODEL_NAME).write_bytes(damaged)
            with pytest.raises(ArtifactError, match=repr(tensor.name)):
                open_model(converted).check(tensor.name)
        (converted / MODEL_NAME).write_bytes(sound)


def test_an_unknown_tensor_is_an_artifact_error(converted: Path) -> None:
    with pytest.raises(ArtifactError, match="nobody"):
        open_model(converted).array("nobody")


def test_a_fresh_conversion_is_up_to_date_and_has_the_checkpoints_fingerprint(converted: Path) -> None:
    model = load_converted(converted)
    assert model is not None
    assert is_up_to_date(converted) == (True, "up to date")
    assert checkpoint_fingerprint(converted) == model.fingerprint


def test_a_changed_file_is_named_as_the_reason(converted: Path) -> None:
    save_file({"a": torch.zeros(4, 3), "b": torch.zeros(5).half()}, converted / "model.safetensors")
    assert is_up_to_date(converted) == (False, "model.safetensors changed")
    run(converted)
    (converted / "config.json").write_text('{"model_type": "llama"}')
    assert is_up_to_date(converted) == (False, "config.json changed")
    (converted / "config.json").unlink()
    assert "config.json" in is_up_to_date(converted)[1]
    (converted / "model.safetensors").unlink()
    assert "holds no weights" in is_up_to_date(converted)[1]


def test_the_order_and_spacing_of_config_json_do_not_matter(converted: Path) -> None:
    (converted / "config.json").write_text('{"b": 1, "a": 2}')
    first = checkpoint_fingerprint(converted)
    (converted / "config.json").write_text('{\n "a":2, "b":1}')
    assert checkpoint_fingerprint(converted) == first


def test_an_unchanged_file_is_not_read_again(converted: Path) -> None:
    """Same name, size and time, other bytes: only a reader of the file could notice."""
    path = converted / "model.safetensors"
    before = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert is_up_to_date(converted)[0]
    (converted / STATE_NAME).unlink()
    assert not is_up_to_date(converted)[0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"files": 3}',
        b'{"files": [{"name": "model.safetensors", "size": "x"}]}',
        b'{"files": [{"name": "model.safetensors", "size": 1, "mtime_ns": 1, "sha256": "zz"}]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_state_file_is_written_anew(content: bytes, converted: Path) -> None:
    sound = (converted / STATE_NAME).read_bytes()
    (converted / STATE_NAME).write_bytes(content)
    assert is_up_to_date(converted)[0]
    assert (converted / STATE_NAME).read_bytes() == sound


def test_a_fingerprint_needs_weights_and_config(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no weights"):
        checkpoint_fingerprint(folder)
