"""Fixtures for every test: a machine of its own.

No test sees the user's models, the hub, or a terminal's colours.
"""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "error")
    for name in ("HYPERDEX_PREFIX", "HYPERDEX_DEBUG", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An empty prefix."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder
