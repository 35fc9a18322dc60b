"""Planned instructions as rows of the tape: addresses and extents resolved, everything static checked.

A node -> rows, or None for what the tape has no operation for: that node runs
through `semantics`, lane by lane. What an instruction checks when it is
stepped through is checked here once where it is static, by the plan before it
runs where it depends on registers, or by the operation itself.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from compiler.emulator.arithmetic import Vector
from compiler.emulator.lanes import Lane
from compiler.emulator.link import LocalLink
from compiler.emulator.matrix_rows import MatrixRows
from compiler.emulator.schedule import Node
from compiler.emulator.trap import Trap
from compiler.emulator.vector_rows import Phases, check_length
from compiler.isa.encode import Instruction

Renamed = dict[int, SimpleNamespace]

_KNOWN: dict[str, frozenset[str]] = {
    mnemonic: frozenset(names.split())
    for mnemonic, names in {
        "rd.embed": "dst hbm index length rows",
        "rd.param": "stream hbm rows cols stride index step",
        "rd.kv": "stream hbm rows cols stride rows_reg cols_reg last",
        "mm": "dst src stream rows cols bias act rope head_dim rotary_dim style out rows_reg cols_reg last",
        "wr.key": "stream src hbm at heads head_dim stride head_stride",
        "wr.value": "stream src hbm at heads head_dim stride head_stride",
        "vadd": "dst a b length",
        "vmul": "dst a b length",
        "vbias": "dst a bias length",
        "vscale": "dst a length scale length_reg by factors last",
        "vact": "dst a length act",
        "vrope": "dst a rope length head_dim rotary_dim style",
        "layernorm": "dst a length eps weight bias offset heads of of_length",
        "rmsnorm": "dst a length eps weight offset heads of of_length",
        "add.layernorm": "dst sum a b length eps weight bias offset",
        "add.rmsnorm": "dst sum a b length eps weight offset",
        "softmax": "dst a length scale length_reg first_reg extra extras coarse sink last",
        "tx": "src length tag",
        "rx": "dst length devices tag",
    }.items()
}
"""Operands that the tape's operations honour; an instruction that uses another one is not for the tape."""


class Binding(MatrixRows):
    """The rows of one plan with its lanes.

    Args:
        program: the whole program.
        renamed: operands of the plan's instructions, LMU addresses being places in `storage`.
        lanes: of the plan.
        storage: float32 [lanes, devices, elements].
        packed_from: from so many lanes on, what is multiplied is packed; 0: never.
    """

    def __init__(
        self,
        program: tuple[Instruction, ...],
        renamed: Renamed,
        lanes: list[Lane],
        storage: Vector,
        packed_from: int = 0,
    ) -> None:
        super().__init__(lanes[0], storage, packed_from)
        self._program = program
        self._renamed = renamed

    def rows(self, node: Node, member: int) -> Phases | None:
        """The rows of a node; None: there is no operation for it.

        Args:
            node: of the schedule.
            member: its number within its level; nodes that run together must not share scratch.

        Raises:
            Trap: when stepped through it would fault.
        """
        instrs = [self._program[pc] for pc in node.pcs]
        if not all(_is_known(instr) for instr in instrs):
            return None
        opened = {
            self._renamed[pc].stream: self._renamed[pc]
            for pc in node.pcs
            if self._program[pc].mnemonic in ("rd.param", "rd.kv")
        }
        rest = [pc for pc in node.pcs if self._program[pc].mnemonic not in ("rd.param", "rd.kv")]
        names = tuple(self._program[pc].mnemonic for pc in rest)
        operands = [self._renamed[pc] for pc in rest]
        if not names:
            return None
        if any(instr.mnemonic == "rd.kv" for instr in instrs):
            if names != ("mm",):
                return None
            source, _ = node.operands[rest[0], "src"]
            return self._cached(operands[0], opened, is_spare=source.extent is not None)
        if names[0] == "mm":
            return self._matrix(operands[0], opened, names[1:], operands[1:], member)
        if names == ("tx", "rx"):
            return self._exchange(*operands)
        if len(names) > 1 or names[0] not in _SINGLE:
            return None
        return _SINGLE[names[0]](self, operands[0], opened)

    def _embed(self, o: SimpleNamespace, _: object) -> Phases:
        self._memory.check_embedding(o.hbm, o.length, o.rows)
        row = self._each(
            "embed",
            **self._at("dst", o.dst),
            channels=self._memory.channel_addresses.ctypes.data,
            offset=o.hbm,
            index=o.index,
            length=o.length,
            rows=o.rows,
        )
        return [[row]]

    def _exchange(self, sent: SimpleNamespace, received: SimpleNamespace) -> Phases | None:
        link = self._lane.link
        if not isinstance(link, LocalLink):
            return None
        if sent.length != received.length or received.devices != link.num_devices:
            raise Trap(f"tag {sent.tag}: the slices are not those that were transmitted")
        check_length(sent.length)
        fields = {"length": sent.length, "sources": link.num_devices}
        return [[self._each("gather", **self._at("dst", received.dst), **self._at("src", sent.src), **fields)]]


_Single = Callable[[Binding, SimpleNamespace, dict[int, SimpleNamespace]], Phases | None]

_SINGLE: dict[str, _Single] = {
    "rd.embed": Binding._embed,
    "wr.key": lambda binding, o, _: binding._write_cache("wr.key", o),
    "wr.value": lambda binding, o, _: binding._write_cache("wr.value", o),
    "vadd": lambda binding, o, _: binding._pair("add", o),
    "vmul": lambda binding, o, _: binding._pair("multiply", o),
    "vbias": Binding._vbias,
    "vscale": Binding._vscale,
    "vact": Binding._unary,
    "vrope": Binding._unary,
    "layernorm": lambda binding, o, opened: binding._norm("layernorm", o, opened),
    "rmsnorm": lambda binding, o, opened: binding._norm("rmsnorm", o, opened),
    "add.layernorm": lambda binding, o, opened: binding._norm("layernorm", o, opened),
    "add.rmsnorm": lambda binding, o, opened: binding._norm("rmsnorm", o, opened),
    "softmax": Binding._softmax,
}
"""Instructions that are a node of their own, by mnemonic."""


def _is_known(instr: Instruction) -> bool:
    names = _KNOWN.get(instr.mnemonic, frozenset())
    return all(
        not value or operand.name in names for operand, value in zip(instr.spec.operands, instr.values, strict=True)
    )
