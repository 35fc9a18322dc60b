"""The `.bin` files of `torch.save`: list the tensors of a zip archive without torch and without running anything.

The archive holds `PREFIX/data.pkl`, one record `PREFIX/data/KEY` per storage,
and perhaps `PREFIX/byteorder`. Records are stored, not compressed, so a tensor
is a byte range of the file. Archives from before torch 1.6 are not zip files
and are refused.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from compiler.checkpoint.regular_file import OpenFile
from compiler.checkpoint.tensors import StoredTensor, element_count, is_shape
from compiler.checkpoint.torch_pickle import StorageRef, TensorRef, read_pickle
from compiler.checkpoint.untrusted_json import uncollected
from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from compiler.errors import CheckpointError
from compiler.sanitize import one_line

MAX_PICKLE_BYTES = 16 << 20
MAX_DIRECTORY_BYTES = 4 << 20
"""More records than a pickle of at most MAX_OPCODES can name."""

_FLOATS = {"Half": FLOAT16, "BFloat16": BFLOAT16, "Float": FLOAT32, "Double": FLOAT64}
_BYTES = {
    "Half": 2,
    "BFloat16": 2,
    "Float": 4,
    "Double": 8,
    "Long": 8,
    "Int": 4,
    "Short": 2,
    "Char": 1,
    "Byte": 1,
    "Bool": 1,
}
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""How files of torch before 1.6 begin: the pickle of a magic number."""
_ADVICE = "save the model as safetensors"
_RELOAD = "download the model again"


@uncollected()
def list_torch_file(opened: OpenFile) -> tuple[StoredTensor, ...]:
    """Return the tensors of a file in pickle order; several may share bytes.

    Raises:
        CheckpointError: not a zip archive of plain tensors, or damaged.
    """
    name = opened.file.name
    try:
        reader = _BoundedReader(opened, MAX_DIRECTORY_BYTES)
        with zipfile.ZipFile(reader) as archive:
            reader.limit_bytes = MAX_PICKLE_BYTES
            records = {info.filename: info for info in archive.infolist()}
            pickles = [record for record in records if record.count("/") == 1 and record.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise CheckpointError(f"{name} holds {len(pickles)} data.pkl, expected one", _ADVICE)
            prefix = pickles[0].removesuffix("data.pkl")
            state = read_pickle(_record(archive, records[pickles[0]], name), f"data.pkl of {name}")
            if f"{prefix}byteorder" in records:
                order = _record(archive, records[f"{prefix}byteorder"], name)
                if order != b"little":
                    raise CheckpointError(f"{name} was saved in byte order {one_line(repr(order), 20)}", _ADVICE)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, struct.error, ValueError, OSError) as error:
        raise _unreadable(opened, error) from None
    listing = _Archive(opened, prefix, records)
    return tuple(listing.tensor(key, value) for key, value in _items(state, name))


def _unreadable(opened: OpenFile, error: Exception) -> CheckpointError:
    """What a file is that cannot be read as an archive, by its first bytes."""
    name, begin = opened.file.name, opened.read(0, min(len(_LEGACY), opened.file.size))
    if begin == _LEGACY:
        return CheckpointError(f"{name} is in the format of torch before 1.6, which is not supported", _ADVICE)
    if begin[:2] in (b"PK", b""):
        reason = one_line(str(error), 120)
        return CheckpointError(f"{name} is cut off or damaged, its archive cannot be read ({reason})", _RELOAD)
    return CheckpointError(f"{name} is no archive of torch.save, it begins with {begin[:4]!r}", _RELOAD)


