"""The path of a token through a program that nobody's compiler made."""

from __future__ import annotations

import pytest

from compiler.emulator.path import walk_token
from compiler.errors import MachineFault
from compiler.isa.text import parse_program


def test_a_path_is_the_second_turn_of_the_token_loop() -> None:
    program = parse_program("li r5, 1\naddi r6, r6, 1\nbeq r6, r0, @4\njmp @1\nhlt\n")
    assert walk_token(program, prompt=False).pcs == (1, 2, 3)


def test_without_a_loop_it_is_the_whole_program() -> None:
    assert walk_token(parse_program("li r5, 1\naddi r6, r5, 1\nhlt\n"), prompt=False).pcs == (0, 1, 2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("li r5, 1\nbeq r0, r0, @0\nhlt\n", "pc 0 comes twice"),
        ("li r5, 1\nbeq r0, r0, @9\n", "pc 9: the program ends at 2"),
        ("li r5, 1\n", "pc 1: the program ends at 1"),
    ],
)
def test_a_path_that_does_not_end_is_a_fault(text: str, reason: str) -> None:
    with pytest.raises(MachineFault, match=reason):
        walk_token(parse_program(text), prompt=False)
