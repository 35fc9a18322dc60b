"""The start-up path is lean, and answers that need no terminal need no toolkit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "numpy", "safetensors", "huggingface_hub")

FIRST_PAINT = """
import asyncio, sys
from pathlib import Path
from hyperdex_tui.app import HyperDexApp

async def main():
    app = HyperDexApp(Path(sys.argv[1]))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await app.workers.wait_for_complete()
        await pilot.pause()
        print("\\n".join(sorted(sys.modules)))

asyncio.run(main())
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_first_paint_loads_no_heavy_module(prefix: Path) -> None:
    done = python("-c", FIRST_PAINT, str(prefix))
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "textual.app" in loaded
    assert loaded.isdisjoint(HEAVY)
    # screens other than the first are loaded when they are opened
    assert {name for name in loaded if name.startswith("hyperdex_tui.screens.")} == {
        "hyperdex_tui.screens.base",
        "hyperdex_tui.screens.models",
    }


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("--version", 0), ("--wrong", 2)])
def test_answers_without_the_toolkit(argument: str, code: int) -> None:
    program = f"import sys; from hyperdex_tui.__main__ import main\ntry:\n    code = main([{argument!r}])\n"
    program += "except SystemExit as exit: code = exit.code\nprint('textual' in sys.modules, code)"
    done = python("-c", program)
    assert done.stdout.splitlines()[-1] == f"False {code}", done.stderr


def test_a_wrong_model_id_is_one_line_and_exit_code_2() -> None:
    done = python("-m", "hyperdex_tui", "../../etc/passwd")
    assert done.returncode == 2
    assert done.stderr.startswith("hyperdex-tui: error: model id") and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_without_a_terminal_the_demo_runs_in_plain_lines(prefix: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hyperdex_tui", "--prefix", str(prefix)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "The owl lives in" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_closed_stdin_is_no_terminal(prefix: Path) -> None:
    line = f"{sys.executable} -m hyperdex_tui --prefix {prefix} <&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "** Emulator : hyperdex/demo" in done.stdout


def test_an_empty_prefix_is_refused() -> None:
    done = python("-m", "hyperdex_tui", "--prefix", "")
    assert done.returncode == 2
    assert "--prefix: it is empty; " in done.stderr
