"""JSON objects that may be missing or damaged: what cannot be had is a reason, never an exception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from compiler.checkpoint.regular_file import find_file
from compiler.errors import HyperDexError
from compiler.quantity import bytes_text
from compiler.sanitize import one_line

_JSON_LIMIT_BYTES = 200_000_000


class ReadJson(NamedTuple):
    """A JSON object that was looked for: {} and why not, where it could not be had; {} and "" where there is none."""

    fields: dict[str, Any]
    problem: str = ""

    def text(self, name: str) -> str:
        """A field that is text, else ""."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else ""


def read_json(path: Path, limit: int = _JSON_LIMIT_BYTES) -> ReadJson:
    """The object in a file of at most `limit` bytes; a missing file is empty and fine."""
    try:
        file = find_file(path.parent, path.name)
        if file is None:
            return ReadJson({})
        if file.size > limit:
            return ReadJson({}, f"{path.name} is larger than {bytes_text(limit)}")
        loaded = json.loads(file.content().decode("utf-8"))
    except HyperDexError as error:
        return ReadJson({}, error.problem)
    except (ValueError, RecursionError) as error:
        return ReadJson({}, f"{path.name} is not valid JSON ({one_line(str(error), 80)})")
    return ReadJson(loaded) if isinstance(loaded, dict) else ReadJson({}, f"{path.name} is not a JSON object")
