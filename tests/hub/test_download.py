"""Downloads that work: the right files, whole, once."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from compiler.errors import CapacityError, CheckpointError, HubError, UnsupportedModelError, UsageError
from compiler.hub import read_config
from compiler.hub.client import connect
from compiler.hub.listing import make_plan
from compiler.workspace import ModelFolder
from tests.hub.conftest import CONFIG, INDEX, MODEL, QUICK, SHARDED, SHARDS, WHOLE, get
from tests.hub.local_hub import COMMIT, LocalHub


def content(folder: ModelFolder) -> dict[str, bytes]:
    record = "hyperdex_download.json"
    return {path.name: path.read_bytes() for path in folder.ckpt.iterdir() if path.name != record}


@pytest.mark.parametrize("files", [WHOLE, SHARDED], ids=["whole", "sharded"])
def test_ckpt_holds_exactly_what_the_hub_has(hub: LocalHub, folder: ModelFolder, files: dict[str, bytes]) -> None:
    hub.add(MODEL, files)
    snapshot = get(folder)
    assert content(folder) == files
    assert (snapshot.model_id, snapshot.revision, snapshot.origin) == (MODEL, COMMIT, "hub")
    assert snapshot.fetched_bytes == sum(map(len, files.values()))
    hashes = {name: (len(raw), hashlib.sha256(raw).hexdigest()) for name, raw in files.items()}
    assert {name: (size, sha256) for name, size, sha256 in snapshot.files} == hashes


def test_only_what_the_compiler_reads_is_fetched(hub: LocalHub, folder: ModelFolder) -> None:
    noise = ("modeling.py", "setup.py", "tf_model.h5", "model.onnx", "pytorch_model.bin", "a/config.json")
    noise += ("consolidated.safetensors", "chat_template.py", "model.gguf", "training_args.bin", "rust_model.ot")
    hub.add(MODEL, {**WHOLE, "chat_template.jinja": b"{{ x }}", **dict.fromkeys(noise, b"noise")})
    get(folder)
    assert content(folder) == {**WHOLE, "chat_template.jinja": b"{{ x }}"}


def test_bin_is_taken_where_there_are_no_safetensors(hub: LocalHub, folder: ModelFolder) -> None:
    index = json.dumps({"weight_map": {"t": "pytorch_model-00001-of-00001.bin"}}).encode()
    files = {"config.json": CONFIG, "pytorch_model.bin.index.json": index, "pytorch_model-00001-of-00001.bin": b"w"}
    hub.add(MODEL, files)
    get(folder)
    assert content(folder) == files


def test_empty_files_are_whole_too(hub: LocalHub, folder: ModelFolder) -> None:
    hub.add(MODEL, {**WHOLE, "merges.txt": b""})
    get(folder)
    assert content(folder)["merges.txt"] == b""


def test_an_unchanged_second_run_transfers_and_writes_nothing(hub: LocalHub, folder: ModelFolder) -> None:
    first = get(folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.ckpt.iterdir()}
    hub.seen.clear()
    second = get(folder)
    assert hub.fetched() == []
    assert second.fetched_bytes == 0
    assert second.files == first.files
    assert {path.name: path.stat().st_mtime_ns for path in folder.ckpt.iterdir()} == before


def test_a_pinned_commit_needs_no_hub_again(hub: LocalHub, folder: ModelFolder) -> None:
    get(folder)
    hub.seen.clear()
    assert get(folder, revision=COMMIT).revision == COMMIT
    assert read_config(MODEL, folder, revision=COMMIT)["hidden_size"] == 8
    assert hub.seen == []


def test_offline_uses_a_complete_download(hub: LocalHub, folder: ModelFolder) -> None:
    get(folder)
    hub.seen.clear()
    assert get(folder, offline=True).revision == COMMIT
    assert read_config(MODEL, folder, offline=True)["model_type"] == "opt"
    assert hub.seen == []


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_without_a_download_is_a_hub_error(
    hub: LocalHub, folder: ModelFolder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    for ask in (get, lambda folder: read_config(MODEL, folder)):
        with pytest.raises(HubError, match="may not be asked"):
            ask(folder)
    assert hub.seen == []


def test_a_new_commit_fetches_only_what_changed_and_drops_what_is_gone(hub: LocalHub, folder: ModelFolder) -> None:
    get(folder)
    hub.seen.clear()
    hub.add(MODEL, {**SHARDED, "config.json": CONFIG}, commit="b" * 40)
    snapshot = get(folder)
    assert snapshot.revision == "b" * 40
    assert sorted(set(hub.fetched())) == sorted(SHARDED.keys() - {"config.json"})
    assert content(folder) == SHARDED


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete"])
def test_a_damaged_file_is_fetched_again(hub: LocalHub, folder: ModelFolder, damage: str) -> None:
    get(folder)
    path = folder.ckpt / "model.safetensors"
    if damage == "delete":
        path.unlink()
    elif damage == "truncate":
        os.truncate(path, 100)
    else:
        path.write_bytes(path.read_bytes()[::-1])
    hub.seen.clear()
    get(folder)
    assert hub.fetched() == ["model.safetensors"]
    assert content(folder) == WHOLE


def test_a_touched_file_is_hashed_and_kept(hub: LocalHub, folder: ModelFolder) -> None:
    get(folder)
    os.utime(folder.ckpt / "model.safetensors", ns=(1, 1))
    hub.seen.clear()
    get(folder)
    assert hub.fetched() == []


@pytest.mark.parametrize("files", [WHOLE, SHARDED], ids=["whole", "sharded"])
def test_files_placed_by_hand_need_no_network(hub: LocalHub, folder: ModelFolder, files: dict[str, bytes]) -> None:
    folder.ckpt.mkdir(parents=True)
    for name, raw in files.items():
        (folder.ckpt / name).write_bytes(raw)
    snapshot = get(folder)
    assert (snapshot.origin, snapshot.revision) == ("local", "")
    assert {(name, size) for name, size, _ in snapshot.files} == {(name, len(raw)) for name, raw in files.items()}
    assert read_config(MODEL, folder)["model_type"] == "opt"
    assert hub.seen == []
    assert content(folder) == files
    assert not (folder.ckpt / "hyperdex_download.json").exists()


def test_shards_missing_by_hand_are_named_at_once(hub: LocalHub, folder: ModelFolder) -> None:
    folder.ckpt.mkdir(parents=True)
    shards = {f"t{i}": f"model-{i}.safetensors" for i in range(4)}
    (folder.ckpt / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    (folder.ckpt / "config.json").write_bytes(CONFIG)
    (folder.ckpt / "model-3.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"3 files .* model-0\.safetensors, model-1\.safetensors, model-2"):
        get(folder)


def test_weights_placed_ahead_are_adopted(hub: LocalHub, folder: ModelFolder) -> None:
    folder.ckpt.mkdir(parents=True)
    (folder.ckpt / "model.safetensors").write_bytes(WHOLE["model.safetensors"])
    get(folder)
    assert "model.safetensors" not in hub.fetched()
    assert content(folder) == WHOLE


def test_progress_is_monotonic_and_ends_at_the_total(hub: LocalHub, folder: ModelFolder) -> None:
    seen: list[tuple[int, int, str]] = []
    get(folder, on_progress=lambda *report: seen.append(report))
    done = [report[0] for report in seen]
    total = sum(map(len, WHOLE.values()))
    assert done == sorted(done)
    assert seen[-1][:2] == (total, total)
    assert {report[1] for report in seen} == {total}


def test_a_plan_writes_nothing(hub: LocalHub, folder: ModelFolder) -> None:
    hub.add(MODEL, SHARDED)
    plan = make_plan(connect(None, QUICK, print), MODEL, None)
    assert plan.total_bytes == sum(map(len, SHARDED.values()))
    assert [file.name for file in plan.files] == ["config.json", "model.safetensors.index.json", *SHARDS]
    assert hub.fetched() == ["model.safetensors.index.json"]
    assert not folder.path.exists()


def test_a_disk_too_small_is_found_before_the_download(
    hub: LocalHub, folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grow(listing: dict[str, object]) -> object:
        for sibling in listing["siblings"]:  # type: ignore[attr-defined]
            sibling["size"] = 1 << 49
        return listing

    hub.edit_listing = grow
    with pytest.raises(CapacityError, match=r"needs 1\.7 PB"):
        get(folder)
    assert hub.fetched() == []


def test_modes_follow_the_umask(hub: LocalHub, folder: ModelFolder) -> None:
    before = os.umask(0o027)
    try:
        get(folder)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in folder.ckpt.iterdir()} == {0o640}


def test_config_is_read_without_writing(hub: LocalHub, folder: ModelFolder) -> None:
    assert read_config(MODEL, folder, patience=QUICK) == {"model_type": "opt", "hidden_size": 8}
    assert not folder.path.exists()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "not valid JSON"),
        (b"[]", "holds a list"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": 1, "a": 2}', "'a' appears twice"),
        (b'\xff{"a": 1}', "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b" " * ((16 << 20) + 1), "longer than 16777216 bytes"),
    ],
    ids=["empty", "list", "nan", "twice", "not-utf-8", "deep", "long"],
)
def test_a_bad_config_is_a_checkpoint_error(hub: LocalHub, folder: ModelFolder, raw: bytes, said: str) -> None:
    hub.add(MODEL, {**WHOLE, "config.json": raw})
    with pytest.raises(CheckpointError, match=said):
        read_config(MODEL, folder, patience=QUICK)
    folder.ckpt.mkdir(parents=True)
    (folder.ckpt / "config.json").write_bytes(raw)
    with pytest.raises(CheckpointError, match=said):
        read_config(MODEL, folder, patience=QUICK)


def test_a_repository_without_config_or_weights_is_unsupported(hub: LocalHub, folder: ModelFolder) -> None:
    hub.add(MODEL, {"config.json": CONFIG, "model.gguf": b"x"})
    with pytest.raises(UnsupportedModelError, match=r"no model\.safetensors and no pytorch_model\.bin"):
        get(folder)
    hub.add(MODEL, {"model.safetensors": b"x"})
    with pytest.raises(UnsupportedModelError, match=r"has no config\.json"):
        get(folder)
    with pytest.raises(HubError, match=r"config\.json does not exist"):
        read_config(MODEL, folder, patience=QUICK)


@pytest.mark.parametrize("revision", ["", "a\nb", "../x", "a..b"])
def test_impossible_revisions_are_refused_unasked(hub: LocalHub, folder: ModelFolder, revision: str) -> None:
    with pytest.raises(UsageError, match="is not a branch, tag or commit"):
        get(folder, revision=revision)
    assert hub.seen == []


def test_a_model_id_the_hub_forbids_is_a_usage_error(hub: LocalHub, prefix: Path) -> None:
    folder = ModelFolder(prefix, "org/a--b")
    for ask in (get, lambda folder: read_config(folder.model_id, folder)):
        with pytest.raises(UsageError, match="the hub's rules do not allow"):
            ask(folder)


@pytest.mark.parametrize("edit", [{"format_version": 2}, {"files": [{}]}, {"files": None}, {"revision": 1}, None])
def test_a_record_that_cannot_be_read_has_every_file_hashed_again(
    hub: LocalHub, folder: ModelFolder, edit: dict[str, object] | None
) -> None:
    first = get(folder)
    path = folder.ckpt / "hyperdex_download.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **edit}) if edit is not None else "[" * 100_000)
    (folder.ckpt / "tokenizer.json").write_bytes(b"damaged")
    with pytest.raises(HubError, match="not complete"):
        get(folder, offline=True)
    hub.seen.clear()
    assert get(folder).files == first.files
    assert hub.fetched() == ["tokenizer.json"]


def test_a_record_cannot_name_a_file_elsewhere(hub: LocalHub, folder: ModelFolder) -> None:
    get(folder)
    victim = folder.path / "victim"
    victim.write_text("")
    path = folder.ckpt / "hyperdex_download.json"
    record = json.loads(path.read_text())
    record["files"].append({**record["files"][0], "name": "../victim"})
    path.write_text(json.dumps(record))
    hub.add(MODEL, {**WHOLE, "tokenizer.json": b"new"}, commit="c" * 40)
    get(folder)
    assert victim.exists()


def test_index_and_shards_come_from_one_commit(hub: LocalHub, folder: ModelFolder) -> None:
    hub.add(MODEL, SHARDED)
    get(folder)
    paths = [seen.path for seen in hub.seen if "/resolve/" in seen.path]
    assert all(f"/resolve/{COMMIT}/" in path for path in paths)
    assert (folder.ckpt / "model.safetensors.index.json").read_bytes() == INDEX


@pytest.mark.parametrize("extra", [{}, {"size": 3, "blobId": "zz"}], ids=["names only", "useless hashes"])
@pytest.mark.parametrize("name", [WHOLE, SHARDED], ids=["whole", "sharded"])
def test_a_mirror_whose_listing_has_no_hashes_is_asked_for_each_file(
    hub: LocalHub, folder: ModelFolder, name: dict[str, bytes], extra: dict[str, object]
) -> None:
    hub.add(MODEL, name)
    hub.edit_listing = lambda listing: {
        **listing,
        "siblings": [{"rfilename": sibling["rfilename"], **extra} for sibling in listing["siblings"]],
    }
    snapshot = get(folder)
    for file, size, sha256 in snapshot.files:
        content = (folder.ckpt / file).read_bytes()
        assert content == name[file]
        assert (size, sha256) == (len(content), hashlib.sha256(content).hexdigest())
