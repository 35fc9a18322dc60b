"""The workspace: names stay inside the prefix, and one process at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.dtypes import BUILD_DTYPES, DType
from compiler.errors import BusyError, UsageError
from compiler.workspace import (
    MAX_DEVICES,
    ModelFolder,
    Workspace,
    build_name,
    default_prefix,
    lock,
    parse_build_name,
    parse_model_id,
)

REPOSITORY = Path(__file__).parent.parent
TARGETS = st.sampled_from(["u55c", "lpu-819", "lpu-1640", "lpu-3280", "a-2x"])


@pytest.mark.parametrize("text", ["facebook/opt-125m", "gpt2", "meta-llama/Llama-3.2-1B", "a/b_c.d-e", "_x/y"])
def test_model_ids_parse_to_themselves(text: str) -> None:
    assert parse_model_id(text) == text
    assert parse_model_id(f"  {text}\n") == text


REFUSED_IDS = (
    *("", " ", "/", "..", "a/..", "../a", "/etc/passwd", "a/b/c", "a//b", "a/", "/a", "-a/b", "a/-b", ".a/b", "a/.git"),
    *("a\x00b", "a\nb", "a\x1b[31m/b", "a\\b", "C:/x", "a b/c", "~/a", "ä/b", "a/b?c", "a/b#c", "a/x..y", "a" * 97),
    *("org/ckpt", "param", "jobs/x"),
)


@pytest.mark.parametrize("text", REFUSED_IDS)
def test_anything_else_is_refused_in_one_printable_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_model_id(text)
    assert str(caught.value).isprintable()
    assert "\\\\x" not in str(caught.value)


@given(st.text(max_size=40))
def test_no_text_leaves_the_prefix(text: str) -> None:
    prefix = Path("/prefix")
    try:
        folder = Workspace(prefix).model(text)
    except UsageError:
        return
    assert Path(os.path.normpath(folder.path)).is_relative_to(prefix)
    assert folder.path != prefix


@given(TARGETS, st.integers(1, MAX_DEVICES), st.sampled_from(BUILD_DTYPES))
def test_parse_inverts_build_name(target: str, num_devices: int, dtype: DType) -> None:
    assert parse_build_name(build_name(target, num_devices, dtype)) == (target, num_devices, dtype.name)


@given(st.from_regex(r"[a-z0-9-]{1,8}-[0-9]{1,3}x(-[a-z]*(16|32))?", fullmatch=True))
def test_build_name_inverts_parse(text: str) -> None:
    try:
        parsed = parse_build_name(text)
    except UsageError:
        return
    assert build_name(*parsed) == text


def test_float16_is_not_in_the_name() -> None:
    assert build_name("u55c", 1, "float16") == "u55c-1x"
    assert build_name("u55c", 2, "bfloat16") == "u55c-2x-bfloat16"


@pytest.mark.parametrize("text", ["", "u55c", "u55c-0x", "u55c-65x", "u55c-1x-float16", "u55c-1x/..", "../u55c-1x"])
def test_impossible_builds_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="TARGET-Nx"):
        parse_build_name(text)
    with pytest.raises(UsageError, match="TARGET-Nx"):
        ModelFolder(tmp_path, "a/b").param(text)


@pytest.mark.parametrize(
    ("target", "count", "dtype"), [("u55c", 0, "float16"), ("U 5", 1, "float16"), ("u", 1, "int8")]
)
def test_impossible_build_parts_are_refused(target: str, count: int, dtype: str) -> None:
    with pytest.raises(UsageError):
        build_name(target, count, dtype)


def test_paths_follow_the_layout(tmp_path: Path) -> None:
    folder = Workspace(tmp_path).model("org/name")
    base = tmp_path / "org" / "name"
    assert (folder.path, folder.ckpt, folder.jobs) == (base, base / "ckpt", base / "jobs")
    assert (folder.param("u55c-1x"), folder.inst("u55c-1x")) == (base / "param/u55c-1x", base / "inst/u55c-1x")
    assert list(tmp_path.iterdir()) == []


def test_builds_are_the_union_of_both_folders(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path, "a/b")
    for path in (folder.param("u55c-2x"), folder.inst("u55c-1x"), folder.inst("u55c-2x")):
        path.mkdir(parents=True)
    (folder.path / "param" / "not a build").mkdir()
    (folder.path / "param" / ".u55c-4x.tmp-1").mkdir()
    assert folder.builds() == ("u55c-1x", "u55c-2x")


def test_models_finds_both_depths_and_stays_inside(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    outside = tmp_path / "outside"
    for path in (
        prefix / "gpt2/ckpt",
        prefix / "org/a/inst/u55c-1x",
        prefix / "org/b/jobs",
        prefix / "org/empty/ckpt",
        prefix / "tmp/x/param/cache",
        outside / "ckpt",
        prefix / ".x/y/ckpt",
    ):
        path.mkdir(parents=True)
    (prefix / "org/deep/er/ckpt").mkdir(parents=True)
    for path in (prefix / "gpt2/ckpt", outside / "ckpt", prefix / ".x/y/ckpt"):
        (path / "config.json").touch()
    (prefix / "org/link").symlink_to(outside)
    (prefix / "loop").symlink_to(prefix)
    (prefix / "note.txt").write_text("")
    assert [folder.model_id for folder in Workspace(prefix).models()] == ["gpt2", "loop/gpt2", "org/a"]


def test_a_prefix_that_is_no_folder_has_no_models(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Workspace(tmp_path / "file").models() == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="this user may read everything")
def test_a_model_that_may_not_be_read_is_listed_beside_the_others(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "org" / name / "ckpt").mkdir(parents=True)
        (tmp_path / "org" / name / "ckpt" / "config.json").write_text("{}")
    (tmp_path / "org" / "a").chmod(0)
    try:
        assert [folder.model_id for folder in Workspace(tmp_path).models()] == ["org/a", "org/b"]
    finally:
        (tmp_path / "org" / "a").chmod(0o700)


@pytest.mark.parametrize("name", ["ckpt", "param", "inst", "jobs"])
def test_a_folder_of_a_model_that_lies_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    folder = ModelFolder(tmp_path / "prefix", "a/b")
    folder.path.mkdir(parents=True)
    (tmp_path / "prefix" / "c" / name).mkdir(parents=True)
    for outside in (tmp_path / "outside", tmp_path / "prefix" / "c" / name):
        outside.mkdir(exist_ok=True)
        (folder.path / name).symlink_to(outside)
        with (
            pytest.raises(UsageError, match=rf"b/{name} is a link to .*, outside the model folder; move"),
            lock(folder),
        ):
            pass
        (folder.path / name).unlink()
    assert list(folder.path.iterdir()) == []
    (folder.path / "inside").mkdir()
    (folder.path / name).symlink_to("inside")
    with lock(folder):
        pass


@pytest.mark.parametrize("name", ["ckpt", "param", "inst"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path, name: str) -> None:
    folder = ModelFolder(tmp_path, "a/b")
    folder.path.mkdir(parents=True)
    (folder.path / name).write_text("")
    with pytest.raises(UsageError, match=rf"b/{name} is not a folder"), lock(folder):
        pass


def test_a_missing_prefix_has_no_models(tmp_path: Path) -> None:
    assert Workspace(tmp_path / "none").models() == ()


def test_the_environment_chooses_the_prefix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HYPERDEX_PREFIX", "~/models")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_prefix() == tmp_path / "models"


def test_without_a_choice_the_prefix_is_writable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HYPERDEX_PREFIX", raising=False)
    monkeypatch.setattr("compiler.workspace.SYSTEM_PREFIX", tmp_path / "opt" / "models")
    assert default_prefix() == tmp_path / "opt" / "models"
    (tmp_path / "opt").write_text("a file in the way")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_prefix() == tmp_path / "data" / "hyperdex" / "models"


def test_the_second_holder_is_told_who_is_first(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path, "a/b")
    with lock(folder), pytest.raises(BusyError, match=f"pid {os.getpid()}, since 20"), lock(folder):
        pass
    with lock(folder):
        pass
    assert sorted(entry.name for entry in folder.path.iterdir()) == [".lock"]


def test_a_killed_holder_frees_the_lock_and_its_leftovers(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from compiler.workspace import lock, ModelFolder, publish_folder\n"
        "folder = ModelFolder(Path(sys.argv[1]), 'a/b')\n"
        "with lock(folder), publish_folder(folder.inst('u55c-1x')): print('held', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    folder = ModelFolder(tmp_path, "a/b")
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=f"pid {holder.pid}"), lock(folder):
            pass
        holder.send_signal(signal.SIGKILL)
    with lock(folder):
        assert list((folder.path / "inst").iterdir()) == []


@pytest.mark.parametrize("mode", [0o444, 0o400, 0o000])
def test_a_lock_file_copied_with_read_only_modes_is_no_obstacle(tmp_path: Path, mode: int) -> None:
    folder = ModelFolder(tmp_path, "a/b")
    with lock(folder):
        pass
    (folder.path / ".lock").chmod(mode)
    with lock(folder), pytest.raises(BusyError), lock(folder):
        pass


def test_waiting_ends_when_the_time_is_over(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path, "a/b")
    started = time.monotonic()
    with lock(folder), pytest.raises(BusyError), lock(folder, wait_s=0.3):
        pass
    assert 0.3 <= time.monotonic() - started < 10


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"owner": 1}', "[" * 3000, '{"owner":"\\u001b[31m","host":1,"pid":2,"since":3}']
)
def test_a_strange_holder_file_still_gives_a_busy_error(tmp_path: Path, content: str) -> None:
    folder = ModelFolder(tmp_path, "a/b")
    with lock(folder):
        (folder.path / ".lock.json").write_text(content)
        with pytest.raises(BusyError) as caught, lock(folder):
            pass
    assert str(caught.value).isprintable()


def test_the_holder_file_names_the_four_facts(tmp_path: Path) -> None:
    with lock(tmp_path):
        assert sorted(json.loads((tmp_path / ".lock.json").read_text())) == ["host", "owner", "pid", "since"]


def test_a_lock_under_a_file_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(UsageError, match="cannot be written"), lock(ModelFolder(tmp_path, "a/b")):
        pass


def test_importing_the_workspace_is_lean() -> None:
    code = (
        "import sys, compiler.workspace; print([m for m in ('filelock', 'platformdirs', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe"])
def test_a_lock_is_not_taken_through_what_somebody_else_put_there(tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    path = tmp_path / "model" / ".lock"
    path.parent.mkdir()
    put = {
        "link": lambda: path.symlink_to(outside),
        "dangling link": lambda: path.symlink_to(tmp_path / "new"),
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
    }
    put[kind]()
    with pytest.raises(UsageError, match=r"\.lock is not a regular file; remove it"), lock(tmp_path / "model"):
        pass
    assert outside.read_text() == "precious" and not (tmp_path / "new").exists()


def test_a_home_folder_that_nobody_has_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERDEX_PREFIX", "~nobody-of-this-name/models")
    with pytest.raises(UsageError, match="home folder that does not exist"):
        default_prefix()
