"""docs/reliability.md names faults and tests that exist, and every kind of fault."""

from __future__ import annotations

import re
from pathlib import Path

from torture.__main__ import FAULTS

ROOT = Path(__file__).parent.parent
ROWS = re.findall(r"^\| (.+?) \| `([^`]+)` \|$", (ROOT / "docs/reliability.md").read_text(encoding="utf-8"), re.M)


def test_every_promise_is_shown_by_something_that_exists() -> None:
    assert len(ROWS) > 30
    for promise, shown in ROWS:
        if shown.startswith("torture "):
            assert shown.removeprefix("torture ") in FAULTS, promise
            continue
        path, _, name = shown.partition("::")
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {name}\(", text, re.M), f"{promise}: no {shown}"


def test_every_row_of_the_tables_is_a_promise() -> None:
    text = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and line != "| promise | shown by |"]
    assert len(rows) == len(ROWS)


def test_every_fault_shows_a_promise() -> None:
    assert {shown.removeprefix("torture ") for _, shown in ROWS if shown.startswith("torture ")} == set(FAULTS)
