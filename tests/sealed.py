"""Sealed JSON files, edited as a program would that knows the seal."""

from __future__ import annotations

from typing import Any

from compiler.strict_json import seal_object


def sealed(document: dict[str, Any]) -> bytes:
    """The file that says what `document` says, with a seal of its own."""
    return seal_object({key: value for key, value in document.items() if key != "sha256"})
