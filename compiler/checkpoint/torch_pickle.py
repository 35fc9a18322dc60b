"""The pickle inside a `.bin` file, read by a machine that can only build dictionaries of tensors.

Nothing is imported or called: a global is a name, and the few names that may be
applied are cases of `_apply`. Everything else is refused by name. The machine
knows the opcodes that `torch.save` writes, protocols 2 to 5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from compiler.errors import CheckpointError
from compiler.sanitize import one_line

MAX_OPCODES = 600_000
"""22 thousand tensors, each of its own storage. Bounds the time (0.4 s) and the memory a pickle can take."""

_MAX_GLOBAL_CHARS = 1000
_ADVICE = "save the model as safetensors"


@dataclass(frozen=True, slots=True)
class Global:
    """A module-level name; never resolved."""

    name: str


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A storage of the archive: record `data/KEY` with `numel` elements of `type_name`, e.g. `torch.HalfStorage`."""

    type_name: str
    key: str
    numel: int


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A view of a storage; offset and strides in elements, as the file claims them."""

    storage: StorageRef
    offset: object
    shape: object
    strides: object


class _Mark:
    __slots__ = ()


_MARK = _Mark()


def read_pickle(content: bytes, where: str) -> object:
    """Return the object a pickle describes.

    Args:
        content: the whole pickle.
        where: the file, for messages.

    Raises:
        CheckpointError: it needs more than dictionaries, lists, plain values and tensors, or is damaged.
    """
    machine = _Machine(content, where)
    try:
        return machine.run()
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, struct.error, OverflowError):
        raise CheckpointError(f"{where} is a damaged pickle at byte {machine.position}", _ADVICE) from None


class _Machine:
    def __init__(self, content: bytes, where: str) -> None:
        self.content = content
        self.where = where
        self.position = 0
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}

    def run(self) -> object:
        for _ in range(MAX_OPCODES):
            code = self.take(1)
            if code == b".":
                return self.stack.pop()
            action = _ACTIONS.get(code)
            if action is None:
                raise CheckpointError(f"{self.where} uses pickle opcode {code!r}, which tensors do not need", _ADVICE)
            action(self)
        raise CheckpointError(f"{self.where} has more than {MAX_OPCODES} pickle opcodes", _ADVICE)

    def take(self, count: int) -> bytes:
        begin, self.position = self.position, self.position + count
        if count < 0 or self.position > len(self.content):
            raise ValueError("ends early")
        return self.content[begin : self.position]

    def number(self, layout: str) -> int:
        return int(struct.unpack(layout, self.take(struct.calcsize(layout)))[0])

    def line(self) -> str:
        end = self.content.index(b"\n", self.position)
        text = self.take(end - self.position).decode("utf-8")
        self.position += 1
        return text

    def skip(self, count: int) -> None:
        self.take(count)

    def drop(self) -> None:
        self.stack.pop()

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop_to_mark(self) -> list[object]:
        index = len(self.stack) - 1
        while self.stack[index] is not _MARK:
            index -= 1
            if index < 0:
                raise ValueError("no mark")
        items = self.stack[index + 1 :]
        del self.stack[index:]
        return items

    def pop_tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise ValueError("stack too short")
        items = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        self.push(items)

    def push_global(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > _MAX_GLOBAL_CHARS:
            raise ValueError("not a name")
        self.push(Global(f"{module}.{name}"))

    def reduce(self) -> None:
        arguments = self.stack.pop()
        function = self.stack.pop()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise ValueError("not a call")
        self.push(self._apply(function.name, arguments))

    def _apply(self, name: str, arguments: tuple[object, ...]) -> object:
        if name == "collections.OrderedDict" and arguments in ((), ([],)):
            return {}
        if name == "torch._utils._rebuild_tensor_v2":
            storage, offset, shape, strides = arguments[:4]
            if not isinstance(storage, StorageRef):
                raise ValueError("not a storage")
            return TensorRef(storage, offset, shape, strides)
        if name == "torch._utils._rebuild_parameter" and isinstance(arguments[0], TensorRef):
            return arguments[0]
        raise CheckpointError(f"{self.where} would call {one_line(name, 160)}, which is not allowed", _ADVICE)

    def load_storage(self) -> None:
        reference = self.stack.pop()
        if not isinstance(reference, tuple) or len(reference) != 5 or reference[0] != "storage":
            raise ValueError("not a storage")
        kind, key, numel = reference[1], reference[2], reference[4]
        if not isinstance(kind, Global) or not isinstance(key, str) or type(numel) is not int:
            raise ValueError("not a storage")
        self.push(StorageRef(kind.name, key, numel))

    def set_items(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):  # others could be slow or endless to hash
                raise ValueError("not a key")
            target[key] = value

    def extend(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise ValueError("not a list")
        target.extend(items)

    def set_state(self) -> None:
        """Attributes of a dictionary (the `_metadata` of a state dict) carry no tensors."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise ValueError("not a dictionary")

    def remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]


def _long(machine: _Machine) -> None:
    machine.push(int.from_bytes(machine.take(machine.number("<B")), "little", signed=True))


def _float(machine: _Machine) -> None:
    machine.push(struct.unpack(">d", machine.take(8))[0])


def _text(layout: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.take(m.number(layout)).decode("utf-8", "surrogatepass"))


def _stack_global(machine: _Machine) -> None:
    name = machine.stack.pop()
    machine.push_global(machine.stack.pop(), name)


def _set_item(machine: _Machine) -> None:
    value = machine.stack.pop()
    machine.set_items([machine.stack.pop(), value])


_ACTIONS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": lambda m: m.skip(1),  # PROTO
    b"\x95": lambda m: m.skip(8),  # FRAME
    b"(": lambda m: m.push(_MARK),
    b"0": lambda m: m.drop(),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"\x8a": _long,
    b"G": _float,
    b"X": _text("<I"),
    b"\x8c": _text("<B"),
    b"\x8d": _text("<Q"),
    b"}": lambda m: m.push({}),
    b"]": lambda m: m.push([]),
    b")": lambda m: m.push(()),
    b"\x85": lambda m: m.pop_tuple(1),
    b"\x86": lambda m: m.pop_tuple(2),
    b"\x87": lambda m: m.pop_tuple(3),
    b"t": lambda m: m.push(tuple(m.pop_to_mark())),
    b"s": _set_item,
    b"u": lambda m: m.set_items(m.pop_to_mark()),
    b"a": lambda m: m.extend([m.stack.pop()]),
    b"e": lambda m: m.extend(m.pop_to_mark()),
    b"b": lambda m: m.set_state(),
    b"q": lambda m: m.remember(m.number("<B")),
    b"r": lambda m: m.remember(m.number("<I")),
    b"\x94": lambda m: m.remember(len(m.memo)),
    b"h": lambda m: m.push(m.memo[m.number("<B")]),
    b"j": lambda m: m.push(m.memo[m.number("<I")]),
    b"c": lambda m: m.push_global(m.line(), m.line()),
    b"\x93": _stack_global,
    b"R": lambda m: m.reduce(),
    b"Q": lambda m: m.load_storage(),
}
"""What each opcode does. `PERSID`, `INST`, `OBJ`, `NEWOBJ`, `EXT` and sets are absent on purpose."""
