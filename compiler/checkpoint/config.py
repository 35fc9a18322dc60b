"""A checkpoint's `config.json`, read field by field with every value checked.

In: the parsed JSON object. Out: typed fields, or an error that names the
field, its value and what is allowed. Field names keep their Hugging Face
spelling; what a family makes of them is written in `graph.architectures`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.checkpoint.regular_file import find_file
from compiler.checkpoint.untrusted_json import MAX_JSON_BYTES, parse_object
from compiler.errors import CheckpointError, UnsupportedModelError

CONFIG_NAME = "config.json"

LAYER_LIMIT = 1024
WIDTH_LIMIT = 1 << 20
VOCAB_LIMIT = 1 << 22
POSITION_LIMIT = 1 << 24

_REQUIRED: Any = object()
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """Typed access to `config.json`.

    Attributes:
        fields: the parsed object, as it is on disk.
        file: the file, for messages.
    """

    fields: Mapping[str, Any]
    file: str = CONFIG_NAME

    @property
    def architecture(self) -> str:
        """The one class name in `architectures`.

        Raises:
            UnsupportedModelError: the field is missing, malformed or names several.
        """
        names = self.fields.get("architectures")
        if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
            raise UnsupportedModelError(
                f"{self.file}: architectures is {_shown(names)}",
                'it must name exactly one class, e.g. ["LlamaForCausalLM"]',
            )
        return names[0]

    def integer(self, name: str, low: int = 1, high: int = WIDTH_LIMIT, default: Any = _REQUIRED) -> int:
        """An integer field in low..high.

        Raises:
            UnsupportedModelError: missing without a default, of another type, or out of range.
        """
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._refused(name, value, f"an integer from {low} to {high}")
        return value

    def number(self, name: str, low: float = 0.0, high: float = 1e9, default: Any = _REQUIRED) -> float:
        """A finite number in low..high; errors as for `integer`."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self._refused(name, value, f"a number from {low:g} to {high:g}")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """A boolean field."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise self._refused(name, value, "true or false")
        return value

    def choice(self, name: str, allowed: tuple[str, ...], default: Any = _REQUIRED) -> str:
        """A string field that is one of `allowed`."""
        value = self._value(name, default)
        if value not in allowed:
            raise self._refused(name, value, f"one of {', '.join(allowed)}")
        return str(value)

    def integers(self, name: str) -> tuple[int, ...]:
        """An integer or a list of them, of any size; None is the empty tuple."""
        value = self.fields.get(name)
        items = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(item, int) and not isinstance(item, bool) for item in items):
            raise self._refused(name, value, "an integer or a list of integers")
        return tuple(items)

    def table(self, name: str) -> Mapping[str, Any]:
        """An object field; missing or null is empty."""
        value = self.fields.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self._refused(name, value, "an object")
        return value

    def _value(self, name: str, default: Any) -> Any:
        value = self.fields.get(name)
        if value is not None:
            return value
        if default is _REQUIRED:
            raise UnsupportedModelError(f"{self.file}: {name} is missing")
        return default

    def _refused(self, name: str, value: object, allowed: str) -> UnsupportedModelError:
        return UnsupportedModelError(f"{self.file}: {name} is {_shown(value)}; it must be {allowed}")


def load_config(folder: Path) -> dict[str, object]:
    """The config.json of a checkpoint folder.

    Raises:
        CheckpointError: there is none, or it is damaged or no regular file.
    """
    file = find_file(folder, CONFIG_NAME)
    if file is None:
        raise CheckpointError(f"{folder} holds no {CONFIG_NAME}", "download the model again")
    if file.size > MAX_JSON_BYTES:
        raise CheckpointError(f"{folder / CONFIG_NAME} is larger than {MAX_JSON_BYTES} bytes", "download it again")
    return parse_object(file.content(), CONFIG_NAME)


def check_divides(config_name: str, value: int, divisor_name: str, divisor: int) -> int:
    """Return value / divisor.

    Raises:
        UnsupportedModelError: there is a remainder.
    """
    if divisor < 1 or value % divisor:
        raise UnsupportedModelError(f"config.json: {config_name} {value} is not a multiple of {divisor_name} {divisor}")
    return value // divisor


def _shown(value: object) -> str:
    """A value as its file spells it, so that "64" is told from 64."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
