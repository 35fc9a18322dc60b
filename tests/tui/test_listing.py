"""Rows and instructions: each is the other's inverse under every fold and filter."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.errors import ArtifactError
from compiler.workspace import ModelFolder
from hyperdex_tui.backend.listing import Listing
from hyperdex_tui.backend.program import open_program
from tests.tui.builds import BUILD, LAYERS, make_model, make_program


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models")).inst(BUILD)


def test_sections_cover_the_program_in_order(folder: Path) -> None:
    program = open_program(folder)
    assert [section.title for section in program.sections] == [
        "prologue",
        *(f"layer {n}" for n in range(LAYERS)),
        "head",
    ]
    borders = [0, *(section.end for section in program.sections)]
    assert [section.begin for section in program.sections] == borders[:-1]
    assert borders[-1] == program.count == len(make_program()[0])
    program.close()


@given(folded=st.sets(st.integers(0, LAYERS + 1)))
def test_row_of_inverts_row_under_any_folds(folder: Path, folded: set[int]) -> None:
    program = open_program(folder)
    listing = Listing(program)
    for section in folded:
        listing.fold(section, True)
    rows = [listing.row(index) for index in range(listing.row_count)]
    assert len(set(rows)) == len(rows)
    for index, row in enumerate(rows):
        if row.pc >= 0:
            assert listing.row_of(row.pc) == index
            assert row.section not in folded
        else:
            assert listing.title_row(row.section) == index
    shown = {row.pc for row in rows if row.pc >= 0}
    for pc in set(range(program.count)) - shown:
        assert listing.row_of(pc) == listing.title_row(program.section_at(pc))
    program.close()


def test_a_filter_shows_its_matches_and_nothing_else(folder: Path) -> None:
    program = open_program(folder)
    listing = Listing(program)
    found = [1, 4, 9]
    listing.show_matches(found)
    assert [listing.row(index).pc for index in range(listing.row_count)] == found
    assert [pc for pc in range(program.count) if listing.shows(pc)] == found
    program.close()


def test_a_word_that_is_no_instruction_is_shown_and_harms_nothing(built: ModelFolder) -> None:
    path = built.inst(BUILD) / "inst_1fpga.bin"
    content = bytearray(path.read_bytes())
    content[16 + 32 * 4] = 0xFF
    path.write_bytes(bytes(content))
    program = open_program(built.inst(BUILD))
    assert program.instruction(4) is None
    assert "not an instruction" in program.text(4)
    assert program.instruction(5) is not None
    program.close()


@pytest.mark.parametrize("name", ["manifest.json", "inst_1fpga.bin"])
@pytest.mark.parametrize("content", [b"", b"{}", b"HDEX", b"\xff" * 64])
def test_a_damaged_program_is_an_artifact_error(built: ModelFolder, name: str, content: bytes) -> None:
    (built.inst(BUILD) / name).write_bytes(content)
    with pytest.raises(ArtifactError):
        open_program(built.inst(BUILD))


def test_a_damaged_debug_file_leaves_the_instructions_readable(built: ModelFolder) -> None:
    (built.inst(BUILD) / "debug_1fpga.bin").write_bytes(b"HDEX")
    program = open_program(built.inst(BUILD))
    assert "debug_1fpga.bin" in program.note
    assert program.text(0).startswith("li")
    assert len(program.sections) == 1
    program.close()
