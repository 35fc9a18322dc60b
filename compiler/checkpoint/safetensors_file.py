"""The safetensors format: list the tensors of a file after checking every claim it makes.

Layout: header length (u64, little endian), a JSON header, then the elements.
`data_offsets` are relative to the end of the header. Tensors cover the rest of
the file exactly: no hole, no overlap, no trailing byte. Elements are not read.
"""

from __future__ import annotations

import reprlib

from compiler.checkpoint.regular_file import OpenFile
from compiler.checkpoint.tensors import StoredTensor, element_count, is_shape
from compiler.checkpoint.untrusted_json import MAX_JSON_BYTES, parse_object, uncollected
from compiler.dtypes import SAFETENSORS_DTYPES
from compiler.errors import CheckpointError
from compiler.quantity import counted
from compiler.sanitize import one_line

MAX_TENSORS = 100_000

_BITS_OF_SIZE = (
    (4, "F4"),
    (6, "F6_E2M3 F6_E3M2"),
    (8, "BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E5M2FNUZ F8_E4M3FNUZ"),
    (16, "I16 U16 F16 BF16"),
    (32, "I32 U32 F32"),
    (64, "I64 U64 F64 C64"),
)
_BITS = {name: bits for bits, names in _BITS_OF_SIZE for name in names.split()}
_RELOAD = "download the model again"


@uncollected()
def list_safetensors(opened: OpenFile) -> tuple[StoredTensor, ...]:
    """Return the tensors of a file in file order.

    Raises:
        CheckpointError: the header is malformed or contradicts the file.
    """
    name, size = opened.file.name, opened.file.size
    if size < 8:
        raise CheckpointError(f"{name} has {size} bytes, too few for a safetensors file", _RELOAD)
    header_bytes = int.from_bytes(opened.read(0, 8), "little")
    if header_bytes > MAX_JSON_BYTES:
        raise CheckpointError(
            f"{name} claims a header of {header_bytes} bytes, at most {MAX_JSON_BYTES} are allowed", _RELOAD
        )
    data_begin = 8 + header_bytes
    if data_begin > size:
        raise CheckpointError(f"{name} has {size} bytes, its header alone needs {data_begin}", _RELOAD)
    entries = parse_object(opened.read(8, header_bytes), f"header of {name}")
    _check_metadata(entries.pop("__metadata__", {}), name)
    if len(entries) > MAX_TENSORS:
        raise CheckpointError(f"{name} holds {len(entries)} tensors, at most {MAX_TENSORS} are allowed", _RELOAD)
    tensors = [_stored(key, entry, opened, data_begin) for key, entry in entries.items()]
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.bytes))
    _check_coverage(tensors, data_begin, opened)
    return tuple(tensors)


def _check_metadata(metadata: object, name: str) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"header of {name}: __metadata__ is not an object of strings", _RELOAD)


def _stored(key: str, entry: object, opened: OpenFile, data_begin: int) -> StoredTensor:
    if not isinstance(entry, dict):
        raise _lie(opened, key, f"is described by a {type(entry).__name__}, expected an object")
    dtype_name, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype_name, str) or dtype_name not in _BITS:
        what = f"has dtype {one_line(reprlib.repr(dtype_name), 40)}, not one of {', '.join(_BITS)}"
        raise _lie(opened, key, what, "use a checkpoint in float16, bfloat16 or float32")
    if not isinstance(shape, list) or not is_shape(shape):
        shown = one_line(reprlib.repr(shape), 80)
        raise _lie(opened, key, f"has shape {shown}, expected at most 32 sizes from 0 to 2**48")
    if not isinstance(offsets, list) or len(offsets) != 2 or not (type(offsets[0]) is type(offsets[1]) is int):
        raise _lie(opened, key, f"has data_offsets {one_line(reprlib.repr(offsets), 80)}, expected two integers")
    begin, end = offsets
    held = opened.file.size - data_begin
    if not 0 <= begin <= end <= held:
        raise _lie(opened, key, f"lies at bytes {begin} to {end}, the file has 0 to {held}")
    bits = element_count(shape) * _BITS[dtype_name]
    if bits != 8 * (end - begin):
        raise _lie(opened, key, f"of {dtype_name} {shape} needs {-(-bits // 8)} bytes, has {end - begin}")
    return StoredTensor(
        name=key,
        dtype=SAFETENSORS_DTYPES.get(dtype_name),
        dtype_name=dtype_name,
        shape=tuple(shape),
        bytes=end - begin,
        file=opened.file,
        begin=data_begin + begin,
    )


def _lie(opened: OpenFile, key: str, what: str, advice: str = _RELOAD) -> CheckpointError:
    return CheckpointError(f"{opened.file.name}: tensor {one_line(key, 160)!r} {what}", advice)


def _check_coverage(tensors: list[StoredTensor], data_begin: int, opened: OpenFile) -> None:
    cursor = data_begin
    for tensor in tensors:
        if tensor.begin != cursor:
            what = "overlaps the one before" if tensor.begin < cursor else "leaves a hole before it"
            shown = one_line(tensor.name, 160)
            raise CheckpointError(
                f"{opened.file.name}: tensor {shown!r} {what} at byte {tensor.begin - data_begin}", _RELOAD
            )
        cursor += tensor.bytes
    if cursor != opened.file.size:
        extra = opened.file.size - cursor
        raise CheckpointError(f"{opened.file.name} has {counted(extra, 'byte')} behind its last tensor", _RELOAD)
