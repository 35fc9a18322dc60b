"""LPU cards in this machine, as the kernel lists them. Looks and never touches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compiler.sanitize import one_line

PCI_DEVICES = Path("/sys/bus/pci/devices")
LPU_VENDOR = 0x10EE
"""Who made the chip of the cards that the LPU was built on."""


@dataclass(frozen=True, slots=True)
class Card:
    """A PCI device: its address, its vendor and device ids as lspci writes them, its driver or ""."""

    address: str
    ids: str
    driver: str


def find_cards(pci: Path = PCI_DEVICES, vendor: int = LPU_VENDOR) -> tuple[Card, ...]:
    """Every PCI device of a vendor; none where there is no such folder or it cannot be read."""
    found = []
    try:
        paths = sorted(pci.iterdir())
    except OSError:
        return ()
    for path in paths:
        try:
            ids = [int((path / name).read_text(encoding="ascii"), 16) for name in ("vendor", "device")]
            driver = (path / "driver").resolve().name if (path / "driver").exists() else ""
        except (OSError, ValueError):
            continue
        if ids[0] == vendor:
            found.append(Card(one_line(path.name, 40), f"{ids[0]:04x}:{ids[1]:04x}", one_line(driver, 40)))
    return tuple(found)


def card_count(cards: tuple[Card, ...]) -> int:
    """Boards: one shows up as several functions of one slot (`0000:01:00.0` and `.1`)."""
    return len({card.address.rpartition(".")[0] for card in cards})
