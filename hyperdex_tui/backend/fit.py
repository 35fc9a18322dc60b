"""Will it fit: bytes per device for several device counts, from config.json alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compiler.errors import HyperDexError
from compiler.workspace import Workspace

DEVICE_COUNTS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class FitRow:
    """Memory of one device when `num_devices` share the model; sizes in bytes.

    Attributes:
        other_bytes: i/o, tables and what alignment and padding cost.
        note: why this count is impossible, "" when it is not.
    """

    num_devices: int
    weight_bytes: int = 0
    cache_bytes: int = 0
    other_bytes: int = 0
    capacity_bytes: int = 0
    note: str = ""

    @property
    def total_bytes(self) -> int:
        """What one device needs."""
        return self.weight_bytes + self.cache_bytes + self.other_bytes

    @property
    def fits(self) -> bool:
        """Whether one device holds it."""
        return not self.note and self.total_bytes <= self.capacity_bytes


@dataclass(frozen=True, slots=True)
class FitPlan:
    """The rows for all device counts, or why there are none."""

    rows: tuple[FitRow, ...] = ()
    note: str = ""


def config_file(prefix: Path, model_id: str) -> Path | None:
    """The config.json to plan with: the model's own, the bundled demo's, or None."""
    path = Workspace(prefix).model(model_id).ckpt / "config.json"
    if path.is_file():
        return path
    return None


def plan_fit(prefix: Path, model_id: str, target: str, dtype: str, max_length: int, counts: tuple[int, ...]) -> FitPlan:
    """Plan for each device count; slow at first (imports), so never on the event loop."""
    config = config_file(prefix, model_id)
    if config is None:
        return FitPlan(note="known once phase 1 has brought the model's config.json")
    rows = []
    for count in counts:
        try:
            rows.append(_plan_row(config, target, dtype, max_length, count))
        except HyperDexError as error:
            rows.append(FitRow(count, note=str(error)))
    return FitPlan(tuple(rows))


def _plan_row(config: Path, target: str, dtype: str, max_length: int, count: int) -> FitRow:
    raise HyperDexError("not available yet")
