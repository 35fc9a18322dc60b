"""Builds go as a whole, under the lock, and what is left is sound."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compiler import publish
from compiler.errors import ArtifactError, BusyError
from compiler.removal import build_size, remove_builds
from compiler.workspace import ModelFolder, lock

OTHER = "u55c-2x"


@pytest.fixture
def folder(prefix: Path) -> ModelFolder:
    """A model with two builds."""
    made = ModelFolder(prefix, "org/model")
    for build in ("u55c-1x", OTHER):
        for path, size in ((made.param(build), 1000), (made.inst(build), 10)):
            path.mkdir(parents=True)
            (path / "manifest.json").write_bytes(bytes(size))
    made.ckpt.mkdir()
    (made.ckpt / "config.json").write_text("{}")
    return made


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_a_removed_build_leaves_nothing_and_the_others_stay(folder: ModelFolder) -> None:
    (removed,) = remove_builds(folder, ["u55c-1x"])
    assert (removed.param_bytes, removed.inst_bytes, removed.bytes) == (1000, 10, 1010)
    assert folder.builds() == (OTHER,)
    assert names(folder.path / "param") == names(folder.path / "inst") == [OTHER]
    assert (folder.ckpt / "config.json").is_file()


def test_a_missing_build_removes_none(folder: ModelFolder) -> None:
    with pytest.raises(ArtifactError, match="no build u55c-4x; it has: u55c-1x, u55c-2x"):
        remove_builds(folder, ["u55c-1x", "u55c-4x"])
    assert len(folder.builds()) == 2


def test_a_model_that_is_being_compiled_is_left_alone(folder: ModelFolder) -> None:
    with lock(folder), pytest.raises(BusyError):
        remove_builds(folder, ["u55c-1x"])
    assert len(folder.builds()) == 2


def test_half_a_build_can_be_removed(folder: ModelFolder) -> None:
    shutil.rmtree(folder.inst("u55c-1x"))
    (removed,) = remove_builds(folder, ["u55c-1x"])
    assert removed.bytes == 1000 and folder.builds() == (OTHER,)


def test_a_link_goes_and_what_it_points_to_stays(folder: ModelFolder, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    folder.param("u55c-1x").rename(kept)
    folder.param("u55c-1x").symlink_to(kept)
    remove_builds(folder, ["u55c-1x"])
    assert (kept / "manifest.json").is_file() and folder.builds() == (OTHER,)


def test_a_crash_in_between_never_brings_half_a_build_back(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(path: Path) -> None:
        (path / "manifest.json").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(publish.shutil, "rmtree", crash)
        remove_builds(folder, ["u55c-1x"])
    assert not folder.inst("u55c-1x").exists()
    with lock(folder):  # what the next user of the model does first
        assert names(folder.path / "inst") == [OTHER]
    assert build_size(folder, "u55c-1x").param_bytes == 1000


def run(folder: ModelFolder, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "compiler", "delete", folder.model_id, "--prefix", str(folder.prefix)]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def test_the_command_asks_first_and_names_sizes(folder: ModelFolder) -> None:
    done = run(folder, "--build", OTHER)
    assert done.returncode == 2 and "u55c-2x (1.0 kB)" in done.stderr and "say --yes" in done.stderr
    assert run(folder, "--yes").returncode == 2  # several builds, none named
    assert len(folder.builds()) == 2
    done = run(folder, "--all", "--yes", "--json")
    assert done.returncode == 0 and '"bytes": 2020' in done.stdout
    assert folder.builds() == ()
    assert run(folder, "--all", "--yes").returncode == 6
