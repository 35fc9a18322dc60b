"""The table: what was injected, what came of it, and what broke a promise."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Row:
    """One kind of fault.

    Attributes:
        name: what was injected.
        promise: what must hold whatever happens.
        outcomes: how often each ending was seen.
        violations: what broke the promise; one line each.
        seconds: how long it took.
    """

    name: str
    promise: str
    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def injected(self) -> int:
        """Number of faults."""
        return sum(self.outcomes.values())

    def count(self, outcome: str, violation: str = "") -> None:
        """Count one fault; a violation makes the torture fail."""
        self.outcomes[outcome] += 1
        if violation:
            self.violations.append(violation)


@dataclass(frozen=True)
class Effort:
    """How much to do.

    Attributes:
        share: of the full number of faults, in (0, 1]; tests take a small one.
        seed: of everything that is drawn.
    """

    share: float = 1.0
    seed: int = 0

    def of(self, count: int) -> int:
        """The number of faults to inject where `count` is the full one."""
        return max(1, round(count * self.share))

    def chosen(self, count: int, full: int) -> list[int]:
        """Up to `of(full)` of the numbers 1..count, evenly spread, the first and the last among them."""
        wanted = min(count, self.of(full))
        if wanted == 1:
            return [count]
        return sorted({1 + round(index * (count - 1) / (wanted - 1)) for index in range(wanted)})

    def random(self, name: str) -> random.Random:
        """A source of random numbers of its own for each kind of fault."""
        return random.Random(f"{self.seed}/{name}")


def timed(row: Row, action: Callable[[Row], None]) -> Row:
    """Run `action` on the row and note how long it took."""
    began = time.monotonic()
    action(row)
    row.seconds = time.monotonic() - began
    return row


def format_table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| fault | injected | outcomes | broken promises | time |", "|---|--:|---|--:|--:|"]
    for row in rows:
        seen = ", ".join(f"{count} {outcome}" for outcome, count in row.outcomes.most_common())
        lines.append(f"| {row.name} | {row.injected} | {seen} | {len(row.violations)} | {row.seconds:.0f} s |")
    return "\n".join(lines) + "\n"
