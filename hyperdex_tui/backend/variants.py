"""What a program can be held against: other builds, and itself as other passes would have made it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hyperdex_tui.backend.program import other_programs

GROUPS = {
    "fusion": "every operation by itself",
    "reordering": "in the order of its graph",
    "any pass": "as the graph is lowered",
}
"""Passes that are left out together, and what is left."""

_NAME = re.compile(r"[a-z0-9-]{1,40}")
"""What a pass may be called; a manifest may say anything."""

EVERY_PASS = "every pass"


@dataclass(frozen=True, slots=True)
class Rival:
    """One thing to compare with.

    Attributes:
        title: what the user reads.
        synopsis: what it is.
        build: name of another build of the model, or "".
        change: "without X" or "with X": this build compiled otherwise, see `inspection.variant`; or "".
    """

    title: str
    synopsis: str
    build: str = ""
    change: str = ""


def rivals_of(folder: Path, passes: Sequence[str]) -> tuple[Rival, ...]:
    """What the program in an instruction folder, made by `passes`, can be compared with; the user's own folder last."""
    found = [Rival(name, "a build of this model", build=name) for name in other_programs(folder)]
    found += [
        Rival(f"without {name}", f"this build, {what}", change=f"without {name}") for name, what in GROUPS.items()
    ]
    names = [name for name in (text.partition(" ")[0] for text in passes) if _NAME.fullmatch(name)]
    found += [Rival(f"without {name}", "this build without that pass", change=f"without {name}") for name in names]
    found.append(Rival(f"with {EVERY_PASS}", "as a compile makes it by default", change=f"with {EVERY_PASS}"))
    return (*found, Rival("another folder …", "type an instruction folder, of any prefix"))
