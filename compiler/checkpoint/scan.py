"""One pass over a weight file: its hash, and the elements of its tensors as they come by.

Files are read in file order. Hashing runs in a thread of its own while the
caller works on the same bytes (hashlib releases the interpreter lock), and may
go on with them in other threads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np

from compiler.checkpoint.reader import read_chunks
from compiler.checkpoint.regular_file import OpenFile, RegularFile
from compiler.checkpoint.tensors import StoredTensor
from compiler.dtypes import DType
from compiler.errors import CheckpointError
from compiler.rounding import Stored, storage, to_float32
from compiler.sanitize import one_line

PIECE_BYTES = 2 << 20
_BUFFERS = 6
"""One is read into; the others are hashed and written, at two paces."""

_UNSIGNED = {2: "<u2", 4: "<u4", 8: "<u8"}
_SIGNED = {2: "<i2", 4: "<i4", 8: "<i8"}

Consumer = Callable[[StoredTensor, int, Stored], Future[None]]
"""Called with a tensor, the index of its first element at hand, and elements; they are valid until the future is
done."""


def scan_file(file: RegularFile, tensors: Sequence[StoredTensor], consume: Consumer) -> str:
    """Hand all elements of `tensors` to `consume`, each tensor in order, and return the SHA-256 of the file.

    Args:
        file: the file.
        tensors: those of its tensors that are wanted; they may share bytes.
        consume: what to do with the elements.

    Raises:
        CheckpointError: the file was truncated or changed.
    """
    with file.open() as opened, _HashedReader(opened) as reader:
        os.posix_fadvise(opened.descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        for tensor in sorted(tensors, key=lambda item: item.begin):
            if tensor.dtype is None or tensor.strides or tensor.begin < reader.position:
                element = 0
                for chunk in read_chunks(opened, tensor, PIECE_BYTES):
                    consume(tensor, element, chunk).result()
                    element += chunk.size
                continue
            reader.pass_over(tensor.begin)
            kind = storage(tensor.dtype)
            for offset in range(0, tensor.bytes, PIECE_BYTES):
                piece = reader.next_piece(min(PIECE_BYTES, tensor.bytes - offset))
                reader.keep_until(consume(tensor, offset // kind.itemsize, np.frombuffer(piece, kind)))
        reader.pass_over(file.size)
        opened.check_unchanged()
        return reader.hexdigest()


class _HashedReader:
    """Reads a file front to back through a ring of buffers and hashes them in a thread."""

    def __init__(self, opened: OpenFile) -> None:
        self.position = 0
        self._opened = opened
        self._digest = hashlib.sha256()
        self._buffers = [memoryview(bytearray(min(PIECE_BYTES, opened.file.size))) for _ in range(_BUFFERS)]
        self._users: list[list[Future[None]]] = [[] for _ in self._buffers]
        self._turn = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sha256")

    def __enter__(self) -> _HashedReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def next_piece(self, count: int) -> memoryview:
        """Return the next `count` <= PIECE_BYTES bytes, valid until the next call; see `keep_until`."""
        self._turn = (self._turn + 1) % _BUFFERS
        self._wait(self._users[self._turn])
        piece = self._buffers[self._turn][:count]
        self._opened.read_into(piece, self.position)
        self._users[self._turn].append(self._pool.submit(self._digest.update, piece))
        self.position += count
        return piece

    def keep_until(self, user: Future[None]) -> None:
        """Keep the piece that was read last valid until `user` is done; its failure is raised by a later call."""
        self._users[self._turn].append(user)

    def pass_over(self, end: int) -> None:
        """Hash up to byte `end`."""
        while self.position < end:
            self.next_piece(min(PIECE_BYTES, end - self.position))

    def hexdigest(self) -> str:
        """Wait for the hash, and for the users, of everything read so far."""
        for users in self._users:
            self._wait(users)
        return self._digest.hexdigest()

    @staticmethod
    def _wait(users: list[Future[None]]) -> None:
        for user in users:
            user.result()
        users.clear()


def largest_magnitude(elements: Stored, dtype: DType) -> float:
    """Largest magnitude among `elements`, 0.0 without any; infinity or NaN when one of them is.

    The bits of a number without its sign order like its magnitude, so the two
    integer maxima (as signed: positives; as unsigned: negatives) are enough.
    Both run at memory speed and need no temporary.
    """
    if elements.size == 0:
        return 0.0
    sign = 1 << (8 * dtype.itemsize - 1)
    positive = int(elements.view(_SIGNED[dtype.itemsize]).max())
    either = int(elements.view(_UNSIGNED[dtype.itemsize]).max()) & (sign - 1)
    bits = np.array([max(positive, either)], _UNSIGNED[dtype.itemsize])
    return float(bits.view("<f8")[0]) if dtype.itemsize == 8 else float(to_float32(bits.view(storage(dtype)), dtype)[0])


def refuse_not_finite(elements: Stored, tensor: StoredTensor, first: int) -> None:
    """Name the first NaN or infinity among `elements`, which hold at least one.

    Raises:
        CheckpointError: always.
    """
    assert tensor.dtype is not None
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(elements if tensor.dtype.itemsize == 8 else to_float32(elements, tensor.dtype))
    index = int(np.flatnonzero(bad)[0])
    raise CheckpointError(
        f"{tensor.file.name}: tensor {one_line(tensor.name, 160)!r} holds NaN or infinity at element {first + index}",
        "the checkpoint is damaged at its source; use another revision",
    )
