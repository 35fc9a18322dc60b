"""The app on a prefix with a hand-made build, and its screen as text."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from compiler.workspace import ModelFolder, Workspace
from hyperdex_tui.app import HyperDexApp
from tests.tui.builds import make_model

MakeApp = Callable[[], HyperDexApp]


class TextFile(SingleFileSnapshotExtension):
    """One readable .txt per snapshot."""

    _file_extension = "txt"
    file_extension = "txt"
    _write_mode = WriteMode.TEXT


@pytest.fixture(autouse=True)
def _own_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the developer's settings nor their terminal reach a test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.delenv("STY", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def text_snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """Compares a screen's text with the file of this test."""
    return snapshot.use_extension(TextFile)


@pytest.fixture
def built(prefix: Path) -> ModelFolder:
    """`example/tiny` with one complete build."""
    return make_model(prefix)


@pytest.fixture(scope="session")
def built_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix with a real build of the bundled model, to copy."""
    from tests.cli.test_reference import build_demo

    return build_demo(tmp_path_factory.mktemp("demo"))[0].prefix


@pytest.fixture
def demo(prefix: Path, built_demo: Path) -> ModelFolder:
    """The bundled model with a build that the emulator can run."""
    shutil.copytree(built_demo, prefix, dirs_exist_ok=True)
    return Workspace(prefix).model("hyperdex/demo")


@pytest.fixture
def make_app(prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeApp:
    """The app on the prefix, by a relative path, so that the screen says the same everywhere."""
    monkeypatch.chdir(tmp_path)
    return lambda: HyperDexApp(prefix.relative_to(tmp_path), state_file=tmp_path / "state.json")


@pytest.fixture(params=[(80, 24), (200, 50)], ids=["80x24", "200x50"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    """Both terminal sizes every screen is designed for."""
    chosen: tuple[int, int] = request.param
    return chosen
