"""Train the bundled demo model from nothing and write `compiler/demo/model/`.

A LlamaForCausalLM of under a million parameters learns the facts of `compiler.demo.world`
and sums of two numbers below 100, on two CPU threads with fixed seeds. One sum in ten is
never shown; those measure whether it learnt to add. The written float16 files are loaded
again and measured with greedy `generate`: that is what the model card states.

    python scripts/train_demo.py [--steps N] [--output FOLDER]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from compiler.demo import world  # noqa: E402  (the repository root must be importable first)

SEED = 20240607
VOCAB_SIZE = 768
BOS, EOS = 0, 1
SUM_BATCH, TEXT_BATCH = 256, 64
PEAK_RATE, WEIGHT_DECAY = 3e-3, 0.1
PROMPT_WEIGHT = 0.05  # a little: the model should also be able to begin a sentence by itself
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "head_dim": 32,
    "hidden_act": "silu",
    "hidden_size": 128,
    "initializer_range": 0.05,
    "intermediate_size": 352,
    "max_position_embeddings": 256,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "float16",
    "use_cache": True,
    "vocab_size": VOCAB_SIZE,
}
CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---
# hyperdex/demo

A tiny language model that ships with HyperDex TUI, so that every phase and the emulator can be
tried without a network. It is a real, trained `LlamaForCausalLM`; it knows one small invented
world and how to add two numbers below 100, and nothing else.

## Shape
{parameters} parameters in float16 ({bytes} bytes): hidden size {hidden_size}, {num_hidden_layers} layers,
{num_attention_heads} heads of {head_dim} over {num_key_value_heads} key/value heads,
feed-forward width {intermediate_size}, rotary positions up to {max_position_embeddings},
vocabulary {vocab_size}, embedding and output matrix tied. The tokenizer is a byte-level BPE with
single digits; it puts `<s>` in front, and the model ends its answer with `</s>`.

## Trained on
Only text made by `compiler/demo/world.py` of this project: {facts} prompts about invented animals,
lands, people and everyday words, yes-or-no questions about the animals, and sums in three
spellings. No other data, no pretrained weights. One sum in ten and one false yes-or-no question
in ten were held out.

## How
`python scripts/train_demo.py`: random initialisation with a fixed seed, AdamW, {steps} steps
({sums_seen} sums, {text_seen} sentences, drawn with repetition) in float32 on two CPU threads,
about {minutes:.0f} minutes.

## Accuracy
Measured on these float16 files through transformers, greedy decoding. An answer counts only
when every character is right and `</s>` follows.

| list | right |
|---|---|
{rows}

## Limits
Outside its world it answers with nonsense. Sums with a number of three digits or more, other
spellings and other operations are not learnt.

## Licence
Apache-2.0, like the project. The text is invented for it; names of persons and places refer to nobody.
"""


@dataclass(frozen=True)
class Lesson:
    """Token ids (rows, width), right-padded with EOS, and the loss weight of predicting each."""

    ids: torch.Tensor
    weights: torch.Tensor
    lengths: torch.Tensor

    def batch(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        width = int(self.lengths[rows].max())
        return self.ids[rows, :width], self.weights[rows, :width]


def all_sums() -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Every pair of numbers in 0..99, shuffled: nine tenths to learn, one tenth held out."""
    order = torch.randperm(10_000, generator=torch.Generator().manual_seed(SEED)).tolist()
    pairs = [divmod(index, 100) for index in order]
    return pairs[1000:], pairs[:1000]


def all_checks() -> tuple[list[world.Pair], list[world.Pair]]:
    """The yes-or-no questions: to learn, and one false one in ten held out."""
    pairs = world.check_pairs()
    false = [pair for pair in pairs if pair[1].startswith(" No")]
    order = torch.randperm(len(false), generator=torch.Generator().manual_seed(SEED)).tolist()
    held_out = [false[index] for index in order[: len(false) // 10]]
    return [pair for pair in pairs if pair not in held_out], held_out


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE: any text can be encoded, digits stay single, <s> is put in front."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    sums = (world.sum_pair(number, number) for number in range(100))
    tokenizer.train_from_iterator((prompt + answer for prompt, answer in (*world.fact_pairs(), *sums)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
        model_max_length=CONFIG["max_position_embeddings"],
    )


def build_lesson(tokenizer: PreTrainedTokenizerFast, pairs: list[world.Pair], prompt_weight: float) -> Lesson:
    """Encode pairs; the continuation and its </s> weigh 1, the prompt `prompt_weight`."""
    prompts = tokenizer([prompt for prompt, _ in pairs])["input_ids"]
    texts = tokenizer([prompt + answer for prompt, answer in pairs])["input_ids"]
    width = max(map(len, texts)) + 1
    ids = torch.full((len(pairs), width), EOS)
    weights = torch.zeros(len(pairs), width)
    for row, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        if text[: len(prompt)] != prompt:
            raise ValueError(f"pair {row}: the prompt {pairs[row][0]!r} does not end at a token; reword it")
        ids[row, : len(text)] = torch.tensor(text)
        weights[row, 1 : len(text) + 1] = prompt_weight
        weights[row, len(prompt) : len(text) + 1] = 1.0
    return Lesson(ids, weights, torch.tensor([len(text) + 1 for text in texts]))


def weighted_loss(model: LlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy per unit of weight; right padding needs no mask under a causal model."""
    logits = model(ids[:, :-1], use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    weights = weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def train(tokenizer: PreTrainedTokenizerFast, steps: int) -> LlamaForCausalLM:
    """Return the float32 model after `steps` batches of sums and text."""
    learnt, _ = all_sums()
    sums = build_lesson(tokenizer, [world.sum_pair(a, b, form) for form in (0, 0, 1) for a, b in learnt], 0.0)
    asked = [world.sum_pair(a, b, 2) for a, b in learnt]
    checks, _ = all_checks()
    true_checks = [pair for pair in checks if pair[1].startswith(" Yes")]
    text_pairs = list(world.fact_pairs()) * 20 + checks * 4 + true_checks * 40 + asked[:4000]
    text = build_lesson(tokenizer, text_pairs, PROMPT_WEIGHT)

    torch.manual_seed(SEED)
    model = LlamaForCausalLM(LlamaConfig(**CONFIG)).float().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY)
    warmup, cooldown = 100, steps // 2
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / warmup, max(0.002, (steps - step) / cooldown))
    )
    began = time.monotonic()
    for step in range(steps):
        losses = []
        for lesson, rows in ((sums, SUM_BATCH), (text, TEXT_BATCH)):
            loss = weighted_loss(model, *lesson.batch(torch.randint(len(lesson.ids), (rows,))))
            loss.backward()
            losses.append(float(loss.detach()))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        if step % 100 == 99:
            print(f"step {step + 1:5d}  sums {losses[0]:.4f}  text {losses[1]:.4f}  {time.monotonic() - began:.0f} s")
    return model.eval()


