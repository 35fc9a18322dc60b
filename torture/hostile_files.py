"""Hostile contents: configs with any value changed, safetensors that lie, archives that want to run something."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

EVIL_TEXT = "\x1b[2J\x1b]0;x\x07\x9b31m\u202e\u2028[red]{}%s\n"
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 31, 64, 1 << 16, 1 << 24, 1 << 31, 1 << 40, 1 << 63, -(1 << 63), 10**30),
    *(
        0.0,
        0.5,
        -1.5,
        1e-300,
        1e300,
        "",
        "x",
        EVIL_TEXT,
        "../../x",
        "a" * 10_000,
        [],
        [1],
        [[]],
        {},
        {"type": EVIL_TEXT},
    ),
    *([None] * 1000, ["full_attention"], ["LlamaForCausalLM"], [EVIL_TEXT], {"a": {"b": {"c": []}}}),
)
FIELDS = (
    *("architectures", "auto_map", "attention_bias", "bos_token_id", "eos_token_id", "head_dim", "hidden_act"),
    *("hidden_size", "intermediate_size", "layer_types", "max_position_embeddings", "mlp_bias", "model_type"),
    *("num_attention_heads", "num_hidden_layers", "num_key_value_heads", "num_local_experts", "pretraining_tp"),
    *("quantization_config", "rms_norm_eps", "rope_parameters", "rope_scaling", "rope_theta", "sliding_window"),
    *("tie_word_embeddings", "torch_dtype", "transformers_version", "vocab_size", "text_config", EVIL_TEXT),
)
ARCHITECTURES = ("OPTForCausalLM", "GPT2LMHeadModel", "Gemma2ForCausalLM", "Qwen3MoeForCausalLM", "FalconForCausalLM")


def config_mutant(config: Mapping[str, Any], chosen: random.Random) -> bytes:
    """A config.json with one to three values changed, or damaged as text."""
    document = dict(config)
    if chosen.random() < 0.3:
        document["architectures"] = [chosen.choice(ARCHITECTURES)]
    for _ in range(chosen.choice((1, 1, 2, 3))):
        document[chosen.choice(FIELDS)] = chosen.choice(VALUES)
    text = json.dumps(document).encode()
    damage = chosen.randrange(24)
    at = chosen.randrange(len(text))
    damaged: dict[int, Callable[[], bytes]] = {
        0: lambda: text[:at],
        1: lambda: text[:at] + bytes([chosen.randrange(256)]) + text[at + 1 :],
        2: lambda: b'{"vocab_size": 61, "vocab_size": 62}',
        3: lambda: b'{"a":' * 100_000,
        4: lambda: b"[" * 5_000_000,
        5: lambda: b'{"hidden_size": ' + b"9" * 6000 + b"}",
        6: lambda: text.decode().encode("utf-16"),
        7: lambda: b"\xef\xbb\xbf" + text,
        8: lambda: text.replace(b"61", b"NaN"),
        9: lambda: b'{"x": "' + b"y" * (17 << 20) + b'"}',
        10: lambda: text.replace(b"32", b"1e999"),
        11: lambda: b'{"a": [' + b"{}," * 300_000 + b"{}]}",
    }
    return damaged.get(damage, lambda: text)()


def safetensors_attack(sound: bytes, chosen: random.Random) -> tuple[str, bytes]:
    """A name, and a safetensors file that is wrong in one way or several."""
    name = chosen.choice(tuple(_DRAWN))
    return name, _DRAWN[name](*_split(sound), sound, chosen)


def fixed_safetensors(sound: bytes) -> dict[str, Callable[[], bytes]]:
    """The attacks in which nothing is drawn, by name."""
    return {name: partial(attack, *_split(sound)) for name, attack in _FIXED.items()}


def _split(sound: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(sound[:8], "little")
    return json.loads(sound[8 : 8 + length]), sound[8 + length :]


def _with(header: Mapping[str, Any], data: bytes) -> bytes:
    text = json.dumps(header, ensure_ascii=False).encode()
    return len(text).to_bytes(8, "little") + text + data


def _field(header: dict[str, Any], data: bytes, _sound: bytes, chosen: random.Random) -> bytes:
    entry = header[chosen.choice(sorted(header))]
    field = chosen.choice(("dtype", "shape", "data_offsets"))
    entry[field] = chosen.choice(
        (*VALUES, [1 << 48, 1 << 48], [-1], [0, 1 << 63], [5, 3], "F64", "I64", "BOOL", "F8_E4M3")
    )
    return _with(header, data)


def _renamed(header: dict[str, Any], data: bytes, _sound: bytes, chosen: random.Random) -> bytes:
    old = chosen.choice(sorted(header))
    header[chosen.choice((EVIL_TEXT, "", "__metadata__", "../x", "a" * 100_000, f"{old}\0"))] = header.pop(old)
    return _with(header, data)


def _many(count: int) -> Callable[[dict[str, Any], bytes], bytes]:
    def attack(header: dict[str, Any], data: bytes) -> bytes:
        empty = {f"t{index}": {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]} for index in range(count)}
        return _with({**header, **empty}, data)

    return attack


def _not_finite(_header: dict[str, Any], data: bytes, sound: bytes, chosen: random.Random) -> bytes:
    at = len(sound) - len(data) + 2 * chosen.randrange(len(data) // 2)
    return sound[:at] + struct.pack("<H", chosen.choice((0x7C00, 0xFC00, 0x7E00, 0xFFFF))) + sound[at + 2 :]


_DRAWN: dict[str, Callable[[dict[str, Any], bytes, bytes, random.Random], bytes]] = {
    "a changed field": _field,
    "a changed name": _renamed,
    "NaN or infinity": _not_finite,
    "cut off": lambda _h, _d, sound, chosen: sound[: chosen.randrange(len(sound))],
    "trailing bytes": lambda _h, _d, sound, chosen: sound + bytes(chosen.randrange(1, 100)),
    "a lying header length": lambda _h, _d, sound, chosen: (
        chosen.choice((0, 1, len(sound), 1 << 31, (1 << 63) - 1, (1 << 64) - 1)).to_bytes(8, "little") + sound[8:]
    ),
    "a flipped bit in the header": lambda header, data, sound, chosen: _flipped(sound, len(sound) - len(data), chosen),
    "metadata that is none": lambda header, data, _s, chosen: _with(
        {"__metadata__": chosen.choice(VALUES), **header}, data
    ),
}
_FIXED: dict[str, Callable[[dict[str, Any], bytes], bytes]] = {
    "120 000 tensors": _many(120_000),
    "100 000 tensors": _many(100_000 - 13),
    "a name of megabytes": lambda header, data: _with({**header, "\x1b\u202e" * 1_000_000: {}}, data),
    "wide characters": lambda header, data: _with({**header, "y" * 20_950_000 + "\U0001f600": {}}, data),
    "690 000 items": lambda header, data: _with({**header, "x": list(range(690_000))}, data),
    "deep JSON": lambda _header, data: (500_000).to_bytes(8, "little") + b'{"a":' * 100_000 + data,
    "a name twice": lambda header, data: _twice(header, data),
    "a hole": lambda header, data: _with(dict(list(header.items())[1:]), data),
    "an overlap": lambda header, data: _overlapping(header, data),
}


def _flipped(sound: bytes, end: int, chosen: random.Random) -> bytes:
    content = bytearray(sound)
    content[chosen.randrange(end)] ^= 1 << chosen.randrange(8)
    return bytes(content)


def _twice(header: dict[str, Any], data: bytes) -> bytes:
    name = next(iter(header))
    text = json.dumps(header).encode()[:-1] + f", {json.dumps(name)}: {json.dumps(header[name])}}}".encode()
    return len(text).to_bytes(8, "little") + text + data


def _overlapping(header: dict[str, Any], data: bytes) -> bytes:
    first, second = list(header.values())[:2]
    begin, size = first["data_offsets"][0], second["data_offsets"][1] - second["data_offsets"][0]
    second["data_offsets"] = [begin, begin + size]
    return _with(header, data)


def valid_bin(tensors: Mapping[str, np.ndarray]) -> bytes:
    """What torch.save writes for a dictionary of float16 tensors."""
    import torch

    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(array.astype("<f2")) for name, array in tensors.items()}, buffer)
    return buffer.getvalue()


def bin_mutant(sound: bytes, chosen: random.Random) -> bytes:
    """The archive with some bytes of its directory, pickle or anything changed, or cut off."""
    content = bytearray(sound)
    kind = chosen.randrange(4)
    if kind == 0:
        return bytes(content[: chosen.randrange(len(content))])
    ranges = {1: (0, 3000), 2: (len(content) - 3000, len(content)), 3: (0, len(content))}
    begin, end = ranges[kind]
    for _ in range(chosen.choice((1, 1, 2, 8))):
        content[chosen.randrange(max(0, begin), end)] = chosen.randrange(256)
    return bytes(content)


class _Runs:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call


def _archive(
    pickled: bytes, *, prefix: str = "archive", compressed: bool = False, extra: int = 0, records: int = 0
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{prefix}/data.pkl", pickled)
        archive.writestr(f"{prefix}/version", "3")
        for index in range(extra):
            archive.writestr(f"{prefix}{index}/data.pkl", pickled)
        for index in range(records):
            archive.writestr(str(index), b"")
    return buffer.getvalue()


def _running(protocol: int) -> Callable[[Path], bytes]:
    def make(canary: Path) -> bytes:
        import os

        return _archive(pickle.dumps({"w": _Runs(os.system, f"touch {canary}")}, protocol))

    return make


def _text(content: bytes) -> bytes:
    """The opcode BINUNICODE without its letter: length and content."""
    return struct.pack("<I", len(content)) + content


def _raw(opcodes: Callable[[bytes], bytes]) -> Callable[[Path], bytes]:
    return lambda canary: _archive(b"\x80\x02" + opcodes(f"touch {canary}".encode()) + b".")


BIN_ATTACKS: dict[str, Callable[[Path], bytes]] = {
    "os.system by REDUCE, protocol 2": _running(2),
    "os.system by REDUCE, protocol 4": _running(4),
    "a bare pickle, no archive": lambda canary: pickle.dumps(_Runs(exec, f"open({str(canary)!r}, 'w')")),
    "exec": lambda canary: _archive(pickle.dumps({"w": _Runs(exec, f"open({str(canary)!r}, 'w')")}, 2)),
    "INST": _raw(lambda command: b"(S'" + command + b"'\nios\nsystem\n"),
    "OBJ": _raw(lambda command: b"(cos\nsystem\nS'" + command + b"'\no"),
    "NEWOBJ": _raw(lambda command: b"cos\nsystem\nX" + _text(command) + b"\x85\x81"),
    "STACK_GLOBAL": _raw(lambda command: b"\x8c\x02os\x8c\x06system\x93X" + _text(command) + b"\x85R"),
    "BUILD on a global": _raw(lambda command: b"cos\nenviron\n}U\x04PATHX" + _text(command) + b"sb"),
    "torch's own loader": _raw(lambda command: b"ctorch\nload\nX" + _text(command) + b"\x85R"),
    "a dictionary that holds itself": _raw(lambda _: b"}q\x00X\x01\x00\x00\x00ah\x00s"),
    "a list of itself, doubled": _raw(lambda _: b"]q\x00" + b"(h\x00h\x00e" * 1000),
    "memo bomb": _raw(lambda _: b"]q\x00" + b"".join(b"(h%ch%ce" % (0, 0) for _ in range(2000))),
    "tuple bomb": _raw(lambda _: b"N" + b"\x85" * 200_000 + b"\x85R"),
    "a million lists": _raw(lambda _: b"]" * 1_000_000),
    "a million globals": _raw(lambda _: b"ca\nb\n" * 1_000_000),
    "names that double": _raw(lambda _: b"X" + _text(b"a" * 1_000_000) + b"q\x00" + b"h\x00h\x00\x93" * 100_000),
    "a key of megabytes": _raw(lambda _: b"}X" + _text(b"\x1b" * 8_000_000) + b"Ns"),
    "an endless text": _raw(lambda _: b"\x8d" + b"\xff" * 8),
    "a huge integer": _raw(lambda _: b"\x8b" + struct.pack("<i", 1 << 30)),
    "a key that is slow to hash": _raw(lambda _: b"}" + b"N" + b"\x85" * 100_000 + b"Ns"),
    "a path out of the archive": lambda canary: _archive(pickle.dumps({}), prefix=f"../../{canary.name}"),
    "two pickles": lambda _: _archive(pickle.dumps({}), extra=1),
    "a compressed pickle": lambda _: _archive(b"\x80\x02" + b"N" * 20_000_000 + b".", compressed=True),
    "5000 pickles": lambda _: _archive(pickle.dumps({}), extra=5000),
    "100 000 records": lambda _: _archive(pickle.dumps({}), records=100_000),
    "nothing": lambda _: b"",
}
"""Name -> archive; what must not happen makes the canary."""
