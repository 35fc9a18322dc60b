"""What all orders of a program have in common: its blocks with their dependences, and what each instruction asks.

In: a lowered program. Out: the blocks whose instructions may change places, and the demands along one turn of the
token loop. Dependences are the same in every order that keeps them, and no rule of a target goes into any of it, so
it is worked out once for all windows that are tried and all targets that share the program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from compiler.isa.instructions import BY_MNEMONIC
from compiler.isa.spec import Kind, Unit
from compiler.program.demand import OPENERS, Demand, Kinds, Scoreboard
from compiler.program.dependence import dependences
from compiler.program.token_path import token_path
from compiler.program.virtual import VirtualInstruction, VirtualProgram


@dataclass(frozen=True, slots=True)
class Block:
    """Instructions between labels and branches; all numbers are theirs in the program.

    Attributes:
        movable: instructions in program order, but those that open streams: these stand right before their reader.
        openers: of the streams that an instruction reads.
        needs: how many instructions must be placed before one and the openers of its streams.
        needed_by: the movable ones that an instruction must be placed before.
        demands: of all of them; what lies in front of the block is left out.
    """

    movable: tuple[int, ...]
    openers: Mapping[int, tuple[int, ...]]
    needs: Mapping[int, int]
    needed_by: Mapping[int, tuple[int, ...]]
    demands: Mapping[int, Demand]


@dataclass(frozen=True, slots=True)
class Blocks:
    """A lowered program, taken apart.

    Attributes:
        blocks: those in which something can change places, in program order.
        path: places of the instructions of a turn of the token loop, which are the same in every order.
        demands: of the instructions on it, by their number in the program.
        kinds: of their work.
    """

    program: VirtualProgram
    blocks: tuple[Block, ...]
    path: tuple[int, ...]
    demands: Mapping[int, Demand]
    kinds: Kinds


def take_apart(program: VirtualProgram) -> Blocks:
    """The blocks of a program and its token's path."""
    instructions, kinds = program.instructions, Kinds()
    path = token_path(instructions, program.labels, prompt=False)
    demands = _shown(instructions, path, kinds)
    fences = {0, len(instructions), *program.labels.values()}
    for index, instr in enumerate(instructions):
        if BY_MNEMONIC[instr.mnemonic].unit is Unit.ICP:
            fences |= {index, index + 1}
    blocks = []
    for begin, end in pairwise(sorted(fences)):
        if end - begin > 2:
            inside = range(begin, end)
            shown = demands if begin in demands else _shown(instructions, inside, kinds)
            blocks.append(_block(instructions, inside, {who: _within(shown[who], begin) for who in inside}))
    return Blocks(program, tuple(blocks), tuple(path), demands, kinds)


def _shown(instructions: Sequence[VirtualInstruction], path: Sequence[int], kinds: Kinds) -> dict[int, Demand]:
    board = Scoreboard(kinds)
    return {pc: board.show(pc, instructions[pc]) for pc in path}


def _within(demand: Demand, begin: int) -> Demand:
    """A demand without what lies in front of its block."""
    if min(demand.results + demand.hazards + demand.streams, default=begin) >= begin:
        return demand
    kept = ([who for who in numbers if who >= begin] for numbers in demand[3:])
    return Demand(*demand[:3], *map(tuple, kept))


def _block(instructions: Sequence[VirtualInstruction], inside: range, demands: Mapping[int, Demand]) -> Block:
    begin = inside.start
    before = [{begin + who for who in found} for found in dependences(instructions[begin : inside.stop])]
    openers = _openers(instructions, inside)
    movable = tuple(who for who in inside if instructions[who].mnemonic not in OPENERS)
    needs: dict[int, int] = {}
    needed_by: dict[int, list[int]] = {}
    for who in movable:
        own = openers.get(who, ())
        needed = set().union(before[who - begin], *(before[opener - begin] for opener in own)).difference(own)
        needs[who] = len(needed)
        for each in needed:
            needed_by.setdefault(each, []).append(who)
    return Block(movable, openers, needs, {who: tuple(found) for who, found in needed_by.items()}, demands)


def _openers(instructions: Sequence[VirtualInstruction], inside: range) -> dict[int, tuple[int, ...]]:
    """For each reader of streams the instructions that open them."""
    opened: dict[object, int] = {}
    found: dict[int, tuple[int, ...]] = {}
    for who in inside:
        instr = instructions[who]
        given = dict(instr.operands)
        if instr.mnemonic in OPENERS:
            opened[given["stream"]] = who
            continue
        streams = [o.name for o in BY_MNEMONIC[instr.mnemonic].operands if o.kind is Kind.STREAM and o.name != "out"]
        read = [opened.pop(given[name]) for name in streams if given.get(name) in opened]
        if read:
            found[who] = tuple(sorted(read))
    return found
