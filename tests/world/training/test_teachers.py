"""Starts from a trained backbone: inheriting weights, imitating states, learning block by block."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from bench.checks.contract.tiny import TINY
from bench.models.backbones import load, locate
from bench.world.corpus import tokenizer_texts
from bench.world.training import build
from bench.world.training.pretrain import causal_loss
from bench.world.training.teachers import (
    IMITATION_STEPS,
    LOSS_WEIGHT,
    POSITION_SIZE,
    QUICK,
    Blockwise,
    Imitation,
    Teacher,
    _start_heads,
    inherit,
)
from bench.world.world import World
from editors.parts.language_model import LanguageModel

TEXT = "The capital of Norland is Braingrad."


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """Of GPT's family, for both students."""
    return build.BACKBONES["mini-gptj"][0](tokenizer_texts(World(0)))


@pytest.fixture
def lm() -> LanguageModel:
    return load(locate("mini-llama", world_seed=0))


@pytest.fixture
def teacher(lm: LanguageModel, tokenizer: PreTrainedTokenizerFast) -> Teacher:
    return Teacher(lm, tokenizer)


def student(name: str, tokenizer: PreTrainedTokenizerFast) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return build.BACKBONES[name][1](tokenizer)


@pytest.fixture
def gptj(tokenizer: PreTrainedTokenizerFast) -> Any:
    return student("mini-gptj", tokenizer)


@pytest.fixture
def gpt2(tokenizer: PreTrainedTokenizerFast) -> Any:
    return student("mini-gpt2", tokenizer)


