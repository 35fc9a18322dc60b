"""What `pip install .` and a source archive carry: both packages whole, and no tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("compiler", "hyperdex_tui")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree as a checkout has it, for the build writes beside what it reads."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("source")
    for name in (*PACKAGES, "docs", "tests/cli"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, folder)
    return folder


def build(source: Path, kind: str) -> Path:
    """The archive that setuptools makes of the tree."""
    code = f"import setuptools.build_meta as backend; backend.build_{kind}('out')"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (archive,) = (source / "out").glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return archive


def files(source: Path) -> set[str]:
    """Every file of the packages."""
    found = (path for name in PACKAGES for path in (source / name).rglob("*") if path.is_file())
    return {str(path.relative_to(source)) for path in found}


@pytest.mark.slow
def test_a_wheel_holds_both_packages_whole_and_nothing_else(source: Path) -> None:
    names = set(zipfile.ZipFile(build(source, "wheel")).namelist())
    own = {name for name in names if ".dist-info/" not in name}
    assert own == files(source)
    assert any(name.endswith("entry_points.txt") for name in names)


@pytest.mark.slow
def test_a_source_archive_holds_the_packages_and_the_documents_and_no_tests(source: Path) -> None:
    with tarfile.open(build(source, "sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert files(source) <= names
    assert {"README.md", "LICENSE", "ARCHITECTURE.md", "docs/isa.md", "docs/json.md"} <= names
    assert not {name for name in names if name.startswith("tests")}
