"""Runs mutated programs of a build in this process and tells how each ended, one JSON object at the end.

Usage: python -m torture.mutants PARAM_DIR INST_DIR COUNT SEED. A program may do what it likes: it
either runs, or ends in one of our errors, in one line, within its budget of steps and of time. Now
and then a mutant runs a second time, instruction by instruction, and must end the same way.
"""

from __future__ import annotations

import copy
import json
import random
import resource
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import numpy as np
from numpy.typing import NDArray

from compiler.artifacts.reader import Build, open_build
from compiler.emulator.machine import Machine
from compiler.emulator.session import SamplingParameters, Session
from compiler.errors import HyperDexError
from compiler.isa.encode import decode, encode
from compiler.isa.instructions import SPECS
from compiler.isa.spec import Operand, Spec

PROMPT = (5, 17, 3)
NEW_TOKENS = 3
SECONDS = 5
MEMORY_BYTES = 6 << 30
COMPARED_EVERY = 16
EXTREMES = (0, 1, 2, 3, 31, 32, 64, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7F800000, 0x7FC00000, 0xFF800000)

Words = NDArray[np.uint32]


class TooLong(Exception):
    """A program ran longer than it may."""


def _alarm(_number: int, _frame: FrameType | None) -> None:
    raise TooLong


def mutate(words: Words, chosen: random.Random) -> tuple[str, Words]:
    """One to four changes of one kind; its name and the program, uint32 [instructions, 8]."""
    kind = chosen.choice(tuple(_KINDS))
    result = words.copy()
    for _ in range(chosen.choice((1, 1, 1, 2, 4))):
        result = _KINDS[kind](result, chosen)
    return kind, result


def _flip_bit(words: Words, chosen: random.Random) -> Words:
    words[chosen.randrange(len(words)), chosen.randrange(8)] ^= np.uint32(1 << chosen.randrange(32))
    return words


def _extreme_operand(words: Words, chosen: random.Random) -> Words:
    pc = chosen.randrange(len(words))
    spec = _spec_of(words[pc])
    if spec is not None and spec.operands:
        _set(words[pc], chosen.choice(spec.operands), chosen.choice(EXTREMES))
    return words


def _other_operand(words: Words, chosen: random.Random) -> Words:
    """An operand of another instruction of the same kind: legal by itself, wrong here."""
    pc, other = chosen.randrange(len(words)), chosen.randrange(len(words))
    spec = _spec_of(words[pc])
    if spec is not None and spec is _spec_of(words[other]) and spec.operands:
        operand = chosen.choice(spec.operands)
        _set(words[pc], operand, int(words[other, operand.word]) >> operand.low)
    return words


def _new_instruction(words: Words, chosen: random.Random) -> Words:
    spec = chosen.choice(SPECS)
    word = np.zeros(8, np.uint32)
    word[0] = spec.opcode
    for operand in spec.operands:
        value = chosen.choice((chosen.choice(EXTREMES), chosen.randrange(200), chosen.getrandbits(32)))
        _set(word, operand, value)
    words[chosen.randrange(len(words))] = word
    return words


def _swap(words: Words, chosen: random.Random) -> Words:
    first, second = chosen.randrange(len(words)), chosen.randrange(len(words))
    words[[first, second]] = words[[second, first]]
    return words


def _remove(words: Words, chosen: random.Random) -> Words:
    return np.delete(words, chosen.randrange(len(words)), axis=0) if len(words) > 1 else words


def _repeat(words: Words, chosen: random.Random) -> Words:
    pc = chosen.randrange(len(words))
    return np.insert(words, chosen.randrange(len(words)), words[pc], axis=0)


def _noise(words: Words, chosen: random.Random) -> Words:
    words[chosen.randrange(len(words))] = [chosen.getrandbits(32) for _ in range(8)]
    return words


_KINDS = {
    "flipped bit": _flip_bit,
    "extreme operand": _extreme_operand,
    "operand of another": _other_operand,
    "new instruction": _new_instruction,
    "swapped": _swap,
    "removed": _remove,
    "repeated": _repeat,
    "random word": _noise,
}


def _spec_of(word: NDArray[np.uint32]) -> Spec | None:
    try:
        return decode(word.astype("<u4").tobytes()).spec
    except HyperDexError:
        return None


def _set(word: NDArray[np.uint32], operand: Operand, value: int) -> None:
    mask = ((1 << operand.bits) - 1) << operand.low
    word[operand.word] = np.uint32((int(word[operand.word]) & ~mask) | ((value << operand.low) & mask & 0xFFFFFFFF))


def run(build: Build, words: Words, *, sampled: bool, fast: bool = True) -> str:
    """How a program ends: its tokens, or our error."""
    mutant = copy.copy(build)
    mutant.program_words = words.astype(np.int32)
    parameters = SamplingParameters(do_sample=sampled, top_k=5, temperature=0.7, seed=3)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        machine = Machine(mutant, fast=fast)
        tokens = [step.token_id for step in Session(machine).generate(PROMPT, NEW_TOKENS, parameters)]
        return f"tokens {tokens}"
    except HyperDexError as error:
        text = str(error)
        if type(error) is HyperDexError or not text.isprintable():
            raise RuntimeError(f"not one of our typed errors: {text!r}") from error
        return f"{type(error).__name__}: {text}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    """Run the mutants and print the totals."""
    param_dir, inst_dir, count, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    signal.signal(signal.SIGALRM, _alarm)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    build = open_build(param_dir, inst_dir)
    words = build.program_words.view(np.uint32)
    assert encode(decode(words[0].astype("<u4").tobytes())) == words[0].astype("<u4").tobytes()
    outcomes: Counter[str] = Counter()
    violations = []
    for index in range(count):
        chosen = random.Random(f"{seed}/{index}")
        kind, mutant = mutate(words, chosen)
        try:
            ending = run(build, mutant, sampled=index % 2 == 1)
            outcomes["ran" if ending.startswith("tokens") else ending.partition(":")[0]] += 1
            if index % COMPARED_EVERY == 0:
                slow = run(build, mutant, sampled=index % 2 == 1, fast=False)
                if slow != ending:
                    raise RuntimeError(f"fast {ending!r}, step by step {slow!r}")
        except Exception as error:
            outcomes["violation"] += 1
            violations.append(f"mutant {seed}/{index} ({kind}): {type(error).__name__}: {error}")
    print(json.dumps({"outcomes": outcomes, "violations": violations}))


if __name__ == "__main__":
    main()
