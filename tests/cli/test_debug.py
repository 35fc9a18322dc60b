"""`hyperdex debug`: as JSON lines and line by line; whatever comes in, it answers and goes on."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from compiler.cli.debug_session import DebugSession
from compiler.cli.debug_shell import COMMANDS, DebugShell, command_name
from compiler.debug_records import Failed, Finished, Hello, Record, Stopped, Timeline, Token
from compiler.debug_wire import from_line
from compiler.demo import DEMO_PROMPTS
from compiler.errors import UsageError
from tests.cli.test_reference import build_demo

PROMPT, EXPECTED = DEMO_PROMPTS[0]
Built = tuple[Path, str]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A prefix with the demo on two devices, and the build's name."""
    prefix = tmp_path_factory.mktemp("prefix")
    return prefix, build_demo(prefix, num_devices=2)[1]


class Child:
    """A server and what it said."""

    def __init__(self, prefix: Path) -> None:
        command = [sys.executable, "-m", "compiler", "debug", "--prefix", str(prefix), "--json-lines", "hyperdex/demo"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        self.requests = 0

    def send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def read(self) -> tuple[int, Record]:
        assert self.process.stdout is not None
        return from_line(self.process.stdout.readline())

    def ask(self, do: str, **arguments: Any) -> list[Record]:
        """Everything that a request brings, its last record at the end."""
        self.requests += 1
        self.send(json.dumps({"request": self.requests, "do": do, **arguments}).encode())
        found = []
        while True:
            number, record = self.read()
            if number == self.requests:
                found.append(record)
                if record.event not in ("token", "progress", "finished"):
                    return found


@pytest.fixture(scope="module")
def child(built: Built) -> Iterator[Child]:
    """One for all tests: each begins with a prompt of its own, and the last one ends it."""
    child = Child(built[0])
    assert isinstance(child.read()[1], Hello)
    yield child
    with child.process:
        child.process.kill()


def test_a_generation_streams_its_tokens_and_ends_with_its_text(child: Child) -> None:
    assert child.ask("start", prompt=PROMPT, max_new_tokens=48)[0].event == "stopped"
    *tokens, finished, stopped = [each for each in child.ask("run") if each.event != "progress"]
    assert all(isinstance(each, Token) for each in tokens)
    assert isinstance(finished, Finished) and isinstance(stopped, Stopped)
    assert "".join(each.text for each in tokens if isinstance(each, Token)) == finished.text == EXPECTED
    assert stopped.reason == "halted" and finished.finish_reason == "stop" and finished.device_ms > 0


def test_a_stop_text_ends_the_generation(child: Child) -> None:
    child.ask("start", prompt=PROMPT, max_new_tokens=48, stop=[EXPECTED[5:8]])
    finished = child.ask("run")[-2]
    assert isinstance(finished, Finished)
    assert (finished.text, finished.finish_reason) == (EXPECTED[: EXPECTED.index(EXPECTED[5:8])], "stop")


def test_a_timeline_holds_every_instruction_of_the_token(child: Child) -> None:
    from base64 import b64decode

    import numpy as np

    (timeline,) = child.ask("timeline", position=3)
    assert isinstance(timeline, Timeline)
    starts, ends = (np.frombuffer(b64decode(each), "<f8") for each in (timeline.starts, timeline.ends))
    waits, pcs = np.frombuffer(b64decode(timeline.waits), "<f8"), np.frombuffer(b64decode(timeline.pcs), "<i4")
    assert len(starts) == len(ends) == len(waits) == len(pcs) > 100
    assert (starts <= ends).all() and (waits >= 0).all() and ends.max() <= timeline.cycles
    assert (child.ask("counters", position=3)[0]).cycles == timeline.cycles  # type: ignore[union-attr]


WRONG: tuple[Mapping[str, Any], ...] = (
    {"do": "frobnicate"},
    {"do": "start"},
    {"do": "start", "prompt": 5},
    {"do": "start", "prompt": "x", "max_new_tokens": "3"},
    {"do": "start", "prompt": "x", "max_new_tokens": 10**9},
    {"do": "start", "prompt_ids": [10**9]},
    {"do": "start", "prompt": "x", "sampling": {"top_k": 1.5}},
    {"do": "start", "prompt": "x", "sampling": {"exec": 1}},
    {"do": "step", "granularity": "mile"},
    {"do": "step", "count": 0},
    {"do": "break", "kind": "pc", "value": "x"},
    {"do": "delete", "number": 77},
    {"do": "device", "device": 2},
    {"do": "lmu", "begin": -1},
    {"do": "hbm", "region": "\u001b[31m"},
    {"do": "hbm", "region": "host", "row": 10**18},
    {"do": "timeline", "position": 10**6},
    {"do": "trace", "path": "/nowhere/at/all.json"},
    {"do": "trace", "path": ""},
    {"do": "trace", "path": "a\0b"},
)


def test_wrong_requests_are_answered_and_do_no_harm(child: Child) -> None:
    for wrong in WRONG:
        (answer,) = child.ask(**wrong)
        assert isinstance(answer, Failed), (wrong, answer)
        assert answer.exit_code == 2 and "\x1b" not in answer.error and "Error" not in answer.error
    chosen = random.Random(7)
    for _ in range(200):
        child.send(bytes(chosen.choices(range(256), k=chosen.randrange(60))).replace(b"\n", b" "))
    child.send(b'{"request": 5, "do": "lmu", "begin": 1e999}' + b" " * 5_000_000)
    child.ask("start", prompt=PROMPT, max_new_tokens=48)
    assert child.ask("run")[-1].event == "stopped"


def test_interrupt_stops_a_run_between_two_instructions(child: Child) -> None:
    child.ask("delete")
    child.ask("start", prompt_ids=[5] * 200, max_new_tokens=40)
    child.ask("break", kind="nan")  # one instruction at a time: slow enough to be interrupted
    child.send(b'{"request": 900, "do": "run"}')
    while child.read()[1].event != "progress":
        pass
    child.send(b'{"request": 901, "do": "interrupt"}')
    answers = {}
    while not {900, 901} <= {number for number, record in answers.items() if record.event in ("stopped", "done")}:
        number, record = child.read()
        answers[number] = record
    assert answers[900].reason == "interrupted"  # type: ignore[union-attr]
    (again,) = child.ask("step")
    assert isinstance(again, Stopped) and again.reason == "step"
    for _ in range(50):
        os.kill(child.process.pid, signal.SIGINT)  # while nothing runs, nothing is to be stopped, now or later
        (again,) = child.ask("step")
        assert isinstance(again, Stopped) and again.reason == "step"


def test_a_signal_stops_a_run(child: Child) -> None:
    child.ask("delete")
    child.ask("start", prompt_ids=[5] * 200, max_new_tokens=40)
    child.ask("break", kind="nan")
    child.send(b'{"request": 910, "do": "run"}')
    while child.read()[1].event != "progress":
        pass
    os.kill(child.process.pid, signal.SIGINT)
    while (answer := child.read())[0] != 910 or answer[1].event != "stopped":
        pass
    assert isinstance(answer[1], Stopped) and answer[1].reason == "interrupted"


def test_the_end_of_stdin_ends_the_process_even_while_it_runs(child: Child) -> None:
    child.ask("start", prompt_ids=[5] * 200, max_new_tokens=40)
    child.ask("break", kind="nan")
    child.send(b'{"request": 9, "do": "run"}')
    assert child.process.stdin is not None
    child.process.stdin.close()
    assert child.process.wait(10) == 0


def test_a_damaged_build_is_one_line_and_its_exit_code(tmp_path: Path) -> None:
    folder, name = build_demo(tmp_path)
    (folder.inst(name) / "inst_1fpga.bin").write_bytes(b"HDEX")
    child = Child(tmp_path)
    out, err = child.process.communicate(timeout=30)
    assert (child.process.returncode, out) == (6, b"")
    assert err.startswith(b"hyperdex: error: ") and err.count(b"\n") == 1


# line by line


@pytest.fixture
def shell(built: Built) -> Callable[..., list[str]]:
    from compiler.workspace import Workspace

    prefix, name = built
    out = io.StringIO()
    session = DebugSession(Workspace(prefix).model("hyperdex/demo"), name, lambda token: made.say_token(token))
    made = DebugShell(session, out)

    def run(*commands: str) -> list[str]:
        out.seek(0)
        out.truncate()
        made.loop(commands)
        return out.getvalue().splitlines()

    return run


def test_a_session_of_lines(shell: Callable[..., list[str]]) -> None:
    assert shell("start 'The capital of' 3")[0] == "position 0, step 0"
    lines = shell("break layer 2", "c")
    assert "breakpoint 1: layer 2" in lines and any(line.startswith("=>") for line in lines)
    assert shell("")[0] == "breakpoint 1: layer 2"
    assert shell("delete", "c", "tokens")[-1].startswith("token 2 at 6: ")
    assert shell("s")[0] == "halted"


@pytest.mark.parametrize("text", ["²", "@²", "٣", "@", "9" * 5000])
def test_a_breakpoint_at_no_instruction_is_one_line(shell: Callable[..., list[str]], text: str) -> None:
    (line,) = shell(f"break {text}")
    assert "breakpoint" in line or "pc" in line
    assert "bug" not in line


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_or_says_what_is_wrong(
    shell: Callable[..., list[str]], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # trace writes a file
    assert shell(name)
    assert shell(f"{name} '\x1b[31m' 99999999999999999999")
    assert not any("\x1b" in line for line in shell(f"{name} \x1b[31m"))


def test_commands_are_abbreviated_as_far_as_they_are_clear() -> None:
    assert (command_name("reg"), command_name("s"), command_name("c")) == ("registers", "step", "run")
    for word in ("t", "x"):
        with pytest.raises(UsageError):
            command_name(word)


def test_a_script_on_stdin(built: Built) -> None:
    command = [
        sys.executable,
        "-m",
        "compiler",
        "debug",
        "--prefix",
        str(built[0]),
        "hyperdex/demo",
        "--execute",
        "s 3",
    ]
    done = subprocess.run(
        [*command, "The capital of"], input="registers\nquit\nrun\n", capture_output=True, text=True, check=True
    )
    assert "position 0, step 3" in done.stdout
    assert "halted" not in done.stdout and done.stderr == ""
