"""What each pass does to a program: sizes and times with more and more of the passes, as values.

In: a config.json and the options of a build. Out: an `Effect` per pass, each with those before it; nothing is read
and nothing is written, for a time needs no weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compiler.planning import CompileOptions
    from compiler.target.timing import Rules

NO_PASS = "none"
_OPENERS = ("rd.param", "rd.kv")


@dataclass(frozen=True, slots=True)
class Effect:
    """A program with the passes up to one of them.

    Attributes:
        name: the last pass, `NO_PASS` for the program as lowered.
        instructions: all of them; streams: those that open one; transfers: those that send a chunk.
        ms_per_token: emulated.
        synchronisation_ms: of these, what devices would save that share each vector at once.
        waits: ms per token that a unit stands still, by unit and reason.
    """

    name: str
    instructions: int
    streams: int
    transfers: int
    ms_per_token: float
    synchronisation_ms: float
    waits: Mapping[str, float]


def pass_effects(config: Mapping[str, Any], options: CompileOptions, tokens: int) -> Iterator[Effect]:
    """The program without passes, then with one more of those that the options ask for each time.

    Args:
        tokens: length of the text that is timed, of which the first is the prompt.

    Raises:
        HyperDexError: as `planning.make_plan` and `make_program`.
    """
    from compiler.planning import PASS_NAMES

    running = running_order(options)
    for count in range(len(running) + 1):
        kept = running[:count]
        without = tuple(name for name in PASS_NAMES if name not in kept)
        chosen = replace(options, fusion=True, reorder=True, without=without)
        yield effect_of(config, chosen, tokens, kept[-1] if kept else NO_PASS)


def running_order(options: CompileOptions) -> list[str]:
    """The passes that options ask for; the one that gathers in chunks comes last, for it chooses by the time."""
    asked = [step.name for step in options.passes()]
    later = (options.overlap(1), options.chunk_transmit())
    return [*asked, *(step.name for step in later if step is not None)]


def effect_of(config: Mapping[str, Any], options: CompileOptions, tokens: int, name: str) -> Effect:
    """The program of these options."""
    from compiler.emulator.report import time_generation
    from compiler.emulator.timing import Clock
    from compiler.planning import make_plan, make_program

    plan = make_plan(config, options)
    program = make_program(plan, options).instructions
    counts = Counter(instr.mnemonic for instr in program)
    time = time_generation(Clock(program, plan.rules), 1, tokens - 1)
    unlinked = time_generation(Clock(program, without_link(plan.rules)), 1, tokens - 1)
    return Effect(
        name=name,
        instructions=len(program),
        streams=sum(counts[mnemonic] for mnemonic in _OPENERS),
        transfers=counts["tx"],
        ms_per_token=time.ms_per_token,
        synchronisation_ms=time.ms_per_token - unlinked.ms_per_token,
        waits={key: share * time.ms_per_token for key, share in time.stalls.items()},
    )


def without_link(rules: Rules) -> Rules:
    """The rules of devices that share a vector as soon as each has made its slice: no wire, and none to hand it to."""
    from compiler.target.topology import Wiring

    return replace(rules, wiring=Wiring(rules.wiring.topology, hops=0, slices=0))
