"""When each instruction of a token starts and ends, by the clock the emulator runs on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compiler.cli.timing import clock_for
from compiler.isa.encode import decode_program
from hyperdex_tui.backend.inspector import TIMED_LIMIT
from hyperdex_tui.backend.program import Program


def token_cycles(program: Program, words: bytes, position: int) -> NDArray[np.float64]:
    """Start and end cycle [instructions, 2] within the token at `position`; NaN where it does not come by.

    Raises:
        ValueError: the program is too long.
        AssemblyError: a word is not an instruction.
    """
    if program.count > TIMED_LIMIT:
        raise ValueError(
            f"cycles are calculated for at most {TIMED_LIMIT:,} instructions, the program has {program.count:,}"
        )
    clock = clock_for(program.manifest, decode_program(words))
    times = np.full((program.count, 2), np.nan)
    for piece in clock.token(position, slices=True).slices:
        times[piece.pc] = piece.start, piece.end
    return times
