"""Records of the debugger survive their line of JSON; any other line is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.debug_records import (
    Breakpoint,
    Breakpoints,
    Candidate,
    Counters,
    Done,
    Failed,
    Finished,
    HbmView,
    Hello,
    LmuView,
    Operand,
    Progress,
    Stopped,
    Timeline,
    Token,
    Tokens,
)
from compiler.debug_wire import from_line, to_line

OPERAND = Operand("a", "v[0]", 3, (1.5, -math.inf, 0.0), -1.0, math.inf, 1, 2)
EVERY = (
    Hello("org/name", "u55c-1x", 10, 2, "float16", 4096, 64, 40, True),
    Stopped(
        "breakpoint", "x", (1, 2), 7, 6, 99, 3, 1, 4, 0, (0, -5), (1,), (OPERAND,), (OPERAND,), ((0, 4), (8, 9)), 5
    ),
    Progress(1, 2, 3),
    Breakpoints((Breakpoint(1, "layer", "3", 1, (20,)),)),
    Token(0, 5, 9, 0.5, 0, (Candidate(5, 0.5, "a"),), "line\nbreak"),
    Tokens("a b", (1, 2), (Token(0, 5, 9, 0.5, 0, (), "x"),)),
    LmuView(0, 8, (1.0, 2.0), (True, False), (False, False), ("x [0, 16)",)),
    HbmView(1, "w", "weight", "t", 0, 1, 2, ((1.0,), (2.0,)), ((True,), (True,)), ((False,), (False,)), (8, 8, 1)),
    Counters(3, 10.0, 0.1, 10.0, 0.2, 100, 0.5, "memory", (("SMA", 0.5),), (("SXE", "stream", 0.1),), 2.0),
    Timeline(3, False, 10.0, 2e8, ("SMA",), ("", "issue"), "AAAA", "AA", "AA", "AA", "AA", "AA"),
    Finished(3, "text", "stop", 0.1, 0.2),
    Done("saved"),
    Failed("no", 2),
)


@pytest.mark.parametrize("record", EVERY, ids=lambda record: record.event)
def test_reading_inverts_writing(record):
    line = to_line(record, 12)
    assert "\n" not in line
    assert from_line(line) == from_line(line.encode()) == (12, record)


def test_numbers_that_json_lacks_survive():
    values = (math.nan, math.inf, -math.inf, 0.0)
    line = to_line(replace(EVERY[6], values=values, written=(True,) * 4, changed=(False,) * 4))
    assert "NaN" not in line and "Infinity" not in line
    _, found = from_line(line)
    assert [repr(each) for each in found.values] == ["nan", "inf", "-inf", "0.0"]


def test_text_comes_back_printable():
    assert from_line(to_line(Done("a\x1b[31m\u202eb")))[1] == Done("a\\x1b[31m\\u202eb")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{}",
        "nonsense",
        "[" * 100_000,
        '{"version":2,"event":"done","request":0}',
        '{"version":1,"event":"what","request":0}',
        '{"version":1,"event":["done"],"request":0}',
        '{"version":1,"event":"done","request":"1"}',
        '{"version":1,"event":"done","request":1,"detail":5}',
        '{"version":1,"event":"progress","request":1,"pc":1,"steps":true,"position":0}',
        '{"version":1,"event":"progress","request":1,"pc":1}',
        '{"version":1,"event":"counters","request":1,"position":0,"cycles":1e999999}',
        '{"version":1,"event":"breakpoints","request":1,"breakpoints":[{"number":1}]}',
    ],
)
def test_other_lines_are_refused(line):
    with pytest.raises(ValueError, match=r"."):
        from_line(line)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(EVERY), st.data())
def test_a_record_with_a_foreign_value_is_read_or_refused(record, data):
    import json

    loaded = json.loads(to_line(record, 1))
    loaded[data.draw(st.sampled_from(sorted(loaded)))] = data.draw(JSON)
    try:
        _, found = from_line(json.dumps(loaded))
    except ValueError:
        return
    assert from_line(to_line(found))[1] == found or "nan" in to_line(found)
