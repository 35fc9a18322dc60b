"""What is written comes back; what is damaged, foreign or newer is an ArtifactError."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.artifacts.activation import decode_tables, encode_tables
from compiler.artifacts.debug import DebugTables, debug_from_bytes, debug_to_bytes
from compiler.artifacts.manifest import Manifest
from compiler.artifacts.reader import open_build, verify_hashes
from compiler.errors import ArtifactError
from compiler.header import HEADER_BYTES
from compiler.isa.tables import ActivationTable
from tests.artifacts.conftest import sample_debug
from tests.sealed import sealed


def all_files(folders):
    return sorted(path for folder in folders for path in folder.iterdir())


def test_a_build_comes_back_as_it_was_written(folders, memory_map, tables, debug):
    build = open_build(*folders, verify=True)
    assert build.memory_map == memory_map
    assert build.tables == tables
    assert build.debug == debug
    assert build.program_words.shape == (2, 8)
    assert build.manifest.eos_token_ids == (2, 3)
    assert build.manifest.param_fingerprint == build.param_manifest.fingerprint
    assert verify_hashes(build) == ()


def test_parameter_files_have_equal_size_and_hold_address_a_at_16_plus_a(folders):
    build = open_build(*folders)
    files = [build.param_file(device, channel) for device in range(2) for channel in range(32)]
    assert {path.stat().st_size for path in files} == {HEADER_BYTES + 256}
    assert files[33].name == "param_2fpga_01_01.bin"
    content = np.frombuffer(files[33].read_bytes(), np.float16, offset=HEADER_BYTES)
    assert content.tolist() == [0.0] * 32 + [2.0] * 90 + [0.0] * 6


def test_two_builds_of_the_same_inputs_are_byte_identical(folders, tmp_path, writes_build):
    again = writes_build(tmp_path / "again")
    assert [path.read_bytes() for path in all_files(folders)] == [path.read_bytes() for path in all_files(again)]


def test_a_flipped_byte_anywhere_is_found(folders):
    build = open_build(*folders)
    for path in all_files(folders):
        original = path.read_bytes()
        content = bytearray(original)
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        assert path.name == "manifest.json" or verify_hashes(build) == (
            f"{path.parent.parent.name}/{path.parent.name}/{path.name}",
        )
        with pytest.raises(ArtifactError):
            open_build(*folders, verify=True)
        path.write_bytes(original)


def test_a_missing_or_cut_file_is_found_without_hashing(folders):
    for path in all_files(folders):
        original = path.read_bytes()
        path.write_bytes(original[:-2])
        with pytest.raises(ArtifactError, match=r"compile|JSON"):
            _ = open_build(*folders).debug
        path.unlink()
        with pytest.raises(ArtifactError, match=path.name):
            _ = open_build(*folders).debug
        path.write_bytes(original)


@pytest.mark.parametrize("place", [0, 1], ids=["param", "inst"])
@pytest.mark.parametrize("where", ["elsewhere", "itself"])
def test_a_folder_that_is_a_link_is_refused(folders, place, where):
    folder = folders[place]
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere if where == "elsewhere" else folder)
    target = folder.name if where == "itself" else where
    with pytest.raises(ArtifactError, match=f"{folder.name} is a link to .*/{target}"):
        open_build(*folders)


@pytest.mark.parametrize(
    "place", [(0, "memory_map.json"), (1, "inst_2fpga.bin"), (1, "actfn_2fpga.bin"), (1, "debug_2fpga.bin")]
)
def test_a_damaged_small_file_is_found_on_opening(folders, place):
    path = folders[place[0]] / place[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"{path.name} is damaged: .*; compile the model again with --force"):
        _ = open_build(*folders).debug


def test_a_damaged_header_of_parameters_advises_force(folders):
    path = folders[0] / "param_2fpga_01_1f.bin"
    path.write_bytes(b"XDEH" + path.read_bytes()[4:])
    with pytest.raises(ArtifactError, match=r"begins with .*; compile the model again with --force"):
        open_build(*folders)


def replaced(path, content):
    """Write a file that its manifest knows, as another version of the compiler would."""
    path.write_bytes(content)
    manifest = path.parent / "manifest.json"
    listed = json.loads(manifest.read_text())
    entry = next(each for each in listed["files"] if each["name"] == path.name)
    entry |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest.write_bytes(sealed(listed))


def edited(path, **changes):
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_bytes(sealed(content))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format_version": 3}, "format 3, newer than 2; update this program"),
        ({"format_version": 1}, "format 1, this program reads 2; compile the model again"),
        ({"kind": "inst"}, "kind is 'inst', expected 'param'"),
        ({"num_devices": 0}, "num_devices is 0"),
        ({"num_devices": True}, "num_devices is True"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"max_length": 128}, "max_length"),
        ({"files": [{"name": "../evil", "size": 1, "sha256": "0" * 64}]}, "not a plain file name"),
        ({"files": [{"name": "a", "size": 1, "sha256": "0"}]}, "not 64 hex digits"),
        ({"files": [{"name": "a", "size": 1, "sha256": "0" * 64}] * 2}, "lists a name twice"),
        ({"files": []}, "does not list"),
        ({"fingerprint": "other"}, "other parameters than those beside it"),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(folders, changes, message):
    edited(folders[0] / "manifest.json", **changes)
    with pytest.raises(ArtifactError, match=message):
        open_build(*folders)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100000, b'{"format_version": NaN}', b"{}"])
def test_broken_json_is_one_line_of_error(folders, content):
    (folders[0] / "manifest.json").write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        open_build(*folders)
    assert "\n" not in str(caught.value)


def test_a_missing_manifest_field_is_named(folders):
    path = folders[1] / "manifest.json"
    sound = json.loads(path.read_text())
    for name in sound:
        path.write_text(json.dumps({key: value for key, value in sound.items() if key != name}))
        with pytest.raises(ArtifactError, match="own hash" if name == "sha256" else name):
            open_build(*folders)


def test_manifests_round_trip(folders):
    for folder, kind in zip(folders, ("param", "inst"), strict=True):
        content = (folder / "manifest.json").read_bytes()
        assert Manifest.from_json(content, kind).to_json() == content


def test_a_table_count_that_differs_from_the_manifest_is_refused(tmp_path, writes_build):
    folders = writes_build(tmp_path, lambda manifest: replace(manifest, tables=("one",)))
    with pytest.raises(ArtifactError, match="holds 2 tables, the manifest names 1"):
        open_build(*folders)


def test_another_instruction_set_is_refused(folders):
    path = folders[1] / "inst_2fpga.bin"
    content = path.read_bytes()
    body = struct.pack("<4sHHI", b"HDEX", 1, 3, 99)
    replaced(path, body + struct.pack("<I", zlib.crc32(body)) + content[16:])
    with pytest.raises(ArtifactError, match="instruction set 99"):
        open_build(*folders)


def test_parameters_of_another_dtype_are_refused(folders):
    path = folders[0] / "param_2fpga_00_05.bin"
    body = struct.pack("<4sHHI", b"HDEX", 1, 2, 3)
    path.write_bytes(body + struct.pack("<I", zlib.crc32(body)) + path.read_bytes()[16:])
    with pytest.raises(ArtifactError, match="dtype code 3"):
        open_build(*folders)


def test_tables_round_trip(tables):
    assert decode_tables(encode_tables(tables), "t") == tables
    assert decode_tables(encode_tables(()), "t") == ()


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 200), value=st.integers(0, 255), cut=st.integers(0, 200))
def test_damaged_tables_are_refused_or_legal(position, value, cut):
    table = np.arange(16, dtype=np.float32).reshape(4, 4)
    content = bytearray(encode_tables((ActivationTable(-1.0, 1.0, 0.25, 0.0, 1.0, 0.0, table),)))
    content[position % len(content)] = value
    try:
        found = decode_tables(bytes(content[: len(content) - cut % len(content)]), "t")
    except ArtifactError:
        return
    assert all(not each.problem() for each in found)


def test_debug_information_round_trips(debug):
    assert debug_from_bytes(debug_to_bytes(debug), 2, "d") == debug
    with pytest.raises(ArtifactError, match="describes 2 instructions, the program has 1"):
        debug_from_bytes(debug_to_bytes(debug), 1, "d")
    content = bytearray(debug_to_bytes(debug))
    content[64:68] = b"\x01\0\0\0"
    with pytest.raises(ArtifactError, match=r"instruction_nodes\[0\] is 1, there are 1 nodes"):
        debug_from_bytes(bytes(content), 2, "d")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_debug_information_is_refused_or_legal(data):
    content = bytearray(debug_to_bytes(sample_debug()))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([0, 0, 1, 16, 60, len(content)]))
    try:
        found = debug_from_bytes(bytes(content[: len(content) - cut]), 2, "d")
    except ArtifactError as error:
        assert str(error).startswith("d ")
        return
    assert len(found.instruction_nodes) == len(found.regions) == 2


def test_a_record_says_what_the_whole_says(debug):
    tables = DebugTables(debug_to_bytes(debug), 2, "d")
    assert [tables.node_index(pc) for pc in range(2)] == list(debug.instruction_nodes)
    assert tables.node(0) == debug.nodes[0]
    assert tables.region(tables.region_index(0)) == debug.regions[0]
    assert tables.live_range(0) == debug.values[0]
    for read in (tables.node, tables.region, tables.label, tables.pass_report):
        with pytest.raises(IndexError):
            read(99)


def test_debug_finds_the_node_of_an_instruction(debug):
    assert str(debug.node_of(0)) == "model.head.weight"
    assert debug.node_of(1) is None
    assert debug.node_of(-1) is None
    assert debug.node_of(5) is None
