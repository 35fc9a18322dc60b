"""A generation session: prompt and sampling parameters in, tokens out as the device writes them.

The host's side of the protocol of `isa.host`: it fills the buffer, starts the
machine and reads output slots. Sampling and stopping happen on the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compiler.emulator.machine import Machine, Stop
from compiler.emulator.state import SampleObserver
from compiler.errors import UsageError
from compiler.isa.host import STOP_LIMIT, Word


@dataclass(frozen=True, slots=True)
class SamplingParameters:
    """How the next token is chosen.

    Attributes:
        do_sample: draw from the distribution; else the most probable token.
        top_k: draw from the k most probable tokens; 0: all.
        top_p: draw from the fewest tokens whose probability reaches top_p; 1.0: all.
        temperature: above 1 flattens, below 1 sharpens the distribution.
        repetition_penalty: above 1 makes tokens seen before less probable; 1.0: off.
        seed: 64 bits; equal seeds give equal texts.
    """

    do_sample: bool = False
    top_k: int = 0
    top_p: float = 1.0
    temperature: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0


GREEDY = SamplingParameters()
_SMALLEST_TOP_P = 1e-30
"""The device reads a float32, and those below 1.2e-38 lose precision and end at 0."""


@dataclass(frozen=True, slots=True)
class Step:
    """One generated token.

    Attributes:
        token_id: the token.
        position: its position in the text; the first one follows the prompt.
        finished: whether it is the last one: a stop token, or as many as asked for.
    """

    token_id: int
    position: int
    finished: bool


def check_sampling(parameters: SamplingParameters) -> None:
    """Refuse parameters out of range.

    Raises:
        UsageError: naming the parameter, its value and its range.
    """
    checks: tuple[tuple[str, float, bool, str], ...] = (
        ("top_k", parameters.top_k, 0 <= parameters.top_k < 1 << 31, f"0 (off) to {(1 << 31) - 1}"),
        ("top_p", parameters.top_p, _SMALLEST_TOP_P <= parameters.top_p <= 1, f"{_SMALLEST_TOP_P:g} to 1"),
        ("temperature", parameters.temperature, 1e-6 <= parameters.temperature <= 1e6, "0.000001 to 1000000"),
        (
            "repetition_penalty",
            parameters.repetition_penalty,
            1e-3 <= parameters.repetition_penalty <= 1e3,
            "0.001 to 1000",
        ),
        ("seed", parameters.seed, 0 <= parameters.seed < 1 << 64, "0 to 2**64 - 1"),
    )
    for name, value, good, allowed in checks:
        if not (good and math.isfinite(value)):
            raise UsageError(f"{name} is {value}, allowed is {allowed}")


def check_lengths(prompt_tokens: int, max_new_tokens: int, max_length: int) -> None:
    """Refuse a generation that does not fit the build.

    Raises:
        UsageError: naming the numbers and the build's max_length.
    """
    if prompt_tokens < 1:
        raise UsageError("the prompt has no tokens", "give at least one")
    if max_new_tokens < 1:
        raise UsageError(f"max_new_tokens is {max_new_tokens}, allowed is 1 or more")
    if prompt_tokens + max_new_tokens > max_length:
        raise UsageError(
            f"{prompt_tokens} prompt tokens and {max_new_tokens} new ones exceed the build's max_length {max_length}",
            "shorten them or compile with a larger --max-length",
        )


def check_tokens(name: str, token_ids: Sequence[int], vocab_size: int) -> None:
    """Refuse token ids outside the vocabulary.

    Raises:
        UsageError: naming the first bad id and where it is.
    """
    for index, token in enumerate(token_ids):
        if not 0 <= token < vocab_size:
            raise UsageError(f"{name} {index} is {token}, the vocabulary has 0..{vocab_size - 1}")


def step_budget(machine: Machine, prompt_tokens: int, max_new_tokens: int) -> int:
    """More instructions than a generation executes, though it read its text twice."""
    return len(machine.program) * 2 * (prompt_tokens + max_new_tokens + 1)


class Session:
    """Generations on one machine, one after another."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        parameters: SamplingParameters = GREEDY,
        stop_ids: Sequence[int] | None = None,
        observer: SampleObserver | None = None,
    ) -> Iterator[Step]:
        """Generate tokens; each is yielded when the device has written it.

        Args:
            prompt_ids: at least one token.
            max_new_tokens: most tokens to generate.
            parameters: how tokens are chosen.
            stop_ids: tokens that end the text; None: the model's own.
            observer: called with logits, float32 [vocabulary], and index of every generated token.

        Raises:
            UsageError: an argument is out of range; raised before the first step.
            MachineFault: while iterating.
        """
        self.start(prompt_ids, max_new_tokens, parameters, stop_ids)
        self.machine.observe_samples(observer)
        return self._steps(len(prompt_ids), max_new_tokens)

    def start(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        parameters: SamplingParameters = GREEDY,
        stop_ids: Sequence[int] | None = None,
    ) -> None:
        """Reset the machine and fill the host buffer, without running anything.

        Raises:
            UsageError: an argument is out of range.
        """
        manifest = self.machine.build.manifest
        stops = manifest.eos_token_ids if stop_ids is None else stop_ids
        check_lengths(len(prompt_ids), max_new_tokens, manifest.max_length)
        check_tokens("prompt token", prompt_ids, manifest.vocab_size)
        check_sampling(parameters)
        if len(stops) > STOP_LIMIT:
            raise UsageError(f"{len(stops)} stop tokens, at most {STOP_LIMIT} are allowed")
        check_tokens("stop token", stops, manifest.vocab_size)
        self.machine.reset()
        host = self.machine.host
        host.set_word(Word.LAST_PROMPT, len(prompt_ids) - 1)
        host.set_word(Word.LAST_OUTPUT, len(prompt_ids) + max_new_tokens - 2)
        host.set_word(Word.DO_SAMPLE, int(parameters.do_sample))
        host.set_word(Word.TOP_K, parameters.top_k)
        host.set_float(Word.TOP_P, parameters.top_p)
        host.set_float(Word.TEMPERATURE, parameters.temperature)
        host.set_float(Word.REPETITION_PENALTY, parameters.repetition_penalty)
        host.set_word(Word.SEED_LOW, parameters.seed & 0xFFFFFFFF)
        host.set_word(Word.SEED_HIGH, parameters.seed >> 32)
        host.set_stop_tokens(stops)
        host.set_prompt(prompt_ids)

    def _steps(self, prompt_tokens: int, max_new_tokens: int) -> Iterator[Step]:
        machine, host = self.machine, self.machine.host
        budget = step_budget(machine, prompt_tokens, max_new_tokens)
        stops = frozenset(host.stop_tokens())
        finished = False
        slot = 0
        while not finished:
            self._advance(budget, slot, until_output=True)
            token = host.output(slot)
            if token >= host.layout.vocab_size:
                raise machine.fault(machine.pc - 1, f"output {slot} is {token}, outside the vocabulary")
            finished = slot + 1 == max_new_tokens or token in stops
            yield Step(token, prompt_tokens + slot, finished)
            slot += 1
        self._advance(budget, slot, until_output=False)
        if host.word(Word.FINISHED) != slot:
            raise machine.fault(machine.pc - 1, f"halted with {host.word(Word.FINISHED)} as the count of {slot} tokens")

    def _advance(self, budget: int, slot: int, *, until_output: bool) -> None:
        """Run to the next output, or to the end when no more output is due; breakpoints do not stop it."""
        machine = self.machine
        stop = Stop.BREAKPOINT
        while stop is Stop.BREAKPOINT:
            stop = machine.run(max(0, budget - machine.steps), until_output=True)
        if stop is Stop.BUDGET:
            raise machine.fault(machine.pc, f"no end after {budget} steps: the program loops")
        if stop is Stop.HALTED and until_output:
            raise machine.fault(machine.pc - 1, f"halted after {slot} tokens, more were due")
        if stop is Stop.OUTPUT and not until_output:
            raise machine.fault(machine.pc - 1, f"a token was written after the last one, token {slot}")
