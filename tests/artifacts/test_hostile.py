"""Files of a build with any value changed: refused as ArtifactError, or opened and run without harm."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler.artifacts.reader import open_build
from compiler.emulator.machine import Machine
from compiler.errors import ArtifactError, HyperDexError
from tests.sealed import sealed

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 100),
    st.sampled_from([1 << 24, (1 << 31) - 1, 1 << 38, 1 << 64, -(1 << 63), 10**400]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(["weight", "key", "io", "rows", "embed", "../x", "a/b", "float32", "\x1b[2J"]),
    st.just([]),
    st.just({}),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to every value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


@pytest.mark.parametrize("folder, name", [(0, "manifest.json"), (0, "memory_map.json"), (1, "manifest.json")])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), value=VALUES)
def test_any_changed_value_is_refused_or_harmless(folders, folder, name, data, value):
    path = folders[folder] / name
    original = path.read_bytes()
    content = json.loads(original)
    *parents, last = data.draw(st.sampled_from(sorted(places(content), key=str)))
    inner = content
    for key in parents:
        inner = inner[key]
    inner[last] = value
    manifest = folders[folder] / "manifest.json"
    sound_manifest = manifest.read_bytes()
    try:
        path.write_bytes(sealed(content) if path == manifest else json.dumps(content).encode())
        if path != manifest:
            listed = json.loads(sound_manifest)
            entry = next(entry for entry in listed["files"] if entry["name"] == name)
            entry["size"] = path.stat().st_size
            entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
            manifest.write_bytes(sealed(listed))
        build = open_build(*folders)
        assert build.debug is not None
        Machine(build).run(50)
    except HyperDexError as error:
        assert isinstance(error, ArtifactError) or "fit" in str(error)
        assert "\n" not in str(error)
        assert "\x1b" not in str(error)
    finally:
        path.write_bytes(original)
        manifest.write_bytes(sound_manifest)
