"""The demo in plain lines: what `make run` shows without a terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from compiler.demo import DEMO_PROMPTS


def test_the_demo_runs_all_phases_and_every_continuation_is_right(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hyperdex_tui", "--prefix", str(tmp_path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for phase in range(5):
        assert f"** Phase-{phase} : " in done.stdout
    assert done.stdout.count("[right] ") == len(DEMO_PROMPTS)
    assert "WRONG" not in done.stdout
