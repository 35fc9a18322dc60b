"""Laws of instruction words and assembly text, over random legal instructions."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compiler.errors import AssemblyError
from compiler.isa.encode import Instruction, decode, decode_program, encode, encode_program, instruction
from compiler.isa.instructions import BY_OPCODE, SPECS
from compiler.isa.spec import HBM_UNIT_BYTES, WORD_COUNT, Kind, Operand
from compiler.isa.text import CaretError, format_instruction, format_program, parse_program


def _values(operand: Operand) -> st.SearchStrategy[int | float]:
    if operand.kind is Kind.FLOAT:
        return st.floats(width=32, allow_nan=False)
    if operand.kind is Kind.INT:
        return st.integers(-(1 << 31), (1 << 31) - 1)
    if operand.kind is Kind.HBM:
        return st.integers(0, (1 << operand.bits) - 1).map(lambda bursts: bursts * HBM_UNIT_BYTES)
    return st.integers(0, (1 << operand.bits) - 1)


@st.composite
def instructions(draw: st.DrawFn) -> Instruction:
    """Any legal instruction."""
    spec = draw(st.sampled_from(SPECS))
    return Instruction(spec, tuple(draw(_values(operand)) for operand in spec.operands))


def test_no_two_operands_of_an_instruction_share_a_bit() -> None:
    for spec in SPECS:
        taken = [0] * WORD_COUNT
        taken[0] = 0xFF
        for operand in spec.operands:
            mask = ((1 << operand.bits) - 1) << operand.low
            assert operand.low + operand.bits <= 32
            assert not taken[operand.word] & mask, f"{spec.mnemonic}: {operand.name}"
            taken[operand.word] |= mask


def test_opcodes_and_mnemonics_are_unique() -> None:
    assert len({spec.opcode for spec in SPECS}) == len({spec.mnemonic for spec in SPECS}) == len(SPECS)


def test_extents_name_operands_of_the_same_instruction() -> None:
    for spec in SPECS:
        names = {operand.name for operand in spec.operands}
        for operand in spec.operands:
            assert set(operand.extent) <= names
            assert operand.extent_register in names | {""}
            assert bool(operand.extent) == (operand.kind is Kind.LMU)


@given(instructions())
def test_decode_inverts_encode(instr: Instruction) -> None:
    assert decode(encode(instr)) == instr


LARGEST = struct.unpack("<f", struct.pack("<I", 0x7F7FFFFF))[0]


@given(instructions())
@example(instruction("vscale", dst=0, a=0, length=1, scale=LARGEST))
@example(instruction("vscale", dst=0, a=0, length=1, scale=-LARGEST))
@example(instruction("vscale", dst=0, a=0, length=1, scale=float("inf")))
def test_parse_inverts_format(instr: Instruction) -> None:
    assert parse_program(format_instruction(instr)) == [instr]


@given(st.lists(instructions(), max_size=8))
def test_a_listing_with_labels_and_comments_reads_back(program: list[Instruction]) -> None:
    labels = {"start": 0, "end": len(program)} if program else {}
    text = format_program(program, labels, ["x ; y"] * len(program))
    assert parse_program(text) == program
    assert decode_program(encode_program(program)) == program


@given(st.binary(min_size=32, max_size=32))
def test_any_word_decodes_to_itself_or_is_refused(word: bytes) -> None:
    try:
        instr = decode(word)
    except AssemblyError:
        return
    words, again = struct.unpack("<8I", word), struct.unpack("<8I", encode(instr))
    floats = {operand.word for operand in instr.spec.operands if operand.kind is Kind.FLOAT}
    assert all(a == b or index in floats for index, (a, b) in enumerate(zip(words, again, strict=True)))


@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused_with_a_place(text: str) -> None:
    try:
        parse_program(text, "f.s")
    except CaretError as error:
        assert str(error).startswith("f.s:")
        assert error.excerpt.splitlines()[-1].strip() == "^"


def test_a_bit_that_no_operand_claims_is_refused() -> None:
    with pytest.raises(AssemblyError, match="hlt: word 3"):
        decode(struct.pack("<8I", 0x4F, 0, 0, 1, 0, 0, 0, 0))
    unknown = next(code for code in range(256) if code not in BY_OPCODE)
    with pytest.raises(AssemblyError, match="unknown opcode"):
        decode(struct.pack("<8I", unknown, 0, 0, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("frob r1", "f.s:1:1", "unknown instruction 'frob'"),
        ("li r1, 5\nli r77, 5", "f.s:2:4", "the last one is r31"),
        ("rd.param s1, h[0x30], 1, 1, 1", "f.s:1:14", "not a multiple of 64"),
        ("li r1", "f.s:1:6", "operand 'value' is missing"),
        ("li r1, 2, 3", "f.s:1:11", "too many operands"),
        ("jmp nowhere", "f.s:1:5", "label 'nowhere' is not defined"),
        ("a: hlt\na: hlt", "f.s:2:1", "label 'a' is already defined"),
        ("000007: hlt", "f.s:1:1", "index 7 stands where 0 is due"),
        ("li r1, 99999999999", "f.s:1:8", "outside"),
        ("mm v[0], v[0], s1, 1, 1, depth=3", "f.s:1:26", "no operand 'depth'"),
        ("vscale v[0], v[0], 4, fast", "f.s:1:23", "expected a float"),
        ("vscale v[0], v[0], 4, 1e999", "f.s:1:23", "'1e999' is not a finite float"),
        ("vscale v[0], v[0], 4, 1e39", "f.s:1:23", "beyond float32"),
        ("vscale v[0], v[0], 4, nan", "f.s:1:23", "'nan' is not a finite float"),
        ("vscale v[0], v[0], 4, -inf", "f.s:1:23", "'-inf' is not a finite float"),
    ],
)
def test_an_assembly_error_names_file_line_and_column(text: str, place: str, what: str) -> None:
    with pytest.raises(CaretError, match=what) as caught:
        parse_program(text, "f.s")
    assert str(caught.value).startswith(place + ": ")
    line, caret = caught.value.excerpt.splitlines()
    assert caret.index("^") - 2 == int(place.split(":")[2]) - 1
    assert line.strip()


def test_an_operand_out_of_range_names_instruction_and_limit() -> None:
    with pytest.raises(AssemblyError, match=r"tx: operand 'tag' is 65536, outside 0\.\.65535"):
        instruction("tx", src=0, length=1, tag=1 << 16)
    with pytest.raises(AssemblyError, match="unknown operand colour"):
        instruction("hlt", colour=1)