@pytest.fixture
def ids(tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    return torch.tensor([tokenizer(TEXT, add_special_tokens=False)["input_ids"]])


@pytest.fixture
def batch(ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return ids, torch.ones(ids.shape), torch.zeros(1, 1, dtype=torch.long)


def losses_of(model: Any, steps: int, loss_of: Callable[[], torch.Tensor]) -> list[float]:
    """The loss before each of some steps."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_rows_go_by_the_token_and_the_rest_as_it_is(tiny_lm: LanguageModel) -> None:
    parent, child = tiny_lm, TINY[tiny_lm.model.config.model_type]()
    with torch.no_grad():
        for weight in child.model.parameters():
            weight.zero_()
    before = parent.tokenizer.get_vocab()
    last = max(before.values())
    # Every token one id further down, and one that the parent does not have.
    moved = {token: (i + 1) % (last + 1) for token, i in before.items()}
    fresh = next(token for token, i in moved.items() if i == 5)
    moved["a new token"] = moved.pop(fresh)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer: Any = SimpleNamespace(get_vocab=lambda: moved)
        assert inherit(child.model, tokenizer, parent) == len(before) - 1
    tables = ("get_input_embeddings", "get_output_embeddings")
    for table in tables:
        theirs = getattr(parent.model, table)().weight
        ours = getattr(child.model, table)().weight
        shared = [i for i in range(1, last + 1) if i != 5]
        assert torch.equal(ours[shared], theirs[[i - 1 for i in shared]])
        assert not torch.equal(ours[5], theirs[4])
        assert torch.equal(ours[0], theirs[last])
    named = {id(getattr(child.model, table)().weight) for table in tables}
    theirs_of = dict(parent.model.named_parameters())
    for name, weight in child.model.named_parameters():
        if id(weight) not in named:
            assert torch.equal(weight, theirs_of[name])


def test_the_teacher_reads_the_same_text_in_its_own_ids(
    lm: LanguageModel, teacher: Teacher, ids: torch.Tensor
) -> None:
    theirs = lm.tokenizer(TEXT, return_tensors="pt")["input_ids"]
    assert teacher.tokens[ids].tolist() == theirs[:, 1:].tolist()
    with torch.no_grad():
        wanted = lm.model(theirs, output_hidden_states=True).hidden_states
    states = teacher.states(ids)
    assert len(states) == 2 * len(teacher.layers)
    for layer, state in enumerate(states[1:-1:2]):
        torch.testing.assert_close(state, wanted[layer + 1][:, 1:])


@torch.no_grad()
def after_first_attention(model: Any, teacher: Teacher, ids: torch.Tensor) -> float:
    """How far the stream after the first attention is from the teacher's."""
    got = model.transformer(input_ids=ids, output_hidden_states=True).hidden_states[1]
    sides = (F.layer_norm(side, side.shape[-1:]) for side in (got, teacher.states(ids)[0]))
    return float((next(sides) - next(sides)).pow(2).mean())


def test_it_starts_with_the_teachers_first_attention(
    gptj: Any, teacher: Teacher, ids: torch.Tensor
) -> None:
    """Embeddings, token ids, norms, heads and positions together."""
    Imitation(gptj, teacher)
    block = gptj.transformer.h[0]
    with torch.no_grad():
        block.mlp.fc_out.weight.zero_()  # it adds to the same sum
    before = after_first_attention(gptj, teacher, ids)
    assert before < 0.15
    with torch.no_grad():  # the comparison can fail
        block.attn.q_proj.weight[:64] = 0
    assert after_first_attention(gptj, teacher, ids) > 1.5 * before


def test_the_term_falls_when_it_is_followed_and_fades(
    gptj: Any, teacher: Teacher, ids: torch.Tensor
) -> None:
    imitation = Imitation(gptj, teacher)

    def term(step: int = 0) -> torch.Tensor:
        gptj.base_model(input_ids=ids)
        return imitation(ids, step)

    terms = losses_of(gptj, 12, term)
    assert terms[-1] < 0.7 * terms[0]
    steps = (0, IMITATION_STEPS // 2, IMITATION_STEPS * 3 // 4)
    whole, half_time, later = (float(term(step).detach()) for step in steps)
    assert whole == pytest.approx(half_time, rel=0.01)
    assert later == pytest.approx(whole / 2, rel=0.01)
    assert float(term(IMITATION_STEPS)) == 0


def test_nothing_stays_in_either_model(gptj: Any, teacher: Teacher) -> None:
    names = set(gptj.state_dict())
    Imitation(gptj, teacher).finish()
    teacher.release()
    assert set(gptj.state_dict()) == names
    for module in itertools.chain(gptj.modules(), teacher.model.modules()):
        assert not module._forward_pre_hooks


@torch.no_grad()
def test_heads_look_as_far_back_as_the_teachers_when_only_distance_matters(
    teacher: Teacher,
) -> None:
    """Of mean content, the scores of quick pairs are those of the teacher's rotated ones."""
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
def test_positions_are_waves_of_a_given_size(gpt2: Any, teacher: Teacher) -> None:
    Blockwise(gpt2, teacher)
    waves = gpt2.transformer.wpe.weight[:, teacher.width :]
    assert not gpt2.transformer.wpe.weight[:, : teacher.width].any()
    assert not gpt2.transformer.wte.weight[:, teacher.width :].any()
    torch.testing.assert_close(waves.pow(2).mean(1).sqrt(), torch.full((512,), POSITION_SIZE))
    near, far = waves[:-1] - waves[1:], waves[:-20] - waves[20:]
    assert far.norm(dim=1).min() > near.norm(dim=1).max()


def test_perfect_blocks_have_no_distance(
    gpt2: Any, teacher: Teacher, batch: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the model's own states, the loss is that on the tokens alone."""
    blocks = Blockwise(gpt2, teacher)
    width, parts = teacher.width, gpt2.transformer
    own: list[torch.Tensor] = []
    read = [*(norm for block in parts.h for norm in (block.ln_2, block.ln_1)), parts.ln_f]
    hooks = [
        norm.register_forward_pre_hook(lambda _, args: own.append(args[0].detach()))
        for norm in read
        if norm is not parts.h[0].ln_1
    ]
    with torch.no_grad():  # no block changes the positions
        for block in gpt2.transformer.h:
            block.attn.c_proj.weight[:, width:] = 0
            block.mlp.c_proj.weight[:, width:] = 0
        tokens = causal_loss(gpt2, batch)
    for hook in hooks:
        hook.remove()
    monkeypatch.setattr(teacher, "states", lambda ids: [state[..., :width] for state in own])
    torch.testing.assert_close(blocks.loss(gpt2, batch), LOSS_WEIGHT * tokens)


def test_every_block_learns_at_once(
    gpt2: Any, teacher: Teacher, batch: tuple[torch.Tensor, ...]
) -> None:
    blocks = Blockwise(gpt2, teacher)
    losses = losses_of(gpt2, 10, lambda: blocks.loss(gpt2, batch))
    assert losses[-1] < 0.7 * losses[0]
    for block in gpt2.transformer.h:
        assert block.mlp.c_fc.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("start", [Imitation, Blockwise])
def test_other_models_are_refused(
    start: Callable[[Any, Teacher], object], lm: LanguageModel, teacher: Teacher
) -> None:
    with pytest.raises(ValueError, match="got llama of 4"):
        start(lm.model, teacher)