class _BoundedReader(io.RawIOBase):
    """What zipfile sees: the file, except that no single read is larger than a limit."""

    def __init__(self, opened: OpenFile, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._opened = opened
        self._position = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._opened.file.size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the file")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._opened.file.size - self._position)
        count = left if size < 0 else min(size, left)
        if count > self.limit_bytes:
            raise ValueError(f"a directory or record of {count} bytes, at most {self.limit_bytes}")
        content = self._opened.read(self._position, count)
        self._position += count
        return content


def _record(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size > MAX_PICKLE_BYTES:
        raise CheckpointError(f"{name}: record {one_line(info.filename, 80)} is compressed or too large", _ADVICE)
    return archive.read(info)


def _items(state: object, name: str) -> list[tuple[str, TensorRef]]:
    if not isinstance(state, dict):
        raise CheckpointError(f"{name} holds a {type(state).__name__}, expected a dictionary of tensors", _ADVICE)
    items = []
    for key, value in state.items():
        if isinstance(value, TensorRef) and isinstance(key, str):
            items.append((key, value))
        elif isinstance(value, dict | list | tuple | TensorRef):
            shown = one_line(repr(key), 80)
            if isinstance(value, dict):
                raise CheckpointError(
                    f"{name} holds a dictionary under {shown}, wrapped dictionaries are not accepted",
                    "save the inner dictionary of tensors, best as safetensors",
                )
            raise CheckpointError(f"{name} holds a {type(value).__name__} under {shown}, expected a tensor", _ADVICE)
    return items


class _Archive:
    """The storages of one archive."""

    def __init__(self, opened: OpenFile, prefix: str, records: dict[str, zipfile.ZipInfo]) -> None:
        self._opened = opened
        self._prefix = prefix
        self._records = records
        self._begins: dict[str, int] = {}

    def tensor(self, key: str, view: TensorRef) -> StoredTensor:
        """Check a view against its storage and locate it in the file."""
        name = f"{self._opened.file.name}: tensor {one_line(key, 160)!r}"
        kind = view.storage.type_name.removeprefix("torch.").removesuffix("Storage")
        if view.storage.type_name != f"torch.{kind}Storage" or kind not in _BYTES:
            raise CheckpointError(f"{name} has storage {one_line(view.storage.type_name, 80)}, not supported", _ADVICE)
        shape, strides, offset = view.shape, view.strides, view.offset
        if not (is_shape(shape) and is_shape(strides) and is_shape([offset])):
            raise CheckpointError(f"{name} has an impossible offset, shape or stride", _ADVICE)
        assert isinstance(shape, tuple | list) and isinstance(strides, tuple | list) and isinstance(offset, int)
        if len(shape) != len(strides):
            raise CheckpointError(f"{name} has {len(shape)} dimensions and {len(strides)} strides", _ADVICE)
        count = element_count(tuple(shape))
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) if count else 0
        if last >= max(view.storage.numel, 1) or count > view.storage.numel:
            raise CheckpointError(f"{name} needs element {last}, its storage has {view.storage.numel}", _ADVICE)
        return StoredTensor(
            name=key,
            dtype=_FLOATS.get(kind),
            dtype_name=kind,
            shape=tuple(shape),
            bytes=count * _BYTES[kind],
            file=self._opened.file,
            begin=self._begin(view.storage, _BYTES[kind], name) + (offset if count else 0) * _BYTES[kind],
            strides=() if _is_contiguous(tuple(shape), tuple(strides)) else tuple(strides),
        )

    def _begin(self, storage: StorageRef, itemsize: int, name: str) -> int:
        record = f"{self._prefix}data/{storage.key}"
        info = self._records.get(record)
        if info is None or info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise CheckpointError(f"{name}: record {one_line(record, 80)} is missing or compressed", _ADVICE)
        if storage.numel < 0 or info.file_size < storage.numel * itemsize or info.compress_size != info.file_size:
            raise CheckpointError(f"{name}: record {one_line(record, 80)} has {info.file_size} bytes, too few", _RELOAD)
        if record not in self._begins:
            self._begins[record] = self._locate(info, name)
        return self._begins[record]

    def _locate(self, info: zipfile.ZipInfo, name: str) -> int:
        header = self._opened.read(info.header_offset, _LOCAL_HEADER.size)
        magic, *_, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
        begin = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
        if magic != b"PK\x03\x04" or begin + info.file_size > self._opened.file.size:
            raise CheckpointError(f"{name}: its record is cut off", _RELOAD)
        return int(begin)


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return 0 in shape
        expected *= size
    return True
