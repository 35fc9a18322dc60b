"""The host buffer of a running machine: prompt, output slots, counts and sampling header.

The layout is `isa.host`; this file holds the words and checks who writes what.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compiler.emulator.trap import Trap
from compiler.isa.host import UNUSED, HostLayout, Word

COUNT_LIMIT = 0xFFFF
"""A count saturates here."""


class HostBuffer:
    """32-bit words shared by host and device.

    Attributes:
        layout: offsets of this build.
        outputs: how many output slots the device has written.
    """

    __slots__ = ("_counts", "_words", "layout", "outputs")

    def __init__(self, layout: HostLayout) -> None:
        self.layout = layout
        self._words: NDArray[np.uint32] = np.zeros(layout.size_bytes // 4, dtype="<u4")
        self._counts = self._words.view("<u2")[layout.counts // 2 : layout.counts // 2 + layout.vocab_size]
        self.clear()

    def clear(self) -> None:
        """Empty header, prompt and counts; every output slot is UNUSED."""
        self._words[:] = 0
        self._words[self.layout.input // 4 : self.layout.counts // 4] = UNUSED
        self.outputs = 0

    @property
    def counts(self) -> NDArray[np.uint16]:
        """Occurrences of every token; written in place."""
        return self._counts

    def set_word(self, word: Word, value: int) -> None:
        """Host side: set a header word."""
        self._words[word] = value & 0xFFFFFFFF

    def set_float(self, word: Word, value: float) -> None:
        """Host side: set a header word to the bits of a float32."""
        self._words[word] = struct.unpack("<I", struct.pack("<f", value))[0]

    def word(self, word: Word) -> int:
        """A header word, unsigned."""
        return int(self._words[word])

    def float_word(self, word: Word) -> float:
        """A header word that holds float32 bits."""
        return float(struct.unpack("<f", struct.pack("<I", int(self._words[word])))[0])

    def set_prompt(self, token_ids: Sequence[int]) -> None:
        """Host side: store the prompt and count its tokens."""
        begin = self.layout.input // 4
        tokens = np.array(token_ids, dtype=np.int64)
        self._words[begin : begin + len(tokens)] = tokens
        counted = np.bincount(tokens, minlength=self.layout.vocab_size)
        self._counts[:] = np.minimum(counted, COUNT_LIMIT)

    def set_stop_tokens(self, token_ids: Sequence[int]) -> None:
        """Host side: store the stop tokens, at most STOP_LIMIT."""
        self._words[Word.STOP_COUNT] = len(token_ids)
        self._words[Word.STOP : Word.STOP + len(token_ids)] = token_ids

    def stop_tokens(self) -> list[int]:
        """The stop tokens of the header."""
        count = self.word(Word.STOP_COUNT)
        return [int(token) for token in self._words[Word.STOP : Word.STOP + count]]

    def count(self, token: int) -> None:
        """Device side: count one more occurrence of a token; a full count stays."""
        self._counts[token] = min(int(self._counts[token]) + 1, COUNT_LIMIT)

    def output(self, slot: int) -> int:
        """Output slot, UNUSED while the device has not written it."""
        return int(self._words[self.layout.output // 4 + slot])

    def device_read(self, offset: int) -> int:
        """Device side: the word at byte `offset`, unsigned."""
        return int(self._words[self._index(offset)])

    def device_write(self, offset: int, value: int) -> None:
        """Device side: write an output slot or FINISHED; nothing else is the device's."""
        index = self._index(offset)
        in_output = self.layout.output <= offset < self.layout.counts
        if not in_output and index != Word.FINISHED:
            raise Trap(f"host buffer offset {offset} is not the device's to write")
        self._words[index] = value & 0xFFFFFFFF
        if in_output:
            slot = (offset - self.layout.output) // 4
            if slot != self.outputs:
                raise Trap(f"output slot {slot} is written where slot {self.outputs} is due")
            self.outputs += 1

    def _index(self, offset: int) -> int:
        if offset % 4 or not 0 <= offset < self.layout.size_bytes:
            raise Trap(f"host buffer offset {offset} is not a word of its {self.layout.size_bytes} bytes")
        return offset // 4
