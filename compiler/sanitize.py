"""Untrusted text made printable: no control, format, bidi or line characters.

Model ids, tensor names, tokenizer pieces and hub errors pass through here
before they reach a terminal, a log or an event.
"""

from __future__ import annotations

import unicodedata

_READ_PER_SHOWN = 8
"""Of a text of megabytes no more is looked at than this many characters for each that can be shown."""

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _shown(char: str) -> str:
    if unicodedata.category(char) not in _UNSAFE:
        return char
    return repr(char)[1:-1]  # as in every message that quotes a value: \x1b, \u202e


def printable(text: str, *, keep: str = "") -> str:
    """Escape every character that a terminal could act on, except those in `keep`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char in keep else _shown(char) for char in text)


def one_line(text: str, limit: int = 2000) -> str:
    """Fold `text` to one printable line of at most `limit` characters."""
    head = text[: _READ_PER_SHOWN * limit]
    line = printable(" ".join(head.split()))
    return line if len(line) <= limit and len(head) == len(text) else line[: limit - 3] + "..."
