"""The host buffer: what host and device exchange, as offsets of 32-bit words.

    word 0..63                 header, the Word constants below
    INPUT .. + max_length      prompt token ids
    OUTPUT .. + max_length     generated token ids; UNUSED until the device writes one
    COUNTS .. + vocab/2        u16 occurrences of every token of the vocabulary, two to a word

The host fills header, input and counts (of the prompt) before it starts the
machine; the device writes output, counts and FINISHED. Offsets after the
header depend on the build: `HostLayout` computes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

UNUSED = 0xFFFFFFFF
"""Value of an output slot the device has not written."""

HEADER_WORDS = 64
STOP_LIMIT = 32
"""Most stop tokens the header can hold."""


class Word(IntEnum):
    """Header words. Floats are stored as their IEEE float32 bits."""

    LAST_PROMPT = 0  # prompt tokens - 1
    LAST_OUTPUT = 1  # prompt tokens + tokens to generate - 2: position of the last decode step
    DO_SAMPLE = 2  # 0 greedy, 1 sample
    TOP_K = 3  # 0: off
    TOP_P = 4  # float, 1.0: off
    TEMPERATURE = 5  # float
    REPETITION_PENALTY = 6  # float, 1.0: off
    SEED_LOW = 7
    SEED_HIGH = 8
    STOP_COUNT = 9
    FINISHED = 10  # device: number of tokens generated, written before hlt
    STOP = 16  # STOP_LIMIT stop token ids


@dataclass(frozen=True, slots=True)
class HostLayout:
    """Byte offsets of the buffer of one build."""

    max_length: int
    vocab_size: int

    @property
    def input(self) -> int:
        """Byte offset of the prompt tokens."""
        return 4 * HEADER_WORDS

    @property
    def output(self) -> int:
        """Byte offset of the generated tokens."""
        return self.input + 4 * self.max_length

    @property
    def counts(self) -> int:
        """Byte offset of the u16 frequency table."""
        return self.output + 4 * self.max_length

    @property
    def size_bytes(self) -> int:
        """Size of the buffer, a multiple of 64."""
        return (self.counts + 2 * self.vocab_size + 63) // 64 * 64
