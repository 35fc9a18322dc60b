"""What goes to the terminal, and through a real tmux where there is one."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperdex_tui.clipboard import LIMIT_BYTES, clean, copy, terminal_sequence

XTERM = {"TERM": "xterm-256color"}


def decoded(sequence: str) -> str:
    """The text of one plain OSC 52 sequence."""
    found = re.fullmatch(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\a", sequence)
    assert found is not None, sequence[:60]
    return base64.b64decode(found[1]).decode()


@given(st.text())
def test_what_is_copied_cannot_act_when_pasted(text: str) -> None:
    pasted = clean(text)
    assert not any(unicodedata.category(char).startswith("C") and char not in "\n\t" for char in pasted)
    assert decoded(terminal_sequence(pasted, XTERM)) == pasted


@given(st.text(alphabet="aé漢", min_size=0, max_size=5000))
def test_screen_gets_pieces_that_add_up_to_the_sequence(text: str) -> None:
    whole = terminal_sequence(text, {"TERM": "screen-256color"})
    plain = terminal_sequence(text, XTERM)
    assert whole.startswith(plain)
    pieces = re.findall(r"\x1bP(.*?)\x1b\\", whole[len(plain) :], re.DOTALL)
    assert "".join(pieces) == plain
    assert max(map(len, pieces)) < 768


def test_tmux_over_ssh_gets_the_sequence_plain_and_wrapped() -> None:
    whole = terminal_sequence("x", {"TERM": "tmux-256color"})
    plain = terminal_sequence("x", XTERM)
    assert whole == plain + "\x1bPtmux;" + plain.replace("\x1b", "\x1b\x1b") + "\x1b\\"


@pytest.mark.parametrize(("size", "sent"), [(LIMIT_BYTES, True), (LIMIT_BYTES + 1, False)])
async def test_the_limit_is_said_and_nothing_is_sent_beyond_it(size: int, sent: bool) -> None:
    sequences: list[str] = []
    done = await copy("x" * size, sequences.append, XTERM)
    assert done.sent is sent and len(sequences) == sent
    assert sent or f"{size:,} bytes are too many" in done.message


async def test_a_tmux_that_is_gone_leaves_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMUX_TMPDIR", str(tmp_path))  # no server of the user's either
    sequences: list[str] = []
    done = await copy("x", sequences.append, {"TERM": "screen", "TMUX": f"{tmp_path}/none,1,0"})
    assert done.sent and done.message == "sent to the terminal's clipboard"
    assert len(sequences) == 1


@pytest.fixture
def tmux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Environment variable of a tmux server of our own, without a terminal."""
    if shutil.which("tmux") is None:
        pytest.skip("no tmux here")
    socket = tmp_path / "tmux"
    command = ["tmux", "-S", str(socket), "-f", "/dev/null"]
    subprocess.run([*command, "new-session", "-d", "sleep 60"], check=True)
    monkeypatch.setenv("TMUX", f"{socket},1,0")
    yield str(socket)
    subprocess.run([*command, "kill-server"], check=False)


async def test_a_real_tmux_takes_the_text_into_its_buffer(tmux: str) -> None:
    sequences: list[str] = []
    text = "model.layers.0\twéight\n" * 100
    done = await copy(text, sequences.append, {"TERM": "screen-256color", "TMUX": f"{tmux},1,0"})
    assert done.sent and "tmux's buffer" in done.message and not sequences
    shown = subprocess.run(["tmux", "-S", tmux, "show-buffer"], capture_output=True, check=True)
    assert shown.stdout.decode() == text
