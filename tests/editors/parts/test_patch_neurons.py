"""The last block that neurons are trained on, the memory text, and the losses by hand."""

from __future__ import annotations

from math import e, exp

import pytest
import torch

from bench.checks.contract.tiny import CONTEXT, HIDDEN, LAYERS, REQUESTS, batch_for, tiny_gpt2
from editors.parts.hooks import changed_output
from editors.parts.language_model import LanguageModel
from editors.parts.t_patcher import (
    LastBlock,
    MemoryText,
    Neurons,
    activation_of,
    long_lines,
    mlp_inputs,
    shaped,
)
from editors.t_patcher import reply_loss, silence_loss


def neurons(projections: int, count: int = 2) -> Neurons:
    generator = torch.Generator().manual_seed(1)
    shapes = ((count, projections, HIDDEN), (count, projections), (count, HIDDEN))
    return Neurons(*(torch.randn(*shape, generator=generator) for shape in shapes))


@torch.no_grad()
def test_the_cached_block_answers_as_the_whole_model(tiny_lm: LanguageModel) -> None:
    added = neurons(len(tiny_lm.architecture.mlp_in))
    request = REQUESTS[0]
    row = batch_for(tiny_lm, [(request.prompt, request.target)])
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
    lm = tiny_gpt2()
    lines = [f"{number} and so on" for number in range(12)]
    text = MemoryText(lm, lines, dtype=torch.float32)
    memory, validation = text.split()
    wanted = torch.cat([text.inputs(0), text.inputs(10)])
    assert torch.equal(validation, wanted)
    assert len(memory) + len(validation) == sum(len(text.inputs(i)) for i in range(12))


@torch.no_grad()
def test_memory_is_shared_until_a_weight_is_written() -> None:
    lm = tiny_gpt2()
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
    with pytest.raises(ValueError, match="has no line of at least 21 words"):
        long_lines([short])


def test_no_positive_excess_costs_nothing_and_has_a_gradient() -> None:
    excess = torch.tensor([-1.0, -2.0], requires_grad=True)
    loss = shaped(excess, "margin")
    loss.backward()
    assert loss.item() == 0
    with pytest.raises(ValueError, match="Unknown loss shape 'top_exp'"):
        shaped(excess, "top_exp")
    assert excess.grad is not None
    assert not excess.grad.any()


def test_reply_and_silence_sum_over_projections_and_average_over_positions() -> None:
    responses = torch.tensor([[[0.0, 1.0]], [[2.0, -1.0]]])  # [T, N, M] = [2, 1, 2]
    assert float(reply_loss(responses)) == pytest.approx((1 + exp(-2)) / 2 + (1 / e + e) / 2)
    assert float(silence_loss(responses)) == pytest.approx((1 + exp(2)) / 2 + (e + 1) / 2)
    assert float(silence_loss(-responses.abs())) == 2  # the floor: one for each projection


def test_silence_has_no_gradient_at_zero() -> None:
    responses = torch.zeros(3, 1, 2, requires_grad=True)
    silence_loss(responses).backward()
    assert responses.grad is not None
    assert not responses.grad.any()
