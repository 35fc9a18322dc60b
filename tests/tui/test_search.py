"""A search finds exactly the rows in whose texts a person would find the pattern."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from compiler.workspace import ModelFolder
from hyperdex_tui.backend.inspection import search
from hyperdex_tui.backend.inspection.service import Service
from hyperdex_tui.backend.inspector import InspectionError, Inspector, Interrupted
from hyperdex_tui.backend.program import Program, open_program
from hyperdex_tui.backend.query import QueryError, Term, parse_query, region_query
from tests.tui.builds import BUILD, make_model, make_program
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, rows, settle

QUERIES = (
    "mm",
    "rd.param NORM",
    "rd.param norm",
    "unit:sma",
    "unit:SMA opcode:^rd",
    "opcode:mm tensor:layers.2",
    "layer:1",
    "layer:head",
    "layer:[02] unit:sxe",
    "op:rmsnorm",
    "region:l2.q",
    r"h\[0x[0-9a-f]*80\]",
    "h[0x",
    "s3, h",
    r'"s3, h\[0x9"',
    "0]",
    "@2",
    "loop",
    r"\bv\[64\]",
    "^SXE mm",
    '"64, 64$"',
    "nothing-like-this",
    ".",
    "softmax|layers.1",
    "MODEL",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models")).inst(BUILD)


@pytest.fixture(scope="module")
def program(folder: Path) -> Iterator[Program]:
    opened = open_program(folder)
    yield opened
    opened.close()


def row_texts(program: Program, pc: int) -> dict[str, list[str]]:
    """Every text of a row by field, from what the listing shows."""
    instr, node = program.instruction(pc), program.node(pc)
    text = " ".join(program.text(pc).split())
    unit, opcode = (instr.spec.unit.value, instr.mnemonic) if instr is not None else ("?", text)
    found = {"unit": [unit], "opcode": [opcode], "text": [text], "region": [program.region(pc)], "": [f"{unit} {text}"]}
    if node is not None:
        found |= {"node": [node.name], "op": [node.op], "tensor": [node.source.module, node.source.tensor]}
        found[""] += [node.name, node.op, node.source.module, node.source.tensor]
    found[""] += [program.region(pc)] if program.region(pc) else []
    return found


def expected(program: Program, terms: tuple[Term, ...]) -> list[int]:
    """Row by row, as simply as it can be said."""

    def satisfied(term: Term, pc: int) -> bool:
        flags = re.IGNORECASE if term.folds_case else 0
        if term.field == "layer":
            section = program.sections[program.section_at(pc)]
            names = [section.title, *([str(section.layer)] if section.layer >= 0 else [])]
            return any(re.fullmatch(term.pattern, name, flags) for name in names)
        pattern = re.escape(term.pattern) if term.literal is not None else term.pattern
        return any(re.search(pattern, text, flags) for text in row_texts(program, pc).get(term.field, []))

    return [pc for pc in range(program.count) if all(satisfied(term, pc) for term in terms)]


@pytest.mark.parametrize("text", QUERIES)
@pytest.mark.parametrize("chunk", [3, 1 << 18])
def test_a_search_finds_the_rows_that_show_the_text(
    folder: Path, program: Program, text: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_CHUNK", chunk)
    try:
        terms = parse_query(text)
    except QueryError:
        terms = (Term("", re.escape(text)),)
    service = Service(folder, 0, program.count)
    for _ in range(2):  # the second time with every template known
        done: list[int] = []
        assert service.search.run(terms, done.append).tolist() == expected(program, terms)
        assert done[-1] == program.count


def test_two_processes_find_what_one_finds(folder: Path, program: Program) -> None:
    middle = program.count // 2
    for text in ("rd.param", "layer:2", "h[0x", "."):
        terms = parse_query(text) if text != "h[0x" else (Term("", r"h\[0x"),)
        parts = [Service(folder, *part).search.run(terms, lambda rows: None) for part in ((0, middle), (middle, 99))]
        assert [*parts[0], *parts[1]] == expected(program, terms)


def test_a_word_that_is_no_instruction_is_found_by_what_is_shown(built: ModelFolder) -> None:
    path = built.inst(BUILD) / "inst_1fpga.bin"
    content = bytearray(path.read_bytes())
    content[16 + 32 * 4] = 0xFF
    path.write_bytes(bytes(content))
    service = Service(built.inst(BUILD), 0, 99)
    assert service.search.run(parse_query('"not an instruction: ff"'), lambda rows: None).tolist() == [4]


@pytest.mark.parametrize("text", ["(", "unit:[", "a{99999999999}", "(?P<x"])
def test_what_is_no_regular_expression_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="is not a regular expression"):
        parse_query(text)


def test_case_matters_from_the_first_capital_on() -> None:
    assert parse_query("q_proj")[0].folds_case
    assert parse_query(r"\S+\W")[0].folds_case
    assert not parse_query("SXE")[0].folds_case
    assert not region_query("l0.q")[0].folds_case


async def test_an_inspector_searches_and_goes_on_after_an_interruption(folder: Path, program: Program) -> None:
    inspector = Inspector(folder, program.count)
    try:
        terms = parse_query("rd.param")
        found = await inspector.search(terms, lambda part: None)
        assert found.tolist() == expected(program, terms)
        inspector.interrupt()  # nothing runs: no harm
        assert (await inspector.search(terms, lambda part: None)) == found
        with pytest.raises(InspectionError, match="no request"):
            await inspector.ask({"do": "nonsense"})
    finally:
        inspector.close()


async def test_a_search_without_end_can_be_cancelled(built: ModelFolder) -> None:
    count = len(make_program()[0])
    inspector = Inspector(built.inst(BUILD), count)
    try:
        await inspector.search(parse_query("mm"), lambda part: None)
        endless = asyncio.create_task(inspector.search((Term("", r"(.+)+\Bxyz"),), lambda part: None))
        await asyncio.sleep(0.3)
        assert not endless.done()
        inspector.interrupt()
        with pytest.raises(Interrupted):
            await endless
        assert (await inspector.search(parse_query("hlt"), lambda part: None)).tolist() == [count - 1]
    finally:
        inspector.close()


async def test_a_program_that_went_away_is_a_message(tmp_path: Path) -> None:
    inspector = Inspector(tmp_path / "gone", 10)
    with pytest.raises(InspectionError, match=r"manifest.json cannot be read"):
        await inspector.search(parse_query("mm"), lambda part: None)
    inspector.close()


async def test_a_relation_goes_with_its_mark(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "i", *"jjjj", "x", "j", "x")
        assert "A-B 1 instruction apart" in " ".join(rows(app))
        await press(pilot, "x")
        shown = " ".join(rows(app))
        assert "A-B" not in shown and "needs" in shown


async def test_every_used_field_fits_the_tall_detail_at_80x24(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "i", "colon", "6", "enter", "d")
        shown = " ".join(rows(app))
        assert all(f" {name} " in shown for name in ("dst", "src", "stream", "rows", "cols", "not used"))
        assert "more field" not in shown
