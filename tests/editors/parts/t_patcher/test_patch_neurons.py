"""The store of neurons, the last block that they are trained on, and the memory text."""

from __future__ import annotations

import pytest
import torch

from bench.checks.contract.tiny import CONTEXT, HIDDEN, LAYERS, REQUESTS, tiny_gpt2, tiny_llama
from editors.parts.hooks import changed_output
from editors.parts.language_model import LanguageModel
from editors.parts.t_patcher import (
    LastBlock,
    MemoryText,
    Neurons,
    activation_of,
    long_lines,
    mlp_inputs,
)
from editors.parts.tokens import batch_of


def neurons(projections: int, count: int = 2) -> Neurons:
    generator = torch.Generator().manual_seed(1)
    shapes = ((count, projections, HIDDEN), (count, projections), (count, HIDDEN))
    return Neurons(*(torch.randn(*shape, generator=generator) for shape in shapes))


@torch.no_grad()
def test_the_cached_block_answers_as_the_whole_model(tiny_lm: LanguageModel) -> None:
    added = neurons(len(tiny_lm.architecture.mlp_in))
    request = REQUESTS[0]
    row = batch_of(tiny_lm.tokenizer, [(request.prompt, request.target)], device=tiny_lm.device)
    block = LastBlock.of(tiny_lm, row, dtype=torch.float32)
    mlp = tiny_lm.module(tiny_lm.architecture.mlp, LAYERS - 1)
    act = activation_of(tiny_lm)
    with changed_output(mlp, lambda inputs, output: output + added.contribution(inputs, act)):
        whole = tiny_lm.target_logits(row)
    torch.testing.assert_close(block.target_logits(added), whole, atol=1e-5, rtol=1e-5)
    assert torch.equal(block.inputs, mlp_inputs(tiny_lm, row, dtype=torch.float32))


def test_a_memory_line_is_cut_to_the_context_and_cached() -> None:
    lm = tiny_gpt2()
    memory = MemoryText(lm, ["x" * (CONTEXT + 20), "A line"], dtype=torch.float32)
    assert len(memory.inputs(0)) == CONTEXT
    assert memory.inputs(1) is memory.inputs(1)


def test_every_tenth_line_validates() -> None:
    lm = tiny_llama()
    lines = [f"{number} and so on" for number in range(12)]
    text = MemoryText(lm, lines, dtype=torch.float32)
    memory, validation = text.split()
    wanted = torch.cat([text.inputs(0), text.inputs(10)])
    assert torch.equal(validation, wanted)
    assert len(memory) + len(validation) == sum(len(text.inputs(i)) for i in range(12))


@torch.no_grad()
def test_memory_is_shared_until_a_weight_is_written() -> None:
    lm = tiny_llama()
    lines = ("A line of text.", "Another one.")
    first = MemoryText(lm, lines, dtype=torch.float32).inputs(1)
    assert MemoryText(lm, lines[1:], dtype=torch.float32).inputs(0) is first
    assert MemoryText(lm, lines, dtype=torch.float64).inputs(1).dtype == torch.float64
    lm.module(lm.architecture.mlp_out, 0).get_parameter("weight").mul_(2.0)
    changed = MemoryText(lm, lines, dtype=torch.float32).inputs(1)
    assert not torch.allclose(changed, first)


def test_short_lines_and_headings_are_left_out() -> None:
    running = " ".join(["word"] * 21)
    heading = "= " + " ".join(["word"] * 30) + " ="
    short = " ".join(["word"] * 20)
    documents = [f"{short}\n {running} \n{heading}", "", f"b {running}\n"]
    assert long_lines(documents) == (running, f"b {running}")


def test_a_corpus_without_running_text_is_refused() -> None:
    with pytest.raises(ValueError, match="has no line of at least 21 words"):
        long_lines(["Too short."])
