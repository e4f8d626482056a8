"""Hints of mini-llama's states: what a model starts with, the term, and that nothing stays."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from bench.backbones import load, locate
from bench.world import build
from bench.world.corpus import tokenizer_texts
from bench.world.imitation import STEPS, Imitation
from bench.world.world import World
from editors.parts.language_model import LanguageModel

STUDENTS = ("mini-gptj", "mini-gpt2")
TEXT = "The capital of Norland is Braingrad."


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(tokenizer_texts(World(0)))


@pytest.fixture
def teacher() -> LanguageModel:
    return load(locate("mini-llama", world_seed=0))


def student(name: str, texts: list[str]) -> tuple[Any, PreTrainedTokenizerFast]:
    make_tokenizer, make_model = build.BACKBONES[name]
    tokens = make_tokenizer(texts)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return make_model(tokens), tokens


def ids_of(tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    return torch.tensor([tokenizer(TEXT, add_special_tokens=False)["input_ids"]])


@torch.no_grad()
def behind_first_attention(model: Any, imitation: Imitation, ids: torch.Tensor) -> float:
    """How far the stream behind the first attention is from the teacher's."""
    model.base_model(input_ids=ids)
    imitation(ids, 0)
    wanted = imitation._wanted[0][:, 1:]
    got = imitation._states[0][..., : wanted.shape[-1]]
    sides = (F.layer_norm(side, side.shape[-1:]) for side in (got, wanted))
    return float((next(sides) - next(sides)).pow(2).mean())


@pytest.mark.parametrize("name", STUDENTS)
def test_it_starts_with_the_teachers_first_attention(
    name: str, texts: list[str], teacher: LanguageModel
) -> None:
    """Embeddings, token ids, norms, heads and positions in one."""
    model, tokens = student(name, texts)
    imitation = Imitation(model, tokens, teacher)
    block = model.transformer.h[0]
    with torch.no_grad():
        if name == "mini-gptj":  # its MLP adds to the same sum
            block.mlp.fc_out.weight.zero_()
    before = behind_first_attention(model, imitation, ids_of(tokens))
    assert before < 0.15
    with torch.no_grad():  # the comparison can fail
        table = block.attn.q_proj.weight if name == "mini-gptj" else block.attn.c_attn.weight
        table[: len(table) // 2] = 0
    assert behind_first_attention(model, imitation, ids_of(tokens)) > 1.5 * before


@pytest.mark.parametrize("name", STUDENTS)
def test_the_term_falls_when_it_is_followed_and_fades(
    name: str, texts: list[str], teacher: LanguageModel
) -> None:
    model, tokens = student(name, texts)
    imitation = Imitation(model, tokens, teacher)
    ids = ids_of(tokens)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    terms = []
    for _ in range(12):
        model.base_model(input_ids=ids)
        term = imitation(ids, 0)
        optimizer.zero_grad()
        term.backward()
        optimizer.step()
        terms.append(float(term.detach()))
    assert terms[-1] < 0.7 * terms[0]
    model.base_model(input_ids=ids)
    scale = [float(imitation(ids, step).detach()) for step in (0, STEPS // 2, STEPS * 3 // 4)]
    assert scale[0] == pytest.approx(scale[1], rel=0.01)
    assert scale[2] == pytest.approx(scale[0] / 2, rel=0.01)
    assert float(imitation(ids, STEPS)) == 0


@pytest.mark.parametrize("name", STUDENTS)
def test_nothing_stays_in_either_model(name: str, texts: list[str], teacher: LanguageModel) -> None:
    model, tokens = student(name, texts)
    names = set(model.state_dict())
    Imitation(model, tokens, teacher).finish(model)
    assert set(model.state_dict()) == names
    for module in itertools.chain(model.modules(), teacher.model.modules()):
        assert not module._forward_pre_hooks


def test_other_depths_are_refused(teacher: LanguageModel, texts: list[str]) -> None:
    model, tokens = student("mini-llama", texts)
    with pytest.raises(ValueError, match="GPT-J of 8 or GPT-2 of 4 blocks"):
        Imitation(model, tokens, teacher)
