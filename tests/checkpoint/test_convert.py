"""Conversion keeps every value, refuses what a build cannot hold, and publishes nothing half done."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from compiler.checkpoint.binary import open_model
from compiler.checkpoint.convert import check_range, convert
from compiler.checkpoint.converted import CONFIG_NAME, MODEL_NAME, ConvertedModel, load_converted
from compiler.checkpoint.scan import PIECE_BYTES, largest_magnitude
from compiler.checkpoint.tensors import TensorSpec
from compiler.dtypes import BFLOAT16, BUILD_DTYPES, FLOAT16, FLOAT32, FLOAT64, DType
from compiler.errors import CapacityError, CheckpointError, HyperDexError, UnsupportedModelError
from compiler.rounding import storage, to_float32

CONFIG: dict[str, object] = {"model_type": "opt"}


def specs_of(tensors: dict[str, torch.Tensor]) -> list[TensorSpec]:
    return [TensorSpec(name, tuple(tensor.shape)) for name, tensor in tensors.items()]


def run(folder: Path, specs: list[TensorSpec], dtype: DType = FLOAT16) -> ConvertedModel:
    return convert(folder, specs, CONFIG, "X", dtype, ignored=lambda name: False, on_progress=lambda *step: None)


def saved(folder: Path, tensors: dict[str, torch.Tensor], kind: str = "safetensors") -> list[TensorSpec]:
    if kind == "safetensors":
        save_file(tensors, folder / "model.safetensors")
    else:
        torch.save(tensors, folder / "pytorch_model.bin")
    return specs_of(tensors)


def values(tensor: torch.Tensor) -> np.ndarray:
    kept = tensor.float() if tensor.dtype == torch.float64 else tensor
    return kept.view(torch.uint16).numpy() if kept.dtype == torch.bfloat16 else kept.numpy()


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_every_value_of_every_dtype_is_kept(kind: str, folder: Path) -> None:
    base = torch.randn(31, 17, dtype=torch.float64)
    tensors = {"d": base, "h": base.half(), "b": base.bfloat16(), "f": base.float(), "e": torch.zeros(0, 3)}
    tensors |= {"s": torch.tensor(-2.5), "odd": torch.randn(3).half()}
    specs = saved(folder, tensors, kind)[::-1]
    model = run(folder, specs)
    opened = open_model(folder)
    for name, tensor in tensors.items():
        array = opened.array(name)
        assert array.shape == tuple(tensor.shape)
        assert (array == values(tensor)).all()
        assert not array.flags.writeable
        assert opened.tensor(name).absmax == (tensor.float().abs().max().item() if tensor.numel() else 0.0)
    assert [tensor.name for tensor in model.tensors] == [spec.name for spec in specs]
    assert all(tensor.offset % 64 == 0 for tensor in model.tensors)
    assert opened.dtype("d") == FLOAT32
    assert load_converted(folder) == model


def test_a_tensor_longer_than_a_piece_is_kept(folder: Path) -> None:
    tensors = {"a": torch.ones(3).half(), "long": torch.randn(PIECE_BYTES // 4 * 2 + 5), "z": torch.ones(9)}
    specs = saved(folder, tensors)
    steps: list[tuple[int, int, str]] = []
    convert(
        folder,
        specs,
        CONFIG,
        "X",
        FLOAT32,
        ignored=lambda name: False,
        on_progress=lambda done, total, spec: steps.append((done, total, spec.name)),
    )
    assert (open_model(folder).array("long") == tensors["long"].numpy()).all()
    assert [done for done, _, _ in steps] == sorted(done for done, _, _ in steps)
    assert steps[-1][0] == steps[-1][1] == sum(tensor.nbytes for tensor in tensors.values())


def test_views_that_share_or_scatter_their_storage_are_kept(folder: Path) -> None:
    base = torch.randn(40, 30)
    tensors = {"whole": base, "again": base, "rows": base[10:20], "turned": base.T, "column": base[:, 4]}
    specs = saved(folder, tensors, "bin")
    model = run(folder, specs, FLOAT32)
    for name, tensor in tensors.items():
        assert (open_model(folder).array(name) == tensor.numpy()).all()
    content = (folder / "pytorch_model.bin").read_bytes()
    assert model.files[0].sha256 == hashlib.sha256(content).hexdigest()


def test_tied_tensors_share_their_place(folder: Path) -> None:
    specs = [TensorSpec("head", (4, 2), tied_to="w"), *saved(folder, {"w": torch.randn(4, 2)})]
    run(folder, specs)
    opened = open_model(folder)
    assert opened.tensor("head").tied_to == "w"
    assert opened.tensor("head").offset == opened.tensor("w").offset
    assert (opened.array("head") == opened.array("w")).all()


def test_files_are_hashed_as_they_are(folder: Path) -> None:
    for index, name in enumerate(("a", "b")):
        save_file({name: torch.ones(3 + index)}, folder / f"{index}.safetensors")
    weight_map = {"a": "0.safetensors", "b": "1.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    model = run(folder, [TensorSpec("b", (4,)), TensorSpec("a", (3,))])
    assert len(model.files) == 3
    for file in model.files:
        assert file.sha256 == hashlib.sha256((folder / file.name).read_bytes()).hexdigest()


def test_two_conversions_give_the_same_bytes(folder: Path) -> None:
    specs = saved(folder, {"a": torch.randn(100), "b": torch.randn(7).half()})
    outputs = []
    for _ in range(2):
        run(folder, specs)
        outputs.append([(folder / name).read_bytes() for name in (MODEL_NAME, CONFIG_NAME)])
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_nan_or_infinity_is_refused_with_tensor_and_element(bad: float, dtype: torch.dtype, folder: Path) -> None:
    tensor = torch.zeros(5, 7, dtype=dtype)
    tensor[3, 2] = bad
    specs = saved(folder, {"fine": torch.ones(2), "model.w": tensor})
    with pytest.raises(CheckpointError, match=r"'model\.w' holds NaN or infinity at element 23"):
        run(folder, specs)
    assert not (folder / MODEL_NAME).exists()


def test_values_beyond_float16_are_refused_together_with_their_maxima(folder: Path) -> None:
    tensors = {
        "ok": torch.tensor([65519.0]),
        "over": torch.tensor([-65520.0, 1.0]),
        "far": torch.tensor([1e9]).bfloat16(),
    }
    specs = saved(folder, tensors)
    with pytest.raises(CheckpointError, match=r"2 tensors .* over \(65520\), far \(9\.98244e\+08\).*--dtype bfloat16"):
        run(folder, specs)
    assert not (folder / MODEL_NAME).exists()
    model = run(folder, specs, BFLOAT16)
    check_range(model.tensors, FLOAT32)
    with pytest.raises(CheckpointError, match="2 tensors hold values beyond float16"):
        check_range(model.tensors, FLOAT16)
    with pytest.raises(CheckpointError, match="1 tensor holds values beyond float16"):
        check_range(model.tensors[-1:], FLOAT16)


def test_a_float64_beyond_float32_is_refused(folder: Path) -> None:
    specs = saved(folder, {"w": torch.tensor([1e300], dtype=torch.float64)})
    with pytest.raises(CheckpointError, match="beyond float32"):
        run(folder, specs, FLOAT32)


@pytest.mark.parametrize("dtype", [*BUILD_DTYPES, FLOAT64], ids=str)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_the_largest_magnitude_is_the_maximum_of_the_magnitudes(dtype: DType, data: st.DataObject) -> None:
    bits = data.draw(st.lists(st.integers(0, (1 << 8 * dtype.itemsize) - 1), max_size=20))
    elements = np.array(bits, f"<u{dtype.itemsize}").view(storage(dtype))
    wide = elements if dtype == FLOAT64 else to_float32(elements, dtype)
    found = largest_magnitude(elements, dtype)
    if np.isfinite(wide).all():
        assert found == np.abs(wide).max(initial=0.0)
    else:
        assert not np.isfinite(found)


@pytest.mark.filterwarnings("default::ResourceWarning")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_set_of_tensors_survives(data: st.DataObject, folder: Path) -> None:
    dtypes = st.sampled_from([torch.float16, torch.bfloat16, torch.float32])
    shapes = st.lists(st.integers(0, 6), max_size=3)
    drawn = data.draw(st.lists(st.tuples(shapes, dtypes), min_size=1, max_size=8))
    tensors = {f"t{index}": torch.randn(shape).to(dtype) for index, (shape, dtype) in enumerate(drawn)}
    specs = saved(folder, tensors)
    run(folder, data.draw(st.permutations(specs)))
    opened = open_model(folder)
    assert all((opened.array(name) == values(tensor)).all() for name, tensor in tensors.items())


def test_a_failed_conversion_leaves_the_one_before(folder: Path) -> None:
    run(folder, saved(folder, {"w": torch.ones(3)}))
    before = sorted((path.name, path.read_bytes()) for path in folder.glob("hyperdex_*"))
    specs = saved(folder, {"w": torch.full((3,), float("nan"))})
    with pytest.raises(CheckpointError):
        run(folder, specs)
    with pytest.raises(CheckpointError):
        run(folder, [TensorSpec("other", (3,))])
    assert sorted((path.name, path.read_bytes()) for path in folder.glob("hyperdex_*")) == before


def test_a_stop_between_the_two_files_is_not_converted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = saved(folder, {"w": torch.ones(3)})
    run(folder, specs)
    monkeypatch.setattr("compiler.checkpoint.convert.dump_converted", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(folder, specs)
    assert load_converted(folder) is None


def _interrupted(model: ConvertedModel) -> bytes:
    raise KeyboardInterrupt


def test_a_file_that_changes_during_conversion_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    specs = saved(folder, {"w": torch.ones(3), "v": torch.ones(3)})

    def touch(done: int, total: int, spec: TensorSpec) -> None:
        with path.open("ab") as file:
            file.write(b"x")

    with pytest.raises(CheckpointError, match="changed"):
        convert(folder, specs, CONFIG, "X", FLOAT16, ignored=lambda name: False, on_progress=touch)
    assert not (folder / MODEL_NAME).exists()


def test_a_config_that_is_not_json_is_refused_before_the_work(folder: Path) -> None:
    specs = saved(folder, {"w": torch.ones(3)})
    with pytest.raises(UnsupportedModelError, match=r"config\.json"):
        convert(
            folder,
            specs,
            {"limit": float("inf")},
            "X",
            FLOAT16,
            ignored=lambda name: False,
            on_progress=lambda *step: None,
        )


def test_a_model_that_does_not_fit_the_disk_is_refused_before_the_work(folder: Path) -> None:
    size = 1 << 43
    if shutil.disk_usage(folder).free > size // 2:
        pytest.skip("this disk has room for 8 TB")
    with (folder / "model.safetensors").open("wb") as file:
        header = json.dumps({"w": {"dtype": "F16", "shape": [size // 2], "data_offsets": [0, size]}}).encode()
        file.write(len(header).to_bytes(8, "little") + header)
        try:
            file.truncate(8 + len(header) + size)
        except OSError:
            pytest.skip("this file system has no sparse files of 8 TB")
    with pytest.raises(CapacityError):
        run(folder, [TensorSpec("w", (size // 2,))])


def _anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_model(folder: Path) -> None:
    """Six buffers and their neighbours are 2 MB each; a tensor of 128 MB must not show."""
    size = 128 << 20
    header = json.dumps({"w": {"dtype": "F16", "shape": [size // 2], "data_offsets": [0, size]}}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)
    before = _anonymous_bytes()
    seen = []
    convert(
        folder,
        [TensorSpec("w", (size // 2,))],
        CONFIG,
        "X",
        FLOAT16,
        ignored=lambda name: False,
        on_progress=lambda *step: seen.append(_anonymous_bytes()),
    )
    assert max(seen) - before < 10 * PIECE_BYTES


def test_every_refusal_is_one_printable_line(folder: Path) -> None:
    specs = saved(folder, {"\x1b[31m\u202e": torch.full((2,), 1e9)})
    with pytest.raises(HyperDexError) as caught:
        run(folder, specs)
    assert str(caught.value).isprintable()
