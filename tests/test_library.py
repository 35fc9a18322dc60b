"""docs/library.md keeps what it promises: its examples run as they stand, and give what the command line gives."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from compiler.demo import DEMO_PROMPTS

DOCUMENT = Path(__file__).parent.parent / "docs" / "library.md"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the examples define, run one behind the other in an empty folder."""
    examples = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(examples) == 6
    found: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()):
        patch.chdir(tmp_path_factory.mktemp("library"))
        for number, example in enumerate(examples):
            exec(compile(example, f"{DOCUMENT.name}, example {number}", "exec"), found)
    return found


def test_a_compile_gives_the_build_that_its_options_name(names: dict[str, Any]) -> None:
    assert names["build"] == "u55c-2x"
    assert names["opened"].manifest.num_devices == 2


def test_the_emulator_says_what_the_model_was_taught(names: dict[str, Any]) -> None:
    assert names["text"] == dict(DEMO_PROMPTS)["The owl lives in"]
    assert 0 <= names["first"].token_id < names["opened"].manifest.vocab_size


def test_a_breakpoint_stops_before_its_instruction(names: dict[str, Any]) -> None:
    machine = names["machine"]
    assert machine.program[machine.last_pc].mnemonic == "softmax"
    assert machine.last_pc in machine.breakpoints
    assert names["written"].any() and names["values"].shape == names["written"].shape


def test_an_estimate_agrees_with_the_clock_of_the_build(names: dict[str, Any]) -> None:
    assert names["estimated"].fits
    assert names["estimated"].ms_per_token == pytest.approx(names["emulated"].ms_per_token, rel=0.01)


def test_a_failure_is_one_line_with_its_exit_code(names: dict[str, Any]) -> None:
    assert "UnheardOfForCausalLM" in names["failure"] and names["failure"].endswith("(exit code 4)")
    assert "\n" not in names["failure"]
