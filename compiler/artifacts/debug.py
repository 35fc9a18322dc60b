"""debug.json: the JSON form of a program's debug information, read strictly."""

from __future__ import annotations

from dataclasses import asdict

from compiler.artifacts.layout import check_format
from compiler.debug_info import DebugInfo, LiveRange, Node, PassReport
from compiler.source import SourceRef
from compiler.strict_json import Fields, dump_object, load_object

FORMAT_VERSION = 1
_LIMIT = 1 << 26
_PC = (1 << 31) - 1


def debug_to_json(debug: DebugInfo) -> bytes:
    """The content of debug.json; equal values give equal bytes."""
    return dump_object(
        {
            "format_version": FORMAT_VERSION,
            "nodes": [{"name": node.name, "op": node.op, **asdict(node.source)} for node in debug.nodes],
            "instruction_nodes": list(debug.instruction_nodes),
            "regions": list(debug.regions),
            "labels": debug.labels,
            "values": [asdict(value) for value in debug.values],
            "passes": [asdict(report) for report in debug.passes],
        }
    )


def debug_from_json(content: bytes, instruction_count: int, where: str = "debug.json") -> DebugInfo:
    """Read what `debug_to_json` wrote.

    Raises:
        ArtifactError: not JSON, of a newer format, or a field is missing or wrong.
    """
    fields = load_object(content, where)
    check_format(fields, FORMAT_VERSION)
    nodes = tuple(_node(item) for item in fields.objects("nodes", _LIMIT))
    labels = fields.nested("labels")
    return DebugInfo(
        nodes=nodes,
        instruction_nodes=fields.integers("instruction_nodes", instruction_count, -1, len(nodes) - 1),
        regions=fields.texts("regions", instruction_count),
        labels={name: labels.integer(name, 0, _PC) for name in labels.names()},
        values=tuple(_live_range(item) for item in fields.objects("values", _LIMIT)),
        passes=tuple(
            PassReport(item.text("name"), item.integer("before", 0, _PC), item.integer("after", 0, _PC))
            for item in fields.objects("passes", 1000)
        ),
    )


def _node(item: Fields) -> Node:
    source = SourceRef(item.text("module"), item.text("tensor"), item.integer("layer", -1, 1 << 20))
    return Node(item.text("name"), item.text("op"), source)


def _live_range(item: Fields) -> LiveRange:
    return LiveRange(
        name=item.text("name"),
        begin=item.integer("begin", 0, 1 << 32),
        end=item.integer("end", 0, 1 << 32),
        first_pc=item.integer("first_pc", 0, _PC),
        last_pc=item.integer("last_pc", 0, _PC),
    )
