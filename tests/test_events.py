"""Records of a compile as lines: what was written comes back, what anybody else wrote is refused."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.errors import ArtifactError
from compiler.events import (
    JobFinished,
    JobStarted,
    Message,
    PhaseFailed,
    PhaseFinished,
    PhaseStarted,
    Progress,
    Record,
    from_line,
    to_line,
)
from compiler.source import SourceRef

RECORDS: tuple[Record, ...] = (
    PhaseStarted(0, 0.0, "config.json"),
    Progress(3, 1.5, 7, 9, "bytes", 4.5, SourceRef("m", "m.weight", 2)),
    Message(2, 1, "text", "warning"),
    PhaseFinished(4, 2.0, True, "up to date"),
    PhaseFailed(-1, 2.0, "no", 5),
    JobStarted(-1, 0.0, "org/name", "u55c-1x", 12, "host", "now"),
    JobFinished(-1, 9.0, "u55c-1x"),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.just(10**400),
    st.dictionaries(st.sampled_from(["module", "tensor", "layer"]), st.one_of(st.integers(), st.text(max_size=3))),
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.event)
def test_a_record_comes_back(record: Record) -> None:
    assert from_line(to_line(record)) == record


@given(record=st.sampled_from(RECORDS), data=st.data(), value=VALUES)
def test_any_changed_field_is_refused_or_of_its_type(record: Record, data: st.DataObject, value: Any) -> None:
    document = json.loads(to_line(record))
    document[data.draw(st.sampled_from(sorted(document)))] = value
    try:
        found = from_line(json.dumps(document))
    except ArtifactError as error:
        assert str(error).isprintable()
        return
    for entry in fields(found):
        assert type(getattr(found, entry.name)).__name__ in {str(entry.type), "int" if entry.type == "float" else ""}
    assert all(char.isprintable() for char in str(found))


@pytest.mark.parametrize("pid", [0, -1, -1234, 1 << 31, 10**400])
def test_the_number_of_no_single_process_is_refused(pid: int) -> None:
    with pytest.raises(ArtifactError, match="wrong field"):
        from_line(to_line(JobStarted(-1, 0.0, "org/name", "u55c-1x", pid, "host", "now")))


@pytest.mark.parametrize("done", [1 << 63, -(1 << 63) - 1, 10**400])
def test_a_count_that_no_machine_holds_is_refused(done: int) -> None:
    with pytest.raises(ArtifactError, match="wrong field"):
        from_line(to_line(Progress(3, 1.5, done, 9, "bytes", 4.5)))


@pytest.mark.parametrize("line", ["", "{", "[]", "1", "null", '{"version": 1}', "[" * 100_000, '{"a":' * 100_000])
def test_what_is_no_record_is_refused_in_one_line(line: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        from_line(line)
    assert "\n" not in str(caught.value)


def test_text_of_a_record_is_made_printable() -> None:
    line = to_line(Message(0, 0.0, "\x1b[2J\x9b\u202e\n", source=SourceRef("\x07")))
    found = from_line(line)
    assert isinstance(found, Message) and found.text.isprintable() and found.source.module.isprintable()
