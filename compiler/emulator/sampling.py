"""The sampler of the vector unit: logits and sampling parameters -> one token, deterministically.

Repetition penalty, then greedy or temperature, top-k, top-p and an inverse
CDF, with the semantics of transformers' logits warpers. The random number of
step n is splitmix64 of (seed, n): it depends on nothing else, so a run can be
repeated or resumed at any step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.emulator.arithmetic import Vector
from compiler.emulator.host_buffer import HostBuffer
from compiler.emulator.trap import Trap
from compiler.isa.host import STOP_LIMIT, Word

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_WIDER = "where values leave the range of float16, compile with --dtype bfloat16 or float32"


def uniform(seed: int, step: int) -> float:
    """Number in [0, 1) of 53 random bits for step `step`: splitmix64 from state seed + step * golden ratio."""
    state = (seed + (step + 1) * _GOLDEN) & _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((state ^ (state >> 31)) >> 11) / float(1 << 53)


@dataclass(frozen=True, slots=True)
class Sampler:
    """Sampling parameters as the device reads them from the host buffer.

    Attributes:
        do_sample: whether to draw; else the first largest logit wins.
        top_k: draw from the k largest logits and their ties; 0: off.
        top_p: draw from the fewest tokens whose probability reaches top_p; 1: off.
        temperature: divides the logits.
        repetition_penalty: divides positive and multiplies other logits of tokens seen before; 1: off.
        seed: 64 bits.
    """

    do_sample: bool
    top_k: int
    top_p: float
    temperature: float
    repetition_penalty: float
    seed: int

    @staticmethod
    def of(host: HostBuffer) -> Sampler:
        """Read and check the header of the host buffer."""
        sampler = Sampler(
            do_sample=host.word(Word.DO_SAMPLE) != 0,
            top_k=host.word(Word.TOP_K),
            top_p=host.float_word(Word.TOP_P),
            temperature=host.float_word(Word.TEMPERATURE),
            repetition_penalty=host.float_word(Word.REPETITION_PENALTY),
            seed=host.word(Word.SEED_HIGH) << 32 | host.word(Word.SEED_LOW),
        )
        penalty = sampler.repetition_penalty
        if not (math.isfinite(penalty) and penalty > 0):
            raise Trap(f"the host buffer's repetition penalty {penalty} is not a positive number")
        if sampler.do_sample and not (math.isfinite(sampler.temperature) and sampler.temperature > 0):
            raise Trap(f"the host buffer's temperature {sampler.temperature} is not a positive number")
        if sampler.do_sample and not 0 < sampler.top_p <= 1:
            raise Trap(f"the host buffer's top-p {sampler.top_p} is outside (0, 1]")
        if host.word(Word.STOP_COUNT) > STOP_LIMIT:
            raise Trap(f"the host buffer has {host.word(Word.STOP_COUNT)} stop tokens, at most {STOP_LIMIT} fit")
        return sampler

    def choose(self, logits: Vector, counts: NDArray[np.uint16], step: int) -> int:
        """The token for these logits.

        Args:
            logits: float32 [vocabulary].
            counts: occurrences of each token so far, at least as long.
            step: tokens sampled before.
        """
        if np.isnan(logits).any():
            raise Trap(f"logit {int(np.argmax(np.isnan(logits)))} is NaN; {_WIDER}")
        scores = self._penalised(logits, counts[: logits.shape[0]])
        if not self.do_sample:
            return int(np.argmax(scores))
        if not np.isfinite(scores.max()):
            raise Trap(f"the largest logit is {scores.max()}, no probabilities follow from it; {_WIDER}")
        scores = scores / np.float32(self.temperature)
        if 0 < self.top_k < scores.shape[0]:
            threshold = np.partition(scores, -self.top_k)[-self.top_k]
            scores = np.where(scores < threshold, np.float32(-np.inf), scores)
        powers = np.exp(scores.astype(np.float64) - float(scores.max()))
        if self.top_p < 1:
            powers = _nucleus(powers, self.top_p)
        cumulative = np.cumsum(powers)
        drawn = int(np.searchsorted(cumulative, uniform(self.seed, step) * cumulative[-1], side="right"))
        return min(drawn, int(np.flatnonzero(powers)[-1]))

    def _penalised(self, logits: Vector, counts: NDArray[np.uint16]) -> Vector:
        if self.repetition_penalty == 1.0:
            return logits
        penalty = np.float32(self.repetition_penalty)
        return np.where(counts > 0, np.where(logits > 0, logits / penalty, logits * penalty), logits)


def _nucleus(powers: NDArray[np.float64], top_p: float) -> NDArray[np.float64]:
    """Keep the largest probabilities until they sum to top_p, at least one; ties go to the smaller id."""
    order = np.argsort(-powers, kind="stable")
    cumulative = np.cumsum(powers[order])
    keep = int(np.searchsorted(cumulative, top_p * cumulative[-1], side="left")) + 1
    kept = np.zeros_like(powers)
    kept[order[:keep]] = powers[order[:keep]]
    return kept
