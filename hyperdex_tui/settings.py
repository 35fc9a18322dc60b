"""What the app remembers between two starts: one small JSON file per user.

Losing it costs nothing, so reading falls back to the defaults and writing
gives up silently.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices of the user that outlive one run."""

    theme: str = "hyperdex-dark"


def settings_path() -> Path:
    """`$XDG_CONFIG_HOME/hyperdex-tui/settings.json`, by default below `~/.config`."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if base else Path.home() / ".config"
    return folder / "hyperdex-tui" / "settings.json"


def load_settings(path: Path) -> Settings:
    """Read settings; defaults for whatever is missing or of the wrong type."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Settings()
    if not isinstance(loaded, dict):
        return Settings()
    known = {field.name for field in fields(Settings)}
    return Settings(**{name: value for name, value in loaded.items() if name in known and isinstance(value, str)})


def save_settings(path: Path, settings: Settings) -> bool:
    """Write settings aside and rename; False when the folder cannot be written."""
    aside = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(asdict(settings), indent=2) + "\n", encoding="utf-8")
        aside.replace(path)
    except OSError:
        return False
    return True
