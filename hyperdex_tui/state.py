"""What the app remembers between two starts: one small versioned JSON file per user.

Losing it costs nothing: a damaged or newer file is passed over with a message,
and one that cannot be written is not written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from compiler.errors import HyperDexError, UsageError
from compiler.publish import publish_file
from compiler.sanitize import one_line
from compiler.workspace import parse_model_id

VERSION = 1
_LIMIT_BYTES = 1 << 20
_PREFIXES = 20
"""Prefixes remembered, the newest ones."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the user is: a screen by its scope, what it shows, and the filter typed there."""

    screen: str = ""
    model_id: str = ""
    build: str = ""
    filter: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What outlives one run.

    Attributes:
        theme: name of the theme; "" for the first one.
        places: by prefix, oldest first.
        columns: names of the instruction list's columns; None before anyone chose.
    """

    theme: str = ""
    places: Mapping[str, Place] = field(default_factory=dict)
    columns: tuple[str, ...] | None = None

    def place(self, prefix: Path) -> Place:
        """Where the user was in a prefix."""
        return self.places.get(str(prefix), Place())

    def with_place(self, prefix: Path, place: Place) -> State:
        """With another place in a prefix, which becomes the newest one."""
        others = {name: kept for name, kept in self.places.items() if name != str(prefix)}
        newest = [*others.items(), (str(prefix), place)][-_PREFIXES:]
        return replace(self, places=dict(newest))


def state_path() -> Path:
    """The user's own file: `state.json` below `$XDG_STATE_HOME` or what the system has for it."""
    from platformdirs import user_state_path

    return user_state_path("hyperdex-tui", appauthor=False) / "state.json"


def load_state(path: Path) -> tuple[State, str]:
    """The state in a file and what is wrong with it; a missing file is empty and fine."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LIMIT_BYTES + 1)
        if len(raw) > _LIMIT_BYTES:
            raise ValueError(f"longer than {_LIMIT_BYTES:,} bytes")
        return _parsed(json.loads(raw)), ""
    except FileNotFoundError:
        return State(), ""
    except (OSError, ValueError, RecursionError) as error:
        reason = one_line(str(getattr(error, "strerror", None) or error), 120)
        return State(), f"the remembered state was not read ({reason}); {path} starts anew"


def _parsed(loaded: object) -> State:
    """Raises ValueError for anything but a state of this version."""
    if not isinstance(loaded, dict) or loaded.get("version") != VERSION:
        raise ValueError(f"it is not of version {VERSION}")
    theme, places, columns = loaded.get("theme", ""), loaded.get("places", {}), loaded.get("columns")
    if not isinstance(theme, str) or not isinstance(places, dict):
        raise ValueError("theme or places have another type")
    if columns is not None and not (isinstance(columns, list) and all(isinstance(name, str) for name in columns)):
        raise ValueError("the columns are no list of names")
    names = {entry.name for entry in fields(Place)}
    for prefix, place in places.items():
        if not isinstance(place, dict) or not names.issuperset(place):
            raise ValueError(f"the place in {prefix} is none")
        if not all(isinstance(value, str) for value in place.values()):
            raise ValueError(f"the place in {prefix} is not of text")
        if place.get("model_id"):
            _check_model_id(place["model_id"])
    kept = {prefix: Place(**place) for prefix, place in places.items()}
    return State(theme, kept, None if columns is None else tuple(columns))


def _check_model_id(model_id: str) -> None:
    """Raises ValueError for anything but a model's id."""
    try:
        parse_model_id(model_id)
    except UsageError as error:
        raise ValueError(str(error)) from None


def save_state(path: Path, state: State) -> str:
    """Write the state whole or not at all; why it was not written, or ""."""
    content = (json.dumps({"version": VERSION, **asdict(state)}, indent=2) + "\n").encode()
    try:
        publish_file(path, lambda file: file.write(content))
    except HyperDexError as error:
        return str(error)
    return ""
