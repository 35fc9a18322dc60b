"""The tour visits every screen of the app."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.tour import STOPS

ROOT = Path(__file__).parents[2]


def test_every_stop_has_a_picture_and_every_picture_a_stop() -> None:
    pictures = {path.stem for path in (ROOT / "screenshots").glob("*.svg")}
    assert pictures == {stop.name for stop in STOPS}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here")
def test_the_tour_arrives_in_a_small_tmux(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.tour", "--size", "80x24", "--no-color", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    for stop in STOPS:
        shown = (tmp_path / f"{stop.name}-80x24.txt").read_text()
        assert shown.startswith(" HyperDex") and len(shown.splitlines()) == 24
