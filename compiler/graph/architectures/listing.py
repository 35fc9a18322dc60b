"""Supported architectures for people; `python -m compiler.graph.architectures.listing README.md` renews the table.

A file holds it between the lines BEGIN and END.
"""

from __future__ import annotations

import sys
from pathlib import Path

from compiler.graph.architectures import SUPPORTED

BEGIN = "<!-- architectures -->"
END = "<!-- /architectures -->"


def markdown_table() -> str:
    """The rows of SUPPORTED as a markdown table."""
    lines = ["| architecture | for example | what works | what does not |", "|---|---|---|---|"]
    for each in SUPPORTED:
        lines.append(f"| {each.name} | {each.example} | {'; '.join(each.features)} | {each.missing} |")
    return "\n".join(lines)


def renewed(text: str) -> str:
    """`text` with the table of today between BEGIN and END; ValueError when it has no such place."""
    head, middle, tail = text.partition(BEGIN)
    _, end, rest = tail.partition(END)
    if not middle or not end:
        raise ValueError(f"no {BEGIN} ... {END}")
    return f"{head}{BEGIN}\n{markdown_table()}\n{END}{rest}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
