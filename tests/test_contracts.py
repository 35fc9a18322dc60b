"""Contracts of the project as a whole: layers, lean start-up, generated documents, honest metadata."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "numpy", "safetensors", "huggingface_hub")


def _loaded_by(program: str) -> set[str]:
    """Top-level modules in sys.modules after `program` ran in an interpreter of its own."""
    code = f"import sys\n{program}\nprint('\\n'.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("program", "forbidden"),
    [
        ("import hyperdex_tui.app", HEAVY),
        ("import hyperdex_tui.__main__", (*HEAVY, "textual")),
        ("import compiler.__main__, compiler.cli.main", (*HEAVY, "textual", "rich")),
        ("import compiler.cli.compile, compiler.cli.generate, compiler.cli.models", (*HEAVY, "textual", "rich")),
        ("import compiler.events, compiler.errors, compiler.workspace, compiler.memory_map", (*HEAVY, "filelock")),
        ("import compiler.isa.instructions, compiler.isa.text, compiler.isa.encode", HEAVY),
        ("import compiler.emulator.session", ("torch", "transformers", "huggingface_hub")),
        ("import compiler.pipeline", ("torch", "transformers", "huggingface_hub")),
    ],
    ids=lambda value: value.split()[1] if isinstance(value, str) else "",
)
def test_importing_loads_nothing_heavy(program: str, forbidden: tuple[str, ...]) -> None:
    assert _loaded_by(program).isdisjoint(forbidden)


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_instruction_manual_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "compiler.isa.docs"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert (ROOT / "docs" / "isa.md").read_text(encoding="utf-8") == done.stdout, "run: make docs"


def test_help_costs_little() -> None:
    """Both entries answer --help within 0.2 s of CPU; measured 0.05 s."""
    for module in ("compiler", "hyperdex_tui"):
        before = os.times()
        subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, check=True, cwd=ROOT)
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        assert used < 0.2


def test_every_command_in_the_readme_exists() -> None:
    from compiler.cli.main import COMMANDS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^hyperdex ([a-z]+)", text, re.MULTILINE))
    assert named == set(COMMANDS)


def test_the_documented_exit_codes_are_the_error_tree() -> None:
    from compiler import errors

    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.HyperDexError)
    }
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    documented = {int(code) for code in re.findall(r"\| (\d+) \|", text)}
    assert {code for code in codes if f"| {code} |" not in text} == set()
    assert documented >= codes


def test_every_relative_link_of_the_documents_leads_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_function_shown_to_contributors_is_the_one_in_the_code() -> None:
    from compiler.graph.architectures import qwen

    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (name,) = re.findall(r"^def (\w+)", shown, re.MULTILINE)
    (head, _docstring, *body) = inspect.getsource(getattr(qwen, name)).splitlines(keepends=True)
    assert shown == "".join((head, *body))
