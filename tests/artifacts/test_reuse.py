"""A build is kept when it is the one that would be written, and made again when anything about it is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from compiler.artifacts.files import read_manifest
from compiler.artifacts.manifest import FileEntry, Manifest
from compiler.artifacts.reuse import reason_to_build
from tests.sealed import sealed

Folders = tuple[Path, Path]


def wanted(folder: Path) -> Manifest:
    return replace(read_manifest(folder, folder.parent.name), files=(), tables=())


def test_a_whole_build_is_kept(folders: Folders) -> None:
    assert [reason_to_build(folder, wanted(folder)) for folder in folders] == ["", ""]


def test_a_folder_without_manifest_is_not_built(folders: Folders) -> None:
    asked = wanted(folders[0])
    (folders[0] / "manifest.json").unlink()
    assert reason_to_build(folders[0], asked) == "not built yet"


def test_a_flipped_byte_in_any_small_file_is_noticed(folders: Folders) -> None:
    for folder in folders:
        asked = wanted(folder)
        for path in sorted(folder.iterdir()):
            if path.name.startswith("param_") or path.name == "manifest.json":
                continue
            original = path.read_bytes()
            for place in {len(original) // 3, len(original) // 2, len(original) - 3}:
                content = bytearray(original)
                content[place] ^= 1
                path.write_bytes(content)
                assert reason_to_build(folder, asked)
            path.write_bytes(original)
        assert reason_to_build(folder, asked) == ""


def test_a_missing_or_cut_file_is_named(folders: Folders) -> None:
    for folder in folders:
        asked = wanted(folder)
        for path in sorted(folder.iterdir()):
            if path.name == "manifest.json":
                continue
            original = path.read_bytes()
            path.write_bytes(original[:-1])
            assert reason_to_build(folder, asked) == f"{path.name} has another size"
            path.unlink()
            assert f"{path.name} cannot be read: it is missing" in reason_to_build(folder, asked)
            path.write_bytes(original)


def test_who_compiles_already_is_not_told_to(folders: Folders) -> None:
    for folder in folders:
        asked = wanted(folder)
        small = [path for path in folder.iterdir() if not path.name.startswith("param_")]
        for path in sorted(small, key=lambda path: path.name == "manifest.json"):
            path.unlink()
            path.write_text("{")
            reason = reason_to_build(folder, asked)
            assert reason and "compile" not in reason and ";" not in reason


def test_a_manifest_edited_in_place_is_noticed(folders: Folders) -> None:
    asked, path = wanted(folders[1]), folders[1] / "manifest.json"
    sound = json.loads(path.read_text())
    for change in ({"vocab_size": 71}, {"eos_token_ids": []}, {"lmu_elements": 64}):
        path.write_bytes(sealed({**sound, **change}))
        assert reason_to_build(folders[1], asked) == "manifest.json is not what was written"
    path.write_text(json.dumps({**sound, "vocab_size": 71}))
    assert "does not match its own hash" in reason_to_build(folders[1], asked)
    path.write_bytes(sealed({**sound, "files": sound["files"][1:]}))
    assert reason_to_build(folders[1], asked) == "manifest.json lists other files than were written"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"eos_token_ids": (1,)}, "eos token ids changed"),
        ({"max_length": 32, "passes": ()}, "max length, passes changed"),
        ({"num_layers": 7}, "its inputs changed"),
        ({"sources": (FileEntry("tokenizer.json", 3, "ab"),)}, "tokenizer.json changed"),
    ],
)
def test_other_inputs_are_named(folders: Folders, change: dict[str, object], reason: str) -> None:
    asked = replace(wanted(folders[1]), fingerprint="other", **change)  # type: ignore[arg-type]
    assert reason_to_build(folders[1], asked) == reason
