"""Tokens from a child: streamed as they come, ended on demand, failures in one line."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from compiler.errors import HyperDexError
from hyperdex_tui.backend.generation import Finished, Generation, Token, generate_command

SLOW = """
import json, time
for number in range(1000):
    print(json.dumps({"token_id": number, "text": f" t{number}"}), flush=True)
    time.sleep(0.02)
"""


def child(program: str) -> Generation:
    return Generation([sys.executable, "-c", program])


async def test_records_come_in_order_and_foreign_lines_are_passed_over() -> None:
    program = """
print('a warning of some library')
print('{"token_id": 5, "text": "a\\\\u001b[31m\\\\n"}')
print('[1]'); print('{"token_id": "x"}')
print('{"done": true, "token_ids": [5], "text": "whole"}')
"""
    assert [record async for record in child(program).tokens()] == [Token(5, "a\\x1b[31m\n"), Finished(1, "whole")]


async def test_leaving_early_ends_the_child() -> None:
    generation = child(SLOW)
    async with aclosing(generation.tokens()) as records:
        async for record in records:
            assert record == Token(0, " t0")
            break
    assert generation.exit_code is not None


async def test_cancelling_ends_the_child() -> None:
    generation = child(SLOW)

    async def consume() -> None:
        async with aclosing(generation.tokens()) as records:
            async for _ in records:
                pass

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert generation.exit_code is not None


async def test_a_child_that_ignores_sigterm_is_killed() -> None:
    generation = child("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLOW)
    async with aclosing(generation.tokens()) as records:
        async for _ in records:
            break
    assert generation.exit_code == -9


async def test_a_failure_is_the_last_line_of_the_child() -> None:
    with pytest.raises(HyperDexError, match=r"^the build is damaged \\x1b\[0m$"):
        async for _ in child("import sys; sys.exit('noise\\nhyperdex: error: the build is damaged \\x1b[0m')").tokens():
            pass


def test_a_prompt_that_looks_like_an_option_stays_a_prompt(tmp_path: Path) -> None:
    command = generate_command(tmp_path, "a/b", "u55c-1x", "--help", 4)
    assert command[-3:] == ["--", "a/b", "--help"]


def test_the_compiler_knows_every_option_of_the_command(tmp_path: Path) -> None:
    from compiler.cli.generate import command

    known = {name for parameter in command.params for name in parameter.opts}
    given = {word for word in generate_command(tmp_path, "a/b", "u55c-1x", "x", 4) if word.startswith("--")} - {"--"}
    assert given <= known
