"""A safetensors file is read as it was written, and refused in one line when it lies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from compiler.checkpoint.reader import open_checkpoint
from compiler.checkpoint.untrusted_json import MAX_JSON_BYTES
from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from compiler.errors import CheckpointError

WriteRaw = Callable[..., None]


def entry(begin: int, end: int, shape: object = None, dtype: object = "U8") -> dict[str, object]:
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def test_elements_come_back_bit_for_bit_in_every_dtype(folder: Path) -> None:
    values = torch.randn(37, 11, dtype=torch.float64)
    tensors = {
        "half": values.half(),
        "brain": values.bfloat16(),
        "single": values.float(),
        "double": values,
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 5),
        "mask": torch.ones(3, dtype=torch.bool),
    }
    save_file(tensors, folder / "model.safetensors")
    with open_checkpoint(folder) as checkpoint:
        assert {name: stored.shape for name, stored in checkpoint.tensors.items()} == {
            name: tuple(tensor.shape) for name, tensor in tensors.items()
        }
        kinds = [checkpoint.tensors[name].dtype for name in ("half", "brain", "single", "double", "mask")]
        assert kinds == [FLOAT16, BFLOAT16, FLOAT32, FLOAT64, None]
        for name in ("half", "brain", "single", "double", "scalar", "empty"):
            expected = tensors[name].reshape(-1)
            expected = expected.view(torch.uint16) if expected.dtype == torch.bfloat16 else expected
            got = np.concatenate([np.zeros(0, expected.numpy().dtype), *map(np.copy, checkpoint.chunks(name, 100))])
            assert (got == expected.numpy()).all()
            assert got.dtype == expected.numpy().dtype
        with pytest.raises(CheckpointError, match=r"mask.*BOOL"):
            next(checkpoint.chunks("mask"))


BROKEN: dict[str, tuple[object, bytes, str]] = {
    "overlap": ({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12), "overlaps"),
    "hole": ({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12), "hole"),
    "hole at the start": ({"a": entry(4, 8)}, bytes(8), "hole"),
    "trailing bytes": ({"a": entry(0, 4)}, bytes(5), "1 byte behind"),
    "bytes without tensors": ({}, bytes(5), "5 bytes behind"),
    "end beyond the file": ({"a": entry(0, 64)}, bytes(8), "lies at bytes 0 to 64"),
    "end before begin": ({"a": entry(4, 0, [4])}, bytes(4), "lies at bytes"),
    "negative begin": ({"a": entry(-4, 0, [4])}, bytes(4), "lies at bytes"),
    "size other than the shape's": ({"a": entry(0, 8, [3], "F32")}, bytes(8), "needs 12 bytes, has 8"),
    "huge shape": ({"a": entry(0, 8, [2**40, 2**40, 2**40])}, bytes(8), "needs .* bytes"),
    "impossible size": ({"a": entry(0, 8, [2**60])}, bytes(8), "has shape"),
    "negative size": ({"a": entry(0, 8, [-8])}, bytes(8), "has shape"),
    "float size": ({"a": entry(0, 8, [8.0])}, bytes(8), "has shape"),
    "boolean size": ({"a": entry(0, 1, [True])}, bytes(1), "has shape"),
    "deep shape": (
        b'{"a": {"dtype": "U8", "data_offsets": [0, 1], "shape": ' + b"[" * 900 + b"]" * 900 + b"}}",
        b"x",
        "shape|deep",
    ),
    "too many dimensions": ({"a": entry(0, 1, [1] * 33)}, bytes(1), "has shape"),
    "shape as text": ({"a": entry(0, 1, "1")}, bytes(1), "has shape"),
    "float offset": ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0.0, 1]}}, bytes(1), "data_offsets"),
    "boolean offset": ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [False, True]}}, bytes(1), "data_offsets"),
    "three offsets": ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 1]}}, bytes(1), "data_offsets"),
    "no offsets": ({"a": {"dtype": "U8", "shape": [1]}}, bytes(1), "data_offsets"),
    "unknown dtype": ({"a": entry(0, 1, [1], "Q7")}, bytes(1), "dtype 'Q7'"),
    "dtype as a list": ({"a": entry(0, 1, [1], ["U8"])}, bytes(1), "dtype"),
    "tensor as a list": ({"a": [1]}, b"", "list"),
    "metadata as a list": ({"__metadata__": [1]}, b"", "__metadata__"),
    "metadata of numbers": ({"__metadata__": {"a": 1}}, b"", "__metadata__"),
    "header as a list": (b"[]", b"", "holds a list"),
    "not json": (b"{", b"", "not valid JSON"),
    "empty header": (b"", b"", "not valid JSON"),
    "not a number": (b'{"a": NaN}', b"", "NaN"),
    "not utf-8": (b'{"\xff": 1}', b"", "not valid JSON"),
    "utf-16": ('{"a": 1}'.encode("utf-16"), b"", "not valid JSON"),
    "deep": (b'{"a":' + b"[" * 100_000, b"", "nested too deeply"),
    "key twice": (b'{"a": 1, "a": 2}', b"", "'a' appears twice"),
    "field twice": (b'{"a": {"dtype": "U8", "dtype": "U8"}}', b"", "'dtype' appears twice"),
    "endless number": (b'{"a": 1' + b"0" * 10_000 + b"}", b"", "not valid JSON|int"),
    "too many items": (b'{"a":[' + b"0," * 700_001 + b"0]}", b"", "items, at most"),
    "too many objects": (b'{"a":[' + b"{}," * 100_101 + b"0]}", b"", "objects, at most"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_lies_is_refused_in_one_line(case: str, folder: Path, write_raw: WriteRaw) -> None:
    header, content, message = BROKEN[case]
    write_raw(folder / "model.safetensors", header, content)
    with pytest.raises(CheckpointError, match=message) as caught, open_checkpoint(folder):
        pass
    assert str(caught.value).isprintable()
    assert str(caught.value).endswith(("download the model again", "use a checkpoint in float16, bfloat16 or float32"))


@pytest.mark.parametrize("size", range(0, 60, 7))
def test_a_truncated_file_is_refused_wherever_it_ends(size: int, folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file({"a": torch.ones(5)}, path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError), open_checkpoint(folder):
        pass


@pytest.mark.parametrize("length", [MAX_JSON_BYTES + 1, 2**63, 2**64 - 1, 1000])
def test_a_header_longer_than_the_limit_or_the_file_is_refused(length: int, folder: Path, write_raw: WriteRaw) -> None:
    write_raw(folder / "model.safetensors", b"{}", b"", length)
    with pytest.raises(CheckpointError, match="header"), open_checkpoint(folder):
        pass


def test_more_than_a_hundred_thousand_tensors_are_refused(folder: Path, write_raw: WriteRaw) -> None:
    header = {str(index): {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for index in range(100_001)}
    write_raw(folder / "model.safetensors", header)
    with pytest.raises(CheckpointError, match="100001 tensors"), open_checkpoint(folder):
        pass


def test_a_tensor_name_cannot_reach_the_terminal(folder: Path, write_raw: WriteRaw) -> None:
    write_raw(folder / "model.safetensors", {"\x1b[2J\u202e\ud800\n": entry(0, 4)}, bytes(2))
    with pytest.raises(CheckpointError, match="lies at bytes") as caught, open_checkpoint(folder):
        pass
    assert str(caught.value).isprintable()


def test_header_padding_and_metadata_are_accepted(folder: Path, write_raw: WriteRaw) -> None:
    text = json.dumps({"__metadata__": {"format": "pt"}, "a": entry(0, 4, [1], "F32")}).encode() + b"   "
    write_raw(folder / "model.safetensors", text, bytes(4))
    with open_checkpoint(folder) as checkpoint:
        assert list(checkpoint.tensors) == ["a"]


def test_a_file_cut_off_while_it_is_read_is_an_error_not_a_signal(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file({"a": torch.ones(1000)}, path)
    with open_checkpoint(folder) as checkpoint:
        chunks = checkpoint.chunks("a", 400)
        next(chunks)
        with path.open("r+b") as file:
            file.truncate(500)
        with pytest.raises(CheckpointError, match=r"model\.safetensors ends at byte 500"):
            list(chunks)


def test_a_file_replaced_after_it_was_listed_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file({"a": torch.ones(1000)}, path)
    with open_checkpoint(folder) as checkpoint:
        path.unlink()
        save_file({"a": torch.zeros(1000)}, path)
        with pytest.raises(CheckpointError, match="changed"):
            list(checkpoint.chunks("a"))


def test_no_flipped_byte_is_more_than_a_checkpoint_error(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file({"a": torch.arange(6.0), "b": torch.ones(2, 2).half()}, path, {"format": "pt"})
    sound = path.read_bytes()
    for position, mask in [(position, mask) for position in range(len(sound)) for mask in (1, 0x20, 0x80)]:
        path.write_bytes(sound[:position] + bytes([sound[position] ^ mask]) + sound[position + 1 :])
        try:
            with open_checkpoint(folder) as checkpoint:
                for name, stored in checkpoint.tensors.items():
                    if stored.dtype is not None:
                        assert sum(chunk.nbytes for chunk in checkpoint.chunks(name)) == stored.bytes
        except CheckpointError as error:
            assert str(error).isprintable()


@pytest.mark.slow
def test_100_000_tensors_are_read(folder: Path, write_raw: WriteRaw) -> None:
    count = 100_000
    header = {f"model.layers.0.mlp.experts.{i}.gate_proj.weight": entry(i, i + 1) for i in range(count)}
    write_raw(folder / "model.safetensors", header, bytes(count))
    with open_checkpoint(folder) as checkpoint:
        assert len(checkpoint.tensors) == count


def test_a_text_of_megabytes_is_shown_at_once_and_short(folder: Path, write_raw: WriteRaw) -> None:
    write_raw(folder / "model.safetensors", {"\x1b\u202e" * 1_000_000: 7}, b"")
    with pytest.raises(CheckpointError) as caught, open_checkpoint(folder):
        pass
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400
