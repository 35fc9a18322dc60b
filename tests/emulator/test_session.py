"""The host's side of a generation, on a hand-written bigram model with a key cache."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.dtypes import FLOAT16, FLOAT32
from compiler.emulator.machine import Machine
from compiler.emulator.session import GREEDY, SamplingParameters, Session, Step
from compiler.errors import MachineFault, UsageError
from compiler.isa.host import Word

VOCAB, DIM = 40, 16
NEXT = (np.arange(VOCAB) * 7 + 3) % VOCAB
"""The bigram model's most probable successor of each token."""


def program(layout, embed, head, devices):
    """pos r1, token r2, last prompt r3, last output r4, output slot r5."""
    rows = VOCAB // devices
    return f"""
        li r1, 0
        rd.host r3, io[{4 * Word.LAST_PROMPT}]
        rd.host r4, io[{4 * Word.LAST_OUTPUT}]
        loop:
        blt r3, r1, embed
        rd.host r2, io[{layout.input}], index=r1
        embed:
        rd.embed v[0], h[{embed:#x}], r2, {DIM}, {VOCAB}
        blt r1, r3, next
        rd.param s1, h[{head:#x}], {rows}, {DIM}, {DIM}
        mm v[100], v[0], s1, {rows}, {DIM}
        tx v[100], {rows}, 1
        rx v[200], {rows}, {devices}, 1
        sample r2, r6, v[200], {VOCAB}
        wr.host r2, io[{layout.output}], index=r5
        addi r5, r5, 1
        bne r6, r0, end
        beq r1, r4, end
        next:
        addi r1, r1, 1
        jmp loop
        end:
        wr.host r5, io[{4 * Word.FINISHED}]
        hlt
    """


