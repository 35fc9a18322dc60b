"""Fixtures for every test: a machine of its own.

No test sees the user's models, the hub, or a terminal's colours.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
"""A run says the same as the one before, however busy the machine is; `--hypothesis-profile=default` draws anew."""

_MEMORY_FOLDER = Path("/dev/shm")
_MEMORY_BYTES = 4 << 30


def pytest_configure() -> None:
    """Put temporary folders into memory where there is room, and hear signals that whoever started us ignores.

    A build is synced file by file before it is published: on a disk that is
    most of the time of a test (0.30 of 0.56 s for a tiny model on two devices).
    A shell's background job ignores SIGINT, nohup SIGHUP, and what we start would, too.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if os.access(_MEMORY_FOLDER, os.W_OK) and shutil.disk_usage(_MEMORY_FOLDER).free > _MEMORY_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY_FOLDER))


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