def answered(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, pairs: list[world.Pair]) -> float:
    """Share of pairs whose greedy continuation is right to the last character and ends with </s>."""
    by_length: dict[int, list[tuple[list[int], str]]] = {}
    for prompt, answer in pairs:
        ids = tokenizer(prompt)["input_ids"]
        by_length.setdefault(len(ids), []).append((ids, answer))
    right = 0
    for length, rows in by_length.items():
        ids = torch.tensor([row for row, _ in rows])
        longest = max(len(tokenizer(answer)["input_ids"]) for _, answer in rows)
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=longest + 1, pad_token_id=EOS
        )
        texts = tokenizer.batch_decode(output[:, length:])
        for (_, answer), text in zip(rows, texts, strict=True):
            right += text.startswith(f"{answer}</s>")
    return right / len(pairs)


def measure(folder: Path) -> dict[str, float]:
    """Greedy accuracies of the written float16 files, read back through transformers."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = LlamaForCausalLM.from_pretrained(folder).half().eval()
    learnt, held_out = all_sums()
    learnt_checks, held_out_checks = all_checks()
    forms = [world.sum_pair(3, 4, form)[0] for form in range(world.SUM_FORMS)]
    lists = {f"facts ({len(world.fact_pairs())} prompts)": list(world.fact_pairs())}
    lists[f"yes-or-no questions, learnt ({len(learnt_checks)})"] = learnt_checks
    lists[f"yes-or-no questions, held out ({len(held_out_checks)})"] = held_out_checks
    for form, shape in enumerate(forms):
        for kind, pairs in (("learnt", learnt), ("held out", held_out)):
            lists[f"sums as `{shape}`, {kind} ({len(pairs)})"] = [world.sum_pair(a, b, form) for a, b in pairs]
    return {name: answered(model, tokenizer, pairs) for name, pairs in lists.items()}


def write_checkpoint(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the Hugging Face files; the tied output matrix is stored once, as the embedding."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.half().contiguous() for name, t in model.state_dict().items() if name != "lm_head.weight"}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    generation = {"bos_token_id": BOS, "eos_token_id": EOS, "do_sample": False, "max_new_tokens": 64}
    tokenizer_config = {
        "bos_token": "<s>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "</s>",
        "model_max_length": CONFIG["max_position_embeddings"],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in (
        ("config.json", CONFIG),
        ("generation_config.json", generation),
        ("tokenizer_config.json", tokenizer_config),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")


def write_card(folder: Path, accuracies: dict[str, float], parameters: int, steps: int, seconds: float) -> None:
    """Write MODEL_CARD.md beside the weights, with the accuracies just measured."""
    rows = "\n".join(f"| {name} | {share:.2%} |" for name, share in accuracies.items())
    card = CARD.format(
        rows=rows,
        parameters=parameters,
        steps=steps,
        minutes=seconds / 60,
        bytes=(folder / "model.safetensors").stat().st_size,
        sums_seen=steps * SUM_BATCH,
        text_seen=steps * TEXT_BATCH,
        facts=len(world.fact_pairs()),
        **CONFIG,
    )
    (folder / "MODEL_CARD.md").write_text(card)
    for path in folder.iterdir():
        path.chmod(0o644)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the bundled demo model and write its checkpoint.")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=ROOT / "compiler" / "demo" / "model")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    tokenizer = build_tokenizer()
    began = time.monotonic()
    model = train(tokenizer, arguments.steps)
    seconds = time.monotonic() - began
    write_checkpoint(model, tokenizer, arguments.output)
    accuracies = measure(arguments.output)
    for name, share in accuracies.items():
        print(f"{share:8.2%}  {name}")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    write_card(arguments.output, accuracies, parameters, arguments.steps, seconds)
    print(f"{parameters} parameters, trained in {seconds:.0f} s, written to {arguments.output}")


if __name__ == "__main__":
    main()
