"""Laws of `hyperdex asm`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compiler.cli.main import main
from compiler.header import HEADER_BYTES, Payload, check_header
from compiler.isa.encode import decode_program
from compiler.isa.spec import ISA_VERSION

LISTING = "start:\n  li r1, 3\nloop:\n  addi r1, r1, -1\n  bne r1, r0, loop ; count down\n  hlt\n"


def test_asm_writes_header_and_words(tmp_path: Path) -> None:
    source, program = tmp_path / "a.s", tmp_path / "a.bin"
    source.write_text(LISTING, encoding="utf-8")
    assert main(["asm", str(source), "-o", str(program)]) == 0
    content = program.read_bytes()
    assert check_header(content, Payload.PROGRAM, "a.bin") == ISA_VERSION
    assert [instr.mnemonic for instr in decode_program(content[HEADER_BYTES:])] == ["li", "addi", "bne", "hlt"]


def test_asm_reads_stdin_and_writes_stdout(tmp_path: Path) -> None:
    program = tmp_path / "a.bin"
    done = subprocess.run(
        [sys.executable, "-m", "compiler", "asm", "-"], input=LISTING.encode(), capture_output=True, check=True
    )
    (tmp_path / "a.s").write_text(LISTING, encoding="utf-8")
    assert main(["asm", str(tmp_path / "a.s"), "-o", str(program)]) == 0
    assert done.stdout == program.read_bytes()


def test_an_error_shows_file_line_column_and_a_caret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "a.s"
    source.write_text("  hlt\n  addi r1, r99, 1\n", encoding="utf-8")
    assert main(["asm", str(source), "-o", str(tmp_path / "a.bin")]) == 7
    message, line, caret = capsys.readouterr().err.splitlines()
    assert message.startswith(f"hyperdex: error: {source}:2:12: ")
    assert line.index("r99") == caret.index("^")
    assert not (tmp_path / "a.bin").exists()


def test_a_missing_file_is_a_usage_error_and_bytes_that_are_no_text_are_malformed_assembly(tmp_path: Path) -> None:
    assert main(["asm", str(tmp_path / "absent.s")]) == 2
    (tmp_path / "b.s").write_bytes(b"hlt\n\xff\n")
    assert main(["asm", str(tmp_path / "b.s")]) == 7


def test_a_listing_is_never_overwritten_by_its_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a.s"
    source.write_text(LISTING, encoding="utf-8")
    (tmp_path / "link").symlink_to(source)
    monkeypatch.chdir(tmp_path)
    for output in ("a.s", str(source), "./link"):
        assert main(["asm", str(source), "-o", output]) == 2
        assert "is the listing itself" in capsys.readouterr().err
    assert source.read_text(encoding="utf-8") == LISTING