def bigram(new_bench, layout, dtype=FLOAT32, devices=1, edit=lambda text: text):
    rng = np.random.default_rng(1)
    codes = np.linalg.qr(rng.standard_normal((VOCAB, VOCAB)))[0][:, :DIM].astype(np.float32)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    head = np.zeros((VOCAB, DIM), np.float32)
    head[NEXT] = 8 * codes
    bench = new_bench(dtype, devices)
    embed = bench.embedding("e", codes)
    region = bench.matrix("head", head.reshape(devices, VOCAB // devices, DIM))
    return bench.machine(edit(program(layout, embed.begin, region.begin, devices)))


def tokens(machine, *arguments, **options):
    return [step.token_id for step in Session(machine).generate(*arguments, **options)]


def follow(token, count):
    found = []
    for _ in range(count):
        token = int(NEXT[token])
        found.append(token)
    return found


def test_greedy_tokens_follow_the_model_and_are_numbered_by_position(new_bench, layout):
    machine = bigram(new_bench, layout)
    steps = list(Session(machine).generate([5, 9, 4], 6, GREEDY, stop_ids=()))
    assert [step.token_id for step in steps] == follow(4, 6)
    assert steps[0] == Step(steps[0].token_id, 3, False)
    assert [step.finished for step in steps] == [False] * 5 + [True]
    assert machine.halted


def test_a_stop_token_ends_the_text_and_is_yielded(new_bench, layout):
    expected = follow(4, 10)
    assert tokens(bigram(new_bench, layout), [4], 10, stop_ids=[expected[3]]) == expected[:4]


def test_the_models_own_stop_tokens_are_the_default(new_bench, layout):
    start = int(np.flatnonzero(np.array([2 in follow(token, 5) for token in range(VOCAB)]))[0])
    found = tokens(bigram(new_bench, layout), [start], 30)
    assert found[-1] == 2
    assert len(found) <= 5


def test_sessions_do_not_depend_on_what_ran_before(new_bench, layout):
    machine = bigram(new_bench, layout)
    parameters = SamplingParameters(do_sample=True, temperature=3.0, seed=11)
    first = tokens(machine, [4], 20, parameters, stop_ids=())
    tokens(machine, [9, 9, 9], 3, stop_ids=())
    assert tokens(machine, [4], 20, parameters, stop_ids=()) == first
    assert tokens(machine, [4], 20, SamplingParameters(do_sample=True, temperature=3.0, seed=12), stop_ids=()) != first


@pytest.mark.parametrize("dtype", [FLOAT16, FLOAT32], ids=str)
def test_tokens_and_logits_do_not_depend_on_the_number_of_devices(new_bench, layout, dtype):
    seen = []
    for devices in (1, 2, 4):
        logits = []
        found = tokens(
            bigram(new_bench, layout, dtype, devices),
            [4],
            8,
            SamplingParameters(do_sample=True, temperature=2.0),
            stop_ids=(),
            observer=lambda values, index, logits=logits: logits.append((index, values.tobytes())),
        )
        seen.append((found, logits))
    assert seen[0] == seen[1] == seen[2]
    assert [index for index, _ in seen[0][1]] == list(range(8))


def test_the_whole_length_can_be_used(new_bench, layout):
    assert len(tokens(bigram(new_bench, layout), [1] * 63, 1, stop_ids=())) == 1
    assert len(tokens(bigram(new_bench, layout), [1], 63, stop_ids=())) == 63


def test_breakpoints_do_not_stop_a_session(new_bench, layout):
    machine = bigram(new_bench, layout)
    machine.breakpoints.update(range(len(machine.program)))
    assert tokens(machine, [4], 5, stop_ids=()) == follow(4, 5)


@pytest.mark.parametrize(
    "prompt, count, options, message",
    [
        ([], 1, {}, "prompt has no tokens"),
        ([1], 0, {}, "max_new_tokens is 0"),
        ([1] * 60, 5, {}, "60 prompt tokens and 5 new ones exceed the build's max_length 64"),
        ([1, 40], 1, {}, r"prompt token 1 is 40, the vocabulary has 0\.\.39"),
        ([-1], 1, {}, "prompt token 0 is -1"),
        ([1], 1, {"stop_ids": [99]}, "stop token 0 is 99"),
        ([1], 1, {"stop_ids": list(range(33))}, "33 stop tokens"),
        ([1], 1, {"parameters": SamplingParameters(top_k=-1)}, "top_k is -1"),
        ([1], 1, {"parameters": SamplingParameters(top_k=99999999999)}, r"allowed is 0 \(off\) to 2147483647"),
        ([1], 1, {"parameters": SamplingParameters(top_p=1e-46)}, "top_p is 1e-46, allowed is 1e-30 to 1"),
        ([1], 1, {"parameters": SamplingParameters(top_p=0.0)}, "top_p is 0.0"),
        ([1], 1, {"parameters": SamplingParameters(top_p=float("nan"))}, "top_p is nan"),
        ([1], 1, {"parameters": SamplingParameters(temperature=0.0)}, "temperature is 0.0"),
        ([1], 1, {"parameters": SamplingParameters(temperature=float("inf"))}, "temperature is inf"),
        ([1], 1, {"parameters": SamplingParameters(repetition_penalty=-1.0)}, "repetition_penalty is -1.0"),
        ([1], 1, {"parameters": SamplingParameters(seed=1 << 64)}, "seed is"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_runs(new_bench, layout, prompt, count, options, message):
    machine = bigram(new_bench, layout)
    with pytest.raises(UsageError, match=message):
        Session(machine).generate(prompt, count, **options)
    assert machine.steps == 0


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("jmp loop", "jmp next", "no end after .* steps: the program loops"),
        ("beq r1, r4, end", "beq r1, r0, end", "halted after 1 tokens, more were due"),
        ("wr.host r5, io[40]", "li r0, 0", "halted with 0 as the count of 4 tokens"),
    ],
)
def test_a_program_that_breaks_the_protocol_faults(new_bench, layout, old, new, message):
    machine = bigram(new_bench, layout, edit=lambda text: text.replace(old, new))
    with pytest.raises(MachineFault, match=message):
        tokens(machine, [4], 4, stop_ids=())


def test_writing_more_tokens_than_asked_faults(new_bench, layout):
    machine = bigram(new_bench, layout, edit=lambda text: text.replace("beq r1, r4, end", "li r0, 0"))
    with pytest.raises(MachineFault, match="a token was written after the last one"):
        tokens(machine, [4], 4, stop_ids=())


def test_a_machine_is_made_from_a_build_alone(new_bench, layout):
    machine = bigram(new_bench, layout)
    again = Machine(machine.build)
    assert tokens(again, [4], 5, stop_ids=()) == tokens(machine, [4], 5, stop_ids=())
