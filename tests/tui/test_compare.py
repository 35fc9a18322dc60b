"""Two programs are aligned by their operations; what differs is what was made different."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from tempfile import gettempdir

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from compiler.artifacts.manifest import Manifest
from compiler.artifacts.writer import write_inst_build
from compiler.debug_info import DebugInfo
from compiler.isa.encode import Instruction, encode_program, instruction
from compiler.planning import PASS_NAMES, CompileOptions
from compiler.workspace import ModelFolder
from hyperdex_tui.backend.comparison import common_places, pairs_from, side_by_side
from hyperdex_tui.backend.inspection.compare import Operation, align, timed_operations
from hyperdex_tui.backend.inspection.variant import changed_options
from hyperdex_tui.backend.program import open_program
from hyperdex_tui.backend.variants import rivals_of
from hyperdex_tui.screens.compare import CompareScreen
from hyperdex_tui.screens.rivals import RivalList
from tests.tui.builds import BUILD, make_program
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, settle, text

OTHER = "u55c-2x"


def operation(name: str, *shape: str) -> Operation:
    return Operation(name, "op", 0, 0, 0, len(shape), 1.0, tuple((each, ()) for each in shape))


NAMES = st.lists(st.text("abcde", min_size=1, max_size=1), max_size=8)


@given(NAMES, NAMES)
def test_an_alignment_keeps_both_programs_whole_and_in_order(left: list[str], right: list[str]) -> None:
    ours, theirs = ([operation(name) for name in names] for names in (left, right))
    pairs = align(ours, theirs)
    assert [pair.left for pair in pairs if pair.left is not None] == ours
    assert [pair.right for pair in pairs if pair.right is not None] == theirs
    for pair in pairs:
        if pair.left is not None and pair.right is not None:
            assert pair.left.name == pair.right.name and pair.change == "same"
        else:
            assert pair.change == ("right" if pair.left is None else "left")


@given(NAMES)
def test_a_program_is_the_same_as_itself(names: list[str]) -> None:
    ours = [operation(name) for name in names]
    assert {pair.change for pair in align(ours, ours)} <= {"same"}


def test_what_differs_is_named() -> None:
    left = [operation("a", "mm"), operation("b", "mm", "vadd"), operation("fused", "add.rmsnorm"), operation("c", "mm")]
    right = [
        operation("a", "mm"),
        operation("b", "mm"),
        operation("add", "vadd"),
        operation("norm", "rmsnorm"),
        left[3],
    ]
    right[0] = replace(right[0], shape=(("mm", (64,)),))
    found = [(pair.change, (pair.left or pair.right).name) for pair in align(left, right) if pair.left or pair.right]
    assert found == [
        ("operands", "a"), ("instructions", "b"), ("left", "fused"), ("right", "add"), ("right", "norm"), ("same", "c"),
    ]  # fmt: skip


def write_other(folder: ModelFolder) -> Path:
    """The build beside, with a matrix of half the rows in layer 1 and a bias after layer 2's."""
    program, debug = make_program()
    nodes, regions = list(debug.instruction_nodes), list(debug.regions)
    at = next(pc for pc, instr in enumerate(program) if instr.mnemonic == "mm" and debug.nodes[nodes[pc]].name == "q1")
    program[at] = instruction("mm", dst=128, src=64, stream=3, rows=32, cols=64)
    at = next(pc for pc, instr in enumerate(program) if instr.mnemonic == "mm" and debug.nodes[nodes[pc]].name == "q2")
    program.insert(at + 1, instruction("vadd", dst=128, a=128, b=64, length=64))
    nodes.insert(at + 1, nodes[at])
    regions.insert(at + 1, "")
    return write_program(folder, program, replace(debug, instruction_nodes=tuple(nodes), regions=tuple(regions)))


def write_program(folder: ModelFolder, program: list[Instruction], debug: DebugInfo) -> Path:
    inst = folder.inst(OTHER)
    inst.mkdir(parents=True)
    manifest = Manifest.from_json((folder.inst(BUILD) / "manifest.json").read_bytes(), "inst")
    write_inst_build(inst, replace(manifest, files=()), encode_program(program), (), debug)
    return inst


def test_operations_of_programs_on_disk(built: ModelFolder) -> None:
    left, right = open_program(built.inst(BUILD)), open_program(write_other(built))
    (ours, _), (theirs, _) = timed_operations(left, 5), timed_operations(right, 5)
    pairs = align(ours, theirs)
    changed = {pair.left.name: pair.change for pair in pairs if pair.left is not None and pair.change != "same"}
    assert changed == {"q1": "operands", "q2": "instructions"}
    assert sum(pair.left.count for pair in pairs if pair.left is not None) == left.count
    q2 = next(pair for pair in pairs if pair.left is not None and pair.left.name == "q2")
    assert q2.left is not None and q2.right is not None and (q2.left.count, q2.right.count) == (2, 3)
    assert q2.right.cycles is not None and q2.left.cycles is not None and q2.right.cycles > q2.left.cycles > 0
    both = pairs_from([{"change": q2.change, "left": _without_shape(q2.left), "right": _without_shape(q2.right)}])[0]
    lines = side_by_side(left, right, both)
    assert [(a >= 0, b >= 0) for a, b in lines] == [(True, True), (True, True), (False, True)]
    left.close()
    right.close()


