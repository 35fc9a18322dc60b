"""Producers and consumers of an instruction, and the way from one instruction to another.

Everything is found from the instructions as they stand, in program order, within
a bounded window: a value that comes round the token loop has no producer here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from compiler.isa.encode import Instruction
from hyperdex_tui.backend.uses import Use, uses_of

WINDOW = 50_000
"""Instructions looked at in each direction."""

_MOST = 64
"""Neighbours listed in each direction; a cache row has many readers."""

Read = Callable[[int], Instruction | None]
"""The instruction at an index, None for a word that is none."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Another instruction and the resource through which it is connected."""

    pc: int
    through: str


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Who makes what an instruction reads, and who reads what it makes.

    Attributes:
        is_complete: False when the window ended before everything was found.
    """

    producers: tuple[Edge, ...]
    consumers: tuple[Edge, ...]
    is_complete: bool


def neighbours(read: Read, pc: int, count: int) -> Neighbours:
    """The neighbours of instruction `pc` of a program of `count` instructions."""
    instr = read(pc)
    uses = uses_of(instr) if instr is not None else ()
    open_reads = [use for use in uses if not use.is_write]
    producers: list[Edge] = []
    low = max(0, pc - WINDOW)
    for other in range(pc - 1, low - 1, -1):
        if not open_reads or len(producers) >= _MOST:
            break
        writes = [use for use in _uses(read, other) if use.is_write]
        open_reads = _settle(open_reads, writes, other, producers)
    open_writes = [use for use in uses if use.is_write]
    consumers: list[Edge] = []
    high = min(count, pc + 1 + WINDOW)
    for other in range(pc + 1, high):
        if not open_writes or len(consumers) >= _MOST:
            break
        found = _uses(read, other)
        touched = next((w for w in open_writes for use in found if not use.is_write and _meets(w, use)), None)
        if touched is not None:
            consumers.append(Edge(other, touched.text))
        open_writes = _without(open_writes, [use for use in found if use.is_write])
    is_complete = (not open_reads or low == 0) and (not open_writes or high == count)
    return Neighbours(tuple(producers), tuple(consumers), is_complete)


def _uses(read: Read, pc: int) -> tuple[Use, ...]:
    instr = read(pc)
    return uses_of(instr) if instr is not None else ()


def _meets(a: Use, b: Use) -> bool:
    return a.resource == b.resource and a.begin < b.end and b.begin < a.end


def _settle(reads: list[Use], writes: list[Use], pc: int, producers: list[Edge]) -> list[Use]:
    """What is still unexplained once `pc` made what it writes."""
    touched = next((use for use in reads for write in writes if _meets(use, write)), None)
    if touched is not None:
        producers.append(Edge(pc, touched.text))
    return _without(reads, writes)


def _without(spans: list[Use], gone: list[Use]) -> list[Use]:
    """The spans minus what `gone` covers."""
    for cut in gone:
        kept: list[Use] = []
        for span in spans:
            if not _meets(span, cut):
                kept.append(span)
                continue
            if span.begin < cut.begin:
                kept.append(Use(span.resource, span.begin, cut.begin, span.is_write))
            if cut.end < span.end:
                kept.append(Use(span.resource, cut.end, span.end, span.is_write))
        spans = kept
    return spans


@dataclass(frozen=True, slots=True)
class Relation:
    """How a later instruction depends on an earlier one.

    Attributes:
        direct: e.g. `reads v[0..63] that it writes`, "" when it does not.
        chain: instructions from the earlier to the later one, each reading what the one before wrote; () when there
            is no such chain.
    """

    direct: tuple[str, ...]
    chain: tuple[Edge, ...]


@dataclass(slots=True)
class _Spread:
    """Where the results of an instruction got to: spans with the instruction that wrote them last."""

    spans: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)

    def writers(self, use: Use) -> Iterator[int]:
        for begin, end, who in self.spans.get(use.resource, ()):
            if begin < use.end and use.begin < end:
                yield who

    def write(self, use: Use, who: int) -> None:
        """`who` wrote; -1: somebody whose results do not count."""
        kept = []
        for begin, end, before in self.spans.get(use.resource, ()):
            if begin < min(end, use.begin):
                kept.append((begin, min(end, use.begin), before))
            if max(begin, use.end) < end:
                kept.append((max(begin, use.end), end, before))
        if who >= 0:
            kept.append((use.begin, use.end, who))
        self.spans[use.resource] = kept


def relation(read: Read, first: int, second: int) -> Relation:
    """How instruction `second` depends on the earlier `first`.

    Raises:
        ValueError: they are further apart than the window.
    """
    if second - first > WINDOW:
        raise ValueError(f"they are {second - first:,} instructions apart; dependence is looked up over {WINDOW:,}")
    before, after = _uses(read, first), _uses(read, second)
    direct = tuple(
        dict.fromkeys(_direct(a, b) for a in before for b in after if _meets(a, b) and (a.is_write or b.is_write))
    )
    reached: dict[int, Edge] = {}
    spread = _Spread()
    for use in before:
        if use.is_write:
            spread.write(use, first)
    for pc in range(first + 1, second + 1):
        uses = _uses(read, pc)
        source = next((Edge(who, use.text) for use in uses if not use.is_write for who in spread.writers(use)), None)
        if source is not None:
            reached[pc] = source
        for use in uses:
            if use.is_write:
                spread.write(use, pc if source is not None else -1)
    return Relation(direct, _chain(reached, first, second))


def _chain(reached: dict[int, Edge], first: int, second: int) -> tuple[Edge, ...]:
    """Back from `second` along what reached it: each instruction with what it reads from the one before."""
    if second not in reached:
        return ()
    found: list[Edge] = []
    at = second
    while at != first:
        found.append(Edge(at, reached[at].through))
        at = reached[at].pc
    return (Edge(first, ""), *reversed(found))


def _direct(a: Use, b: Use) -> str:
    if a.is_write and not b.is_write:
        return f"reads {b.text} that it writes"
    if a.is_write:
        return f"writes {b.text} again"
    return f"writes {b.text} that it reads"
