"""`.bin` files are read without torch, and nothing in them is ever run."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from compiler.checkpoint.reader import open_checkpoint
from compiler.errors import CheckpointError

NAME = "pytorch_model.bin"


def read(folder: Path, name: str) -> np.ndarray:
    with open_checkpoint(folder) as checkpoint:
        stored = checkpoint.tensors[name]
        return np.concatenate(list(map(np.copy, checkpoint.chunks(name, 64)))).reshape(stored.shape)


def write_archive(path: Path, content: bytes, records: dict[str, bytes] | None = None, **options: int) -> None:
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("archive/data.pkl", content)
        for name, record in (records or {}).items():
            archive.writestr(f"archive/{name}", record)


def tensor_pickle(kind: str = "FloatStorage", numel: int = 4, view: bytes = b"K\x00K\x04\x85K\x01\x85") -> bytes:
    """`{"a": tensor}` in opcodes: storage of `numel` elements, then offset, shape and strides as `view`."""
    storage = b"(X\x07\x00\x00\x00storagectorch\n" + kind.encode() + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    storage += b"J" + numel.to_bytes(4, "little", signed=True) + b"tQ"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}X\x01\x00\x00\x00a" + call + b"s."


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_state_dict_comes_back_bit_for_bit(folder: Path, protocol: int) -> None:
    weight = torch.randn(9, 7)
    state = OrderedDict(
        single=weight,
        half=weight.half(),
        double=weight.double(),
        parameter=torch.nn.Parameter(weight + 1),
        transposed=weight.T,
        column=weight[:, 3],
        part=weight[2:5],
        scalar=torch.tensor(2.0),
        empty=torch.zeros(3, 0),
        mask=torch.ones(4, dtype=torch.bool),
    )
    torch.save(state, folder / NAME, pickle_protocol=protocol)
    for name in ("single", "half", "double", "parameter", "transposed", "column", "part", "scalar"):
        expected = state[name].detach().numpy()
        got = read(folder, name)
        assert got.dtype == expected.dtype
        assert (got == expected).all()
    with open_checkpoint(folder) as checkpoint:
        assert checkpoint.tensors["mask"].dtype is None
        assert list(checkpoint.chunks("empty")) == []


def test_the_state_dict_of_a_module_is_read(folder: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3)).bfloat16()
    torch.save(module.state_dict(), folder / NAME)
    assert (read(folder, "0.weight") == module[0].weight.detach().view(torch.uint16).numpy()).all()


def test_reading_needs_no_torch(folder: Path) -> None:
    torch.save({"a": torch.ones(5)}, folder / NAME)
    code = (
        "import sys; from pathlib import Path; from compiler.checkpoint.reader import open_checkpoint\n"
        "with open_checkpoint(Path(sys.argv[1])) as c: assert next(c.chunks('a')).sum() == 5\n"
        "assert 'torch' not in sys.modules and 'safetensors' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=60)


class _Touches:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self._path,))


class _Evaluates:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (eval, (f"open({str(self._path)!r}, 'w')",))


@pytest.mark.parametrize("kind", [_Touches, _Evaluates])
@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_code_runs_nothing(kind: type, protocol: int, folder: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    write_archive(folder / NAME, pickle.dumps({"a": kind(victim)}, protocol))
    with pytest.raises(CheckpointError, match="safetensors"), open_checkpoint(folder):
        pass
    assert not victim.exists()


def test_a_refused_global_is_named(folder: Path) -> None:
    write_archive(folder / NAME, b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.")
    with pytest.raises(CheckpointError, match=r"would call os\.system"), open_checkpoint(folder):
        pass


PICKLES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "damaged"),
    "ends early": (b"\x80\x02}", "damaged"),
    "pops nothing": (b"0.", "damaged"),
    "no mark": (b"}t.", "damaged"),
    "endless text": (b"X\xff\xff\xff\xff", "damaged"),
    "unknown memo": (b"h\x07.", "damaged"),
    "instance": (b"(ios\nsystem\n.", "opcode"),
    "newobj": (b"cos\nsystem\n)\x81.", "opcode"),
    "extension": (b"\x82\x01.", "opcode"),
    "tuple as key": (b"}))s.", "damaged"),
    "attributes of a global": (b"cos\nsystem\n}b.", "damaged"),
    "a list": (b"].", "expected a dictionary"),
    "a tensor in a list": (b"}X\x01\x00\x00\x00a]s.", "holds a list"),
    "a nested dictionary": (
        b"}X\x01\x00\x00\x00a}s.",
        "holds a dictionary under 'a', wrapped dictionaries are not accepted; save the inner",
    ),
    "unknown storage": (tensor_pickle("QuantStorage"), "QuantStorage"),
    "foreign storage": (tensor_pickle("os.Storage"), "not supported"),
    "numel beyond the record": (tensor_pickle(numel=5), "too few; download the model again"),
    "negative numel": (tensor_pickle(numel=-1), "needs element"),
    "shape beyond the storage": (tensor_pickle(view=b"K\x00K\x05\x85K\x01\x85"), "needs element 4"),
    "offset beyond the storage": (tensor_pickle(view=b"K\x01K\x04\x85K\x01\x85"), "needs element 4"),
    "stride beyond the storage": (tensor_pickle(view=b"K\x00K\x04\x85K\x02\x85"), "needs element 6"),
    "expanded": (tensor_pickle(view=b"K\x00M\xff\xff\x85K\x00\x85"), "needs element"),
    "negative stride": (tensor_pickle(view=b"K\x03K\x04\x85J\xff\xff\xff\xff\x85"), "impossible"),
    "negative offset": (tensor_pickle(view=b"J\xff\xff\xff\xffK\x04\x85K\x01\x85"), "impossible"),
    "float size": (tensor_pickle(view=b"K\x00G@\x10\x00\x00\x00\x00\x00\x00\x85K\x01\x85"), "impossible"),
    "fewer strides": (tensor_pickle(view=b"K\x00K\x04\x85)"), "strides"),
}


@pytest.mark.parametrize("case", PICKLES)
def test_a_pickle_that_lies_is_refused(case: str, folder: Path) -> None:
    content, message = PICKLES[case]
    write_archive(folder / NAME, content, {"data/0": np.arange(4, dtype="<f4").tobytes()})
    with pytest.raises(CheckpointError, match=message), open_checkpoint(folder):
        pass


def test_a_sparse_memo_costs_no_memory(folder: Path) -> None:
    write_archive(folder / NAME, b"}r\xff\xff\xff\x7f.")
    with open_checkpoint(folder) as checkpoint:
        assert not checkpoint.tensors


def test_the_opcodes_of_these_tests_are_a_sound_tensor(folder: Path) -> None:
    write_archive(folder / NAME, tensor_pickle(), {"data/0": np.arange(4, dtype="<f4").tobytes()})
    assert (read(folder, "a") == np.arange(4)).all()


def test_a_missing_or_compressed_record_is_refused(folder: Path) -> None:
    write_archive(folder / NAME, tensor_pickle())
    with pytest.raises(CheckpointError, match="missing or compressed"), open_checkpoint(folder):
        pass
    write_archive(folder / NAME, tensor_pickle(), {"data/0": bytes(16)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="compressed"), open_checkpoint(folder):
        pass


def test_a_big_endian_archive_is_refused(folder: Path) -> None:
    write_archive(folder / NAME, tensor_pickle(), {"data/0": bytes(16), "byteorder": b"big"})
    with pytest.raises(CheckpointError, match="byte order"), open_checkpoint(folder):
        pass


def test_the_format_before_torch_1_6_is_refused_with_advice(folder: Path) -> None:
    torch.save({"a": torch.ones(3)}, folder / NAME, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"torch before 1\.6.*safetensors"), open_checkpoint(folder):
        pass


@pytest.mark.parametrize("size", [0, 1, 100, 500, -1])
def test_a_truncated_archive_advises_another_download(size: int, folder: Path) -> None:
    torch.save({"a": torch.ones(3)}, folder / NAME)
    (folder / NAME).write_bytes((folder / NAME).read_bytes()[:size])
    with pytest.raises(CheckpointError, match="; download the model again"), open_checkpoint(folder):
        pass


def test_a_file_of_something_else_is_told_by_its_first_bytes(folder: Path) -> None:
    (folder / NAME).write_bytes(b"<html>not found</html>")
    with pytest.raises(CheckpointError, match=r"begins with b'<htm'; download"), open_checkpoint(folder):
        pass


def test_no_truncation_and_no_flipped_byte_is_more_than_a_checkpoint_error(folder: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(6.0)}, buffer)
    sound = buffer.getvalue()
    broken = [sound[:size] for size in range(0, len(sound), 37)]
    broken += [sound[:at] + bytes([sound[at] ^ 0xFF]) + sound[at + 1 :] for at in range(0, len(sound), 3)]
    for content in broken:
        (folder / NAME).write_bytes(content)
        try:
            with open_checkpoint(folder) as checkpoint:
                for name, stored in checkpoint.tensors.items():
                    if stored.dtype is not None:
                        list(checkpoint.chunks(name))
        except CheckpointError:
            pass


def test_a_large_scattered_tensor_is_refused_instead_of_read_whole(folder: Path) -> None:
    wide = torch.zeros(2, (64 << 20) // 4 + 1)
    torch.save({"a": wide[:, :1]}, folder / NAME)
    with open_checkpoint(folder) as checkpoint, pytest.raises(CheckpointError, match="not contiguous"):
        list(checkpoint.chunks("a"))
