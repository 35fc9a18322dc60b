"""Everything a program may not do is a MachineFault that names pc, instruction and source."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler.debug_info import DebugInfo, Node
from compiler.dtypes import FLOAT32
from compiler.emulator.machine import Machine, Stop
from compiler.errors import ArtifactError, HyperDexError, MachineFault
from compiler.isa.encode import encode_program
from compiler.isa.instructions import SPECS
from compiler.isa.text import parse_program
from compiler.source import SourceRef


def full_bench(new_bench, num_devices=1):
    """Regions: w at 0 [40, 16], e [5, 16] embed, k and v caches of 2 heads of 8."""
    bench = new_bench(FLOAT32, num_devices)
    bench.matrix("w", np.ones((40, 16), np.float32))
    bench.embedding("e", np.ones((5, 16), np.float32))
    bench.cache("k", "key", 2, 8)
    bench.cache("v", "value", 2, 8)
    return bench


FAULTS = [
    ("vadd v[0], v[0], v[0], 4", r"v\[0\] is read before it was written"),
    ("rd.embed v[4095], h[W], r0, 16, 5", "outside the 4096 LMU elements"),
    ("rd.embed v[0], h[E], r1, 16, 5", "index 7 is outside the 5 rows of region e"),
    ("rd.embed v[0], h[E], r0, 15, 5", "holds 5 rows of 16, not 5 of 15"),
    ("rd.embed v[0], h[W], r0, 16, 5", "not an embedding table"),
    ("rd.param s1, h[K], 4, 8, 8", "region k is a key, expected parameters"),
    ("rd.param s1, h[0x40000000], 4, 8, 8", "address 0x40000000 is in no region"),
    ("rd.param s1, h[W], 41, 16, 16", "41 x 16 at .0, 0. is outside region w"),
    ("rd.param s1, h[W], 40, 17, 16", "outside region w"),
    ("rd.param s1, h[W], 40, 15, 15", "stride 15 is not the 16"),
    ("rd.param s0, h[W], 4, 16, 16", "s0 means none"),
    ("rd.param s1, h[W], 4, 16, 16\nrd.param s1, h[W], 4, 16, 16", "opened again before it was consumed"),
    ("FILL\nmm v[100], v[0], s1, 4, 16", "s1 is consumed but was not opened"),
    ("FILL\nrd.param s1, h[W], 5, 16, 16\nmm v[100], v[0], s1, 4, 16", "holds 5 x 16, the instruction takes 4 x 16"),
    ("FILL\nrd.param s1, h[W], 4, 16, 16\nvbias v[100], v[0], s1, 16", "holds 4 x 16, expected a vector of 16"),
    ("FILL\nvbias v[100], v[0], s0, 16", "this instruction needs one"),
    ("FILL\nvact v[100], v[0], 16, act=t1", "t1 does not exist"),
    ("FILL\nvscale v[0], v[0], 4, 1.0, length_reg=r2", "a vector of -3 elements"),
    ("FILL\nvscale v[0], v[0], 0, 1.0", "a vector of 0 elements"),
    ("FILL\nvrope v[100], v[0], v[0], 16, 6, 4", "cannot rotate 4 lanes"),
    ("FILL\nvrope v[100], v[0], v[0], 16, 0, 4", "cannot rotate 4 lanes"),
    ("FILL\nvrope v[100], v[0], v[0], 16, 8, 4, style=2", "style 2 does not exist"),
    ("rd.kv s1, h[K], 1, 8, 8", "token 0 of k, head 0, was never written"),
    ("rd.kv s1, h[W], 1, 8, 8", "region w is a weight, expected key or value"),
    ("FILL\nwr.key h[K], r1, 2, 8, 8, h[KH], src=v[0]\nrd.kv s1, h[K], 8, 8, 8", "token 0 of k, head 0, was never"),
    ("FILL\nwr.key h[W], r1, 2, 8, 8, h[KH], src=v[0]", "region w is a weight, expected key"),
    ("FILL\nwr.key h[V], r1, 2, 8, 8, h[KH], src=v[0]", "region v is a value, expected key"),
    ("FILL\nwr.key h[K], r3, 2, 8, 8, h[KH], src=v[0]", "token 64 is outside the 64"),
    ("FILL\nwr.key h[K], r2, 2, 8, 8, h[KH], src=v[0]", "token -3 is outside the 64"),
    ("FILL\nwr.key h[K], r1, 2, 7, 8, h[KH], src=v[0]", "14 values are not 2 heads of 8"),
    ("FILL\nwr.key h[K], r1, 3, 5, 8, h[KH], src=v[0]", "3 heads at .* are outside the 2"),
    ("FILL\nwr.key h[K], r1, 2, 8, 8, h[0x80], src=v[0]", "are not those of region k"),
    (
        "FILL\nwr.key h[K], r0, 2, 8, 8, h[KH], src=v[0]\nrd.kv s1, h[K], 1, 8, 8\n"
        "wr.key h[K], r1, 2, 8, 8, h[KH], src=v[0]\nmm v[100], v[0], s1, 1, 8",
        "k was written between rd.kv and its consumer",
    ),
    (
        "FILL\nrd.param s1, h[W], 4, 16, 16\nwr.key h[K], r0, 2, 8, 8, h[KH], stream=s1",
        "holds a matrix, expected a vector",
    ),
    ("rx v[0], 4, 1, 7", "tag 7 is received but was not transmitted"),
    ("FILL\ntx v[0], 4, 7\nrx v[100], 5, 1, 7", "4 elements were transmitted, 5 are received"),
    ("FILL\ntx v[0], 4, 7\nrx v[100], 4, 2, 7", "2 slices are received, the machine has 1 devices"),
    ("FILL\ntx v[0], 4, 7\ntx v[0], 4, 7", "tag 7 is transmitted again"),
    ("rd.host r1, io[100000]", "host buffer offset 100000"),
    ("rd.host r1, io[2]", "host buffer offset 2"),
    ("wr.host r1, io[0]", "is not the device's to write"),
    ("wr.host r1, io[OUT], index=r1", "output slot 7 is written where slot 0 is due"),
    ("FILL\nsample r1, r2, v[0], 41", "41 logits|read before"),
]


@pytest.mark.parametrize("program, reason", FAULTS)
def test_a_forbidden_act_faults_where_it_happens(new_bench, put, layout, program, reason):
    bench = full_bench(new_bench)
    at = {region.name: region for region in bench.regions}
    names = {"KH": at["k"].head_bytes, "W": at["w"].begin, "E": at["e"].begin, "K": at["k"].begin, "V": at["v"].begin}
    for name, value in names.items():
        program = program.replace(f"h[{name}]", f"h[{value:#x}]")
    fill = "FILL" in program
    program = program.replace("FILL\n", "").replace("OUT", str(layout.output))
    machine = bench.machine(program + "\nhlt\n")
    if fill:
        put(machine, 0, np.ones(16))
    for register, value in ((1, 7), (2, -3), (3, 64)):
        machine.state.set_register(register, value)
    last = len(machine.program) - 2
    where = f"^pc {last} after {last} steps: {machine.program[last].mnemonic}"
    with pytest.raises(MachineFault, match=f"{where}.*({reason})"):
        machine.run(100)
    assert machine.pc == last


def test_a_branch_out_of_the_program_is_refused_before_it_runs(new_bench):
    with pytest.raises(MachineFault, match=r"pc 0: jmp +@9: the program ends at 1"):
        new_bench().machine("jmp @9\n")


def test_a_fault_names_the_source_tensor(new_bench):
    bench = full_bench(new_bench)
    node = Node("q0", "linear", SourceRef("model.layers.0.q", "model.layers.0.q.weight", 0))
    bench.debug = DebugInfo(nodes=(node,), instruction_nodes=(0,))
    with pytest.raises(MachineFault, match=r"vadd .* from model\.layers\.0\.q\.weight: "):
        bench.machine("vadd v[0], v[0], v[0], 4\n").run(5)


def test_nan_logits_fault(new_bench, put):
    machine = full_bench(new_bench).machine("sample r1, r2, v[0], 3\nhlt\n")
    machine.host.set_float(6, 1.0)
    put(machine, 0, [1, np.nan, 2])
    with pytest.raises(MachineFault, match=r"logit 1 is NaN; .* --dtype bfloat16"):
        machine.run(5)


def test_devices_that_disagree_about_the_logits_fault(new_bench, put):
    machine = full_bench(new_bench, num_devices=2).machine("sample r1, r2, v[0], 3\nhlt\n")
    put(machine, 0, [1, 2, 3])
    put(machine, 1, [5], device=1)
    with pytest.raises(MachineFault, match="devices 0 and 1 differ in logit 1"):
        machine.run(5)


def test_the_step_budget_ends_an_endless_loop(new_bench):
    machine = new_bench().machine("jmp @0\n")
    assert machine.run(500) is Stop.BUDGET
    assert machine.steps == 500


def test_running_off_the_end_faults(new_bench):
    machine = new_bench().machine("li r1, 1\n")
    with pytest.raises(MachineFault, match="ends at 1 without hlt"):
        machine.run(5)


def test_stepping_a_halted_machine_faults(new_bench):
    machine = new_bench().machine("hlt\n")
    machine.run(5)
    with pytest.raises(MachineFault, match="has halted"):
        machine.step()


def test_an_unknown_word_is_refused_with_its_pc(new_bench):
    word = bytes([0xEE]) + bytes(31)
    with pytest.raises(MachineFault, match="pc 1: unknown opcode 0xee"):
        new_bench().machine(encode_program(parse_program("hlt\n")) + word)


def test_breakpoints_stop_before_their_instruction_and_let_go(new_bench):
    machine = new_bench().machine("li r1, 1\nli r2, 2\nli r3, 3\nhlt\n")
    machine.breakpoints.add(1)
    assert machine.run(100) is Stop.BREAKPOINT
    assert machine.registers[1:4] == (1, 0, 0)
    assert machine.run(100) is Stop.HALTED
    assert machine.run(100, until=lambda state: False) is Stop.HALTED


def test_instructions_are_found_by_mnemonic_layer_and_tensor(new_bench):
    bench = new_bench()
    nodes = tuple(Node(f"n{layer}", "act", SourceRef(f"layers.{layer}.act", "", layer)) for layer in range(2))
    bench.debug = DebugInfo(nodes=nodes, instruction_nodes=(0, 1, 1, -1))
    machine = bench.machine("li r1, 1\nli r1, 2\naddi r1, r1, 1\nhlt\n")
    assert machine.find(mnemonic="li") == (0, 1)
    assert machine.find(layer=1) == (1, 2)
    assert machine.find(mnemonic="li", tensor="layers.1") == (1,)
    assert machine.find(tensor="none") == ()


def test_a_condition_stops_the_run(new_bench):
    machine = new_bench().machine("li r1, 1\naddi r1, r1, 1\njmp @1\n")
    assert machine.run(1000, until=lambda state: state.registers[1] == 10) is Stop.CONDITION


def _words(spec):
    """Words with this opcode, small operands and, sometimes, any bits at all."""
    fields = [
        st.one_of(st.integers(0, 64), st.integers(0, (1 << operand.bits) - 1)).map(
            lambda value, operand=operand: (operand, value & ((1 << operand.bits) - 1))
        )
        for operand in spec.operands
    ]

    def pack(values):
        words = [0] * 8
        words[0] = spec.opcode
        for operand, value in values:
            words[operand.word] |= value << operand.low
        return b"".join(word.to_bytes(4, "little") for word in words)

    return st.tuples(*fields).map(pack)


WORD = st.one_of(*(_words(spec) for spec in SPECS), st.binary(min_size=32, max_size=32))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(WORD, min_size=1, max_size=12), seed=st.integers(0, 5))
def test_random_words_raise_only_our_errors_within_their_budget(new_bench, put, words, seed):
    build = full_bench(new_bench).build("hlt\n")
    build.program_words = np.frombuffer(b"".join(words), dtype="<i4").astype(np.int32).reshape(-1, 8)
    try:
        machine = Machine(build)
        put(machine, 0, np.random.default_rng(seed).standard_normal(200))
        for register in range(1, 8):
            machine.state.set_register(register, register * seed - 3)
        machine.run(300)
        assert machine.steps <= 300
    except HyperDexError as error:
        assert "\n" not in str(error)


def test_a_parameter_file_that_went_away_is_named_in_words(new_bench):
    bench = full_bench(new_bench)
    build = bench.build("hlt")
    gone = build.param_file(0, 7)
    gone.unlink()
    with pytest.raises(ArtifactError) as caught:
        Machine(build)
    assert str(caught.value) == f"{gone} cannot be read: No such file or directory; compile the model again"