@given(st.text("abc", max_size=24), st.text("abcd", max_size=24))
def test_common_places_are_equal_ascending_and_as_many_as_there_can_be(left: str, right: str) -> None:
    found = common_places(left, right)
    assert all(left[a] == right[b] for a, b in found)
    assert all(one[0] < other[0] and one[1] < other[1] for one, other in pairwise(found))
    lengths = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, j in product(range(len(left)), range(len(right))):
        longest = max(lengths[i][j + 1], lengths[i + 1][j])
        lengths[i + 1][j + 1] = lengths[i][j] + 1 if left[i] == right[j] else longest
    assert len(found) == lengths[-1][-1]


def test_operations_that_repeat_themselves_align_at_once() -> None:
    found = common_places(["rd.kv", "mm", "softmax"] * 667, ["rd.kv", "mm", "softmax", "vadd"] * 500)
    assert len(found) == 1500


def _without_shape(side: Operation) -> dict[str, object]:
    return {name: getattr(side, name) for name in ("name", "op", "layer", "first", "last", "count", "cycles")}


async def test_two_builds_on_the_screen(
    make_app: MakeApp, built: ModelFolder, size: tuple[int, int], text_snapshot: SnapshotAssertion
) -> None:
    write_other(built)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await press(pilot, "i", "w")
        assert text(app) == text_snapshot
        await press(pilot, "enter")
        shown = text(app)
        assert "2 of 10 operations differ" in shown and "~ q1" in shown and "≠ q2" in shown and "= norm0" in shown
        await press(pilot, "D")
        assert "norm0" not in text(app)
        await press(pilot, "right_square_bracket", "enter")
        assert "vadd v[128], v[128], v[64], 64" in text(app)
        assert re.search(r"token 23 │ 24 instructions; [\d,]+ │ [\d,]+ cycles \(\+\d+ %\) at position 255", text(app))
        await press(pilot, "i")
        assert "Instructions" in text(app)


async def test_a_build_that_cannot_be_compared_says_why(make_app: MakeApp, built: ModelFolder) -> None:
    other = write_other(built)
    (other / "debug_1fpga.bin").write_bytes(b"HDEX")
    app = make_app()
    async with app.run_test(size=(120, 24), notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "i", "w", "G", "enter", *"none", "enter")
        assert "there is no build 'none'" in text(app)
        await press(pilot, "w", "enter")
        await settle(pilot)
        assert "u55c-2x cannot be aligned: debug_1fpga.bin" in text(app)
        await press(pilot, "escape")
        assert "Instructions" in text(app)


async def test_a_program_beside_itself_without_fusion(
    make_app: MakeApp, demo: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in demo.path.rglob("*")}
    app = make_app()
    async with app.run_test(size=(120, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "i", "w", "j")
        chosen = next(
            row for row, rival in enumerate(app.screen.query_one(RivalList).rivals) if "fusion" in rival.title
        )
        app.screen.query_one(RivalList).move_to(chosen)
        await press(pilot, "enter")
        screen = app.screen
        assert isinstance(screen, CompareScreen)
        names = {row[1]: row[0] for row in map(screen.pairs.cells, range(screen.pairs.row_count()))}
        assert names["model.layers.0.self_attn:scale"] == "right" and "same" in names.values()
        (made,) = Path(gettempdir()).glob("hyperdex-compare-*/without fusion")
        assert "without fusion" in text(app)
        await press(pilot, "escape")
        assert not made.exists()
    assert before == {path: path.stat().st_mtime_ns for path in demo.path.rglob("*")}


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        ("without fusion", {"value-first", "chunk-transmit", "overlap"}),
        ("without reordering", {"dead-code", "fuse-linear", "fuse-residual-norm", "fuse-softmax"}),
        ("without any pass", set()),
        ("without overlap", {*PASS_NAMES} - {"chunk-transmit", "overlap"}),
        ("with every pass", {*PASS_NAMES}),
    ],
)
def test_a_change_leaves_the_passes_it_names_out(change: str, passes: set[str]) -> None:
    options = changed_options(CompileOptions(), change)
    later = (options.overlap(256), options.chunk_transmit())
    assert {step.name for step in (*options.passes(), *filter(None, later))} == passes


def test_a_manifest_offers_no_pass_that_is_no_name(tmp_path: Path) -> None:
    passes = ("overlap", "chunk-transmit 2 4", "../../evil", "a/b", "\x1b[31m", "")
    changes = {rival.change for rival in rivals_of(tmp_path, passes)}
    assert {"without overlap", "without chunk-transmit"} <= changes
    assert all(change.replace(" ", "-").replace("-", "").isalnum() for change in changes if change)
