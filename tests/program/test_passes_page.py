"""The page on passes shows what the passes do to the bundled model, line by line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import compiler.demo
from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures import build_graph
from compiler.graph.ir import Graph, Node, format_node
from compiler.graph.passes import Pass, passes_for, run_passes
from compiler.planning import PASS_NAMES, CompileOptions, make_plan, make_program

PAGE = Path(__file__).parents[2] / "docs" / "passes.md"
CONFIG = json.loads((Path(compiler.demo.__file__).parent / "model" / "config.json").read_text())
ATTENTION = ("scores", "softmax", "attend")


def _block(heading: str) -> str:
    """The first listing below a heading."""
    section = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = next(each for each in section if each.startswith(f"{heading}\n"))
    return text.partition("```diff\n")[2].partition("```")[0]


def _first_layer(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.source.layer == 0]


def test_every_pass_has_its_section_in_order() -> None:
    headings = [line[3:] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("## ")]
    assert [heading for heading in headings if heading in PASS_NAMES] == list(PASS_NAMES)


def test_the_listings_of_graph_passes_are_those_of_the_bundled_model() -> None:
    found: dict[str, str] = {}

    def watch(step: Pass, before: Graph, after: Graph) -> None:
        old, new = (
            [
                format_node(node, graph.shapes).replace("model.layers.0.", "")
                for node in graph.nodes
                if not node.source.layer
            ]
            for graph in (before, after)
        )
        lines = [f"- {line}" for line in old if line not in new] + [f"+ {line}" for line in new if line not in old]
        found[step.name] = "".join(f"{line}\n" for line in lines)

    run_passes(build_graph(CheckpointConfig(CONFIG)), passes_for(True, True), watch)
    for name, listing in found.items():
        if listing:
            assert _block(name) == listing


def test_the_listing_of_the_overlap_is_that_of_the_bundled_model() -> None:
    listings = []
    for sign, without in (("-", ("overlap",)), ("+", ())):
        options = CompileOptions(num_devices=2, without=without)
        program = make_program(make_plan(CONFIG, options), options)
        for pc, instr in enumerate(program.instructions):
            node = program.debug.node_of(pc)
            if (
                instr.mnemonic in ("mm", "softmax")
                and node is not None
                and node.op in ATTENTION
                and not node.source.layer
            ):
                listings.append(f"{sign} {instr.mnemonic:<8} {node.name.removeprefix('model.layers.0.')}\n")
    assert _block("overlap") == "".join(listings)
