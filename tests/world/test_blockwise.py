"""Blocks that learn from the teacher's stream: what mini-gpt2 starts with, and the loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from bench.models.backbones import load, locate
from bench.world import build
from bench.world.blockwise import LOSS_WEIGHT, POSITION_SIZE, QUICK, Blockwise, _start_heads
from bench.world.corpus import tokenizer_texts
from bench.world.pretrain import causal_loss
from bench.world.teacher import Teacher
from bench.world.world import World

TEXT = "The capital of Norland is Braingrad."


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build.BACKBONES["mini-gpt2"][0](tokenizer_texts(World(0)))


@pytest.fixture
def teacher(tokenizer: PreTrainedTokenizerFast) -> Teacher:
    return Teacher(load(locate("mini-llama", world_seed=0)), tokenizer)


@pytest.fixture
def student(tokenizer: PreTrainedTokenizerFast) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return build.BACKBONES["mini-gpt2"][1](tokenizer)


@pytest.fixture
def batch(tokenizer: PreTrainedTokenizerFast) -> tuple[torch.Tensor, ...]:
    ids = torch.tensor([tokenizer(TEXT, add_special_tokens=False)["input_ids"]])
    return ids, torch.ones(ids.shape), torch.zeros(1, 1, dtype=torch.long)


@torch.no_grad()
def test_heads_look_as_far_back_as_the_teachers_when_only_distance_matters(
    teacher: Teacher,
) -> None:
    """Of mean content: the scores of quick pairs are those of the teacher's rotated ones."""
    attention = teacher.layers[0].self_attn
    width, half, scale, norm = teacher.width, attention.head_dim // 2, 3.0, 0.7
    mean = torch.randn(width, generator=torch.Generator().manual_seed(5))
    table = torch.zeros(width + 2 * half, 3 * (width + 2 * half))
    _start_heads(table, attention, mean, scale, norm)
    angles = torch.arange(40)[:, None] * teacher.model.model.rotary_emb.inv_freq
    waves = torch.stack([angles.cos(), angles.sin()], -1).flatten(1)
    read = torch.cat([(mean / scale).expand(40, -1), 2**0.5 * POSITION_SIZE * waves / norm], 1)
    pairs = (read @ table)[:, : 2 * len(table)].view(40, 2, -1)[..., :width]
    query, key = pairs.reshape(40, 2, -1, 2, half)[..., :QUICK].unbind(1)  # [40, heads, 2, QUICK]
    scores = torch.einsum("ihsp,jhsp->ijhp", query, key)
    turned = [
        torch.polar(torch.ones(()), angles)[:, None, :QUICK]
        * torch.complex(*(weight @ mean).view(-1, 2, half)[..., :QUICK].unbind(1))
        for weight in (attention.q_proj.weight, attention.k_proj.weight)
    ]
    wanted = torch.einsum("ihp,jhp->ijhp", turned[0], turned[1].conj()).real
    torch.testing.assert_close(scores, wanted, atol=1e-3, rtol=1e-3)
    assert (scores[20, 19] - scores[20, 0]).abs().max() > 1e-2


@torch.no_grad()
def test_positions_are_waves_of_a_given_size(student: Any, teacher: Teacher) -> None:
    Blockwise(student, teacher)
    waves = student.transformer.wpe.weight[:, teacher.width :]
    assert not student.transformer.wpe.weight[:, : teacher.width].any()
    assert not student.transformer.wte.weight[:, teacher.width :].any()
    torch.testing.assert_close(waves.pow(2).mean(1).sqrt(), torch.full((512,), POSITION_SIZE))
    near, far = waves[:-1] - waves[1:], waves[:-20] - waves[20:]
    assert far.norm(dim=1).min() > near.norm(dim=1).max()


def test_perfect_blocks_have_no_distance(
    student: Any, teacher: Teacher, batch: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """States that are the model's own leave its loss on the tokens alone."""
    blocks = Blockwise(student, teacher)
    width, parts = teacher.width, student.transformer
    own: list[torch.Tensor] = []
    read = [*(norm for block in parts.h for norm in (block.ln_2, block.ln_1)), parts.ln_f]
    hooks = [
        norm.register_forward_pre_hook(lambda _, args: own.append(args[0].detach()))
        for norm in read
        if norm is not parts.h[0].ln_1
    ]
    with torch.no_grad():  # no block changes the positions
        for block in student.transformer.h:
            block.attn.c_proj.weight[:, width:] = 0
            block.mlp.c_proj.weight[:, width:] = 0
        tokens = causal_loss(student, batch)
    for hook in hooks:
        hook.remove()
    monkeypatch.setattr(teacher, "states", lambda ids: [state[..., :width] for state in own])
    torch.testing.assert_close(blocks.loss(student, batch), LOSS_WEIGHT * tokens)


def test_every_block_learns_at_once(
    student: Any, teacher: Teacher, batch: tuple[torch.Tensor, ...]
) -> None:
    blocks = Blockwise(student, teacher)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = blocks.loss(student, batch)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    for block in student.transformer.h:
        assert block.mlp.c_fc.weight.grad.abs().sum() > 0


def test_other_models_are_refused(teacher: Teacher) -> None:
    with pytest.raises(ValueError, match=r"Only GPT-2 of 4 blocks .* got llama of 4 blocks"):
        Blockwise(teacher.model, teacher)
