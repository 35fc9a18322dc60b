"""What the debugger says, as one JSON object per line.

Numbers that JSON does not have are the strings "nan", "inf" and "-inf". What
is read is checked against the types of `debug_records`. Standard library only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from compiler.debug_records import PROTOCOL_VERSION, Breakpoint, Candidate, Operand, Record
from compiler.sanitize import one_line, printable

LINE_LIMIT = 256 << 20
"""Most bytes of one line: the timeline of a long program is the longest."""

_RECORDS: tuple[type[Record], ...] = get_args(Record)
_BY_NAME: Mapping[str, type[Record]] = {record.event: record for record in _RECORDS}


def _shape(kind: type[Any]) -> Mapping[str, tuple[Any, bool]]:
    """Type of every field, and whether it must be given."""
    hints = get_type_hints(kind)
    return {each.name: (hints[each.name], each.default is MISSING) for each in fields(kind)}


_SHAPES: Mapping[type, Mapping[str, tuple[Any, bool]]] = {
    kind: _shape(kind) for kind in (*_RECORDS, Operand, Candidate, Breakpoint)
}


def to_line(record: Record, request: int = 0) -> str:
    """One JSON object without a newline; `request` is the number of the request it answers."""
    head = {"version": PROTOCOL_VERSION, "event": record.event, "request": request}
    return json.dumps({**head, **_plain(asdict(record))}, separators=(",", ":"), allow_nan=False)


def from_line(line: str | bytes) -> tuple[int, Record]:
    """Read what `to_line` wrote: number of the request, and the record with printable text.

    Raises:
        ValueError: the line is not a record of this version.
    """
    try:
        loaded = json.loads(line)
    except (ValueError, RecursionError):
        loaded = None
    if not isinstance(loaded, dict):
        shown = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
        raise ValueError(f"not a record: {one_line(shown[:200], 80)!r}")
    version, name, request = loaded.get("version"), loaded.get("event"), loaded.get("request")
    kind = _BY_NAME.get(name) if isinstance(name, str) else None
    if version != PROTOCOL_VERSION or kind is None or type(request) is not int:
        raise ValueError(
            f"record {one_line(repr(name), 40)} of version {one_line(repr(version), 20)} is not known here"
        )
    record: Record = _build(kind, loaded)
    return request, record


def _plain(value: Any) -> Any:
    """JSON's own values: numbers it lacks become strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if value != value else "inf" if value > 0 else "-inf"
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _build(kind: type[Any], loaded: Mapping[str, object]) -> Any:
    values = {}
    for name, (expected, required) in _SHAPES[kind].items():
        if name in loaded:
            values[name] = _value(expected, loaded[name], f"{kind.__name__}.{name}")
        elif required:
            raise ValueError(f"{kind.__name__}.{name} is missing")
    return kind(**values)


def _value(expected: Any, value: object, where: str) -> Any:
    """`value` as the type that a field declares.

    Raises:
        ValueError: it is something else.
    """
    if get_origin(expected) is tuple and isinstance(value, list):
        inner = get_args(expected)
        if inner[-1] is Ellipsis:
            return tuple(_value(inner[0], each, where) for each in value)
        if len(inner) == len(value):
            return tuple(_value(kind, each, where) for kind, each in zip(inner, value, strict=True))
    if isinstance(expected, type):
        if is_dataclass(expected) and isinstance(value, dict):
            return _build(expected, value)
        if read := _READERS.get(expected):
            return read(value, where)
    raise ValueError(f"{where} is {one_line(repr(value)[:60])}")


def _integer(value: object, where: str) -> int:
    if type(value) is not int:
        raise ValueError(f"{where} is no integer")
    return value


def _number(value: object, where: str) -> float:
    if value in ("nan", "inf", "-inf") and isinstance(value, str):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{where} is no number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{where} is no number of 64 bits") from None


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where} is no text")
    return printable(value, keep="\n\t")


def _truth(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{where} is neither true nor false")
    return value


_READERS: Mapping[type, Callable[[object, str], Any]] = {int: _integer, float: _number, str: _text, bool: _truth}
