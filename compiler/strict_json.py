"""Strict reading of the JSON files of a build: every field typed, bounded and named in the error.

Bytes -> `Fields`, whose getters return a checked value or raise ArtifactError.
Unknown fields are ignored, so that a later version may add some. A sealed object
carries a hash of itself, so that any flipped bit shows. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import NoReturn

from compiler.errors import ArtifactError
from compiler.sanitize import one_line

RECOMPILE = "compile the model again"
"""What the user can do about a build that cannot be read."""

_SEAL = "sha256"


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def load_object(content: bytes, where: str) -> Fields:
    """Parse one JSON object.

    Args:
        content: the whole file, UTF-8.
        where: name of the file for error messages.

    Raises:
        ArtifactError: not UTF-8, not JSON, or not an object.
    """
    try:
        loaded = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where} is not valid JSON ({one_line(str(error), 120)})", RECOMPILE) from None
    if not isinstance(loaded, dict):
        raise ArtifactError(f"{where} holds a {type(loaded).__name__}, expected an object", RECOMPILE)
    return Fields(loaded, where)


def dump_object(value: Mapping[str, object]) -> bytes:
    """Write one JSON object: fields in the given order, one line, a newline at the end."""
    return (json.dumps(value, separators=(",", ":"), allow_nan=False) + "\n").encode("utf-8")


def seal_object(value: Mapping[str, object]) -> bytes:
    """Write one JSON object like `dump_object`, with a hash of all its fields as the last one."""
    return dump_object({**value, _SEAL: hashlib.sha256(dump_object(value)).hexdigest()})


def check_seal(content: bytes, fields: Fields, advice: str = RECOMPILE) -> None:
    """Check that `content` is what `seal_object` wrote, byte for byte.

    Args:
        content: the whole file.
        fields: the object in it.
        advice: what the user can do about damage.

    Raises:
        ArtifactError: it was changed.
    """
    document = fields.document()
    claimed = document.pop(_SEAL, None)
    try:
        sound = claimed is not None and seal_object(document) == content
    except (ValueError, RecursionError):
        sound = False
    if not sound:
        raise ArtifactError(f"{fields.where} is damaged: its content does not match its own hash", advice)


class Fields:
    """One JSON object with the place it came from."""

    __slots__ = ("_value", "where")

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise ArtifactError(f"{where} is a {type(value).__name__}, expected an object", RECOMPILE)
        self._value: dict[str, object] = value
        self.where = where

    def _wrong(self, name: str, value: object, expected: str) -> ArtifactError:
        shown = one_line(repr(value), 60)
        return ArtifactError(f"{self.where}: {name} is {shown}, expected {expected}", RECOMPILE)

    def _get(self, name: str) -> object:
        if name not in self._value:
            raise ArtifactError(f"{self.where}: field {name!r} is missing", RECOMPILE)
        return self._value[name]

    def document(self) -> dict[str, object]:
        """The object itself, unchecked; a new dictionary of its fields."""
        return dict(self._value)

    def names(self) -> tuple[str, ...]:
        """The names of all fields."""
        return tuple(self._value)

    def text(self, name: str, limit: int = 1000) -> str:
        """A string of at most `limit` characters."""
        value = self._get(name)
        if not isinstance(value, str) or len(value) > limit:
            raise self._wrong(name, value, f"text of at most {limit} characters")
        return value

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """A string out of `allowed`."""
        value = self._get(name)
        if not isinstance(value, str) or value not in allowed:
            raise self._wrong(name, value, f"one of {', '.join(allowed)}")
        return value

    def integer(self, name: str, low: int, high: int) -> int:
        """An integer in [low, high]."""
        value = self._get(name)
        if type(value) is not int or not low <= value <= high:
            raise self._wrong(name, value, f"an integer in {low}..{high}")
        return value

    def number(self, name: str) -> float:
        """A finite number."""
        value = self._get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, value, "a number")
        try:
            result = float(value)
        except OverflowError:
            result = math.inf
        if not math.isfinite(result):
            raise self._wrong(name, value, "a finite number")
        return result

    def nested(self, name: str) -> Fields:
        """A nested object."""
        return Fields(self._get(name), f"{self.where}: {name}")

    def _items(self, name: str, limit: int) -> list[object]:
        value = self._get(name)
        if not isinstance(value, list) or len(value) > limit:
            raise self._wrong(name, value, f"a list of at most {limit} items")
        return value

    def objects(self, name: str, limit: int) -> tuple[Fields, ...]:
        """A list of objects."""
        items = self._items(name, limit)
        return tuple(Fields(item, f"{self.where}: {name}[{index}]") for index, item in enumerate(items))

    def texts(self, name: str, limit: int, length: int = 1000) -> tuple[str, ...]:
        """A list of strings of at most `length` characters each."""
        items = self._items(name, limit)
        result = tuple(item for item in items if isinstance(item, str) and len(item) <= length)
        if len(result) != len(items):
            raise self._wrong(name, items, f"a list of texts of at most {length} characters")
        return result

    def integers(self, name: str, limit: int, low: int, high: int) -> tuple[int, ...]:
        """A list of integers in [low, high]."""
        items = self._items(name, limit)
        result = tuple(item for item in items if type(item) is int and low <= item <= high)
        if len(result) != len(items):
            raise self._wrong(name, items, f"a list of integers in {low}..{high}")
        return result
