"""Hints of mini-llama's states: what mini-gptj starts with, the term, and that nothing stays."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from bench.models.backbones import load, locate
from bench.world import build
from bench.world.corpus import tokenizer_texts
from bench.world.imitation import STEPS, Imitation
from bench.world.teacher import Teacher
from bench.world.world import World
from editors.parts.language_model import LanguageModel

TEXT = "The capital of Norland is Braingrad."


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build.BACKBONES["mini-gptj"][0](tokenizer_texts(World(0)))


@pytest.fixture
def lm() -> LanguageModel:
    return load(locate("mini-llama", world_seed=0))


@pytest.fixture
def teacher(lm: LanguageModel, tokenizer: PreTrainedTokenizerFast) -> Teacher:
    return Teacher(lm, tokenizer)


@pytest.fixture
def student(tokenizer: PreTrainedTokenizerFast) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return build.BACKBONES["mini-gptj"][1](tokenizer)


@pytest.fixture
def ids(tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    return torch.tensor([tokenizer(TEXT, add_special_tokens=False)["input_ids"]])


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
def behind_first_attention(model: Any, teacher: Teacher, ids: torch.Tensor) -> float:
    """How far the stream behind the first attention is from the teacher's."""
    got = model.transformer(input_ids=ids, output_hidden_states=True).hidden_states[1]
    sides = (F.layer_norm(side, side.shape[-1:]) for side in (got, teacher.states(ids)[0]))
    return float((next(sides) - next(sides)).pow(2).mean())


def test_it_starts_with_the_teachers_first_attention(
    student: Any, teacher: Teacher, ids: torch.Tensor
) -> None:
    """Embeddings, token ids, norms, heads and positions in one."""
    Imitation(student, teacher)
    block = student.transformer.h[0]
    with torch.no_grad():
        block.mlp.fc_out.weight.zero_()  # it adds to the same sum
    before = behind_first_attention(student, teacher, ids)
    assert before < 0.15
    with torch.no_grad():  # the comparison can fail
        block.attn.q_proj.weight[:64] = 0
    assert behind_first_attention(student, teacher, ids) > 1.5 * before


def test_the_term_falls_when_it_is_followed_and_fades(
    student: Any, teacher: Teacher, ids: torch.Tensor
) -> None:
    imitation = Imitation(student, teacher)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
    terms = []
    for _ in range(12):
        student.base_model(input_ids=ids)
        term = imitation(ids, 0)
        optimizer.zero_grad()
        term.backward()
        optimizer.step()
        terms.append(float(term.detach()))
    assert terms[-1] < 0.7 * terms[0]
    student.base_model(input_ids=ids)
    scale = [float(imitation(ids, step).detach()) for step in (0, STEPS // 2, STEPS * 3 // 4)]
    assert scale[0] == pytest.approx(scale[1], rel=0.01)
    assert scale[2] == pytest.approx(scale[0] / 2, rel=0.01)
    assert float(imitation(ids, STEPS)) == 0


def test_nothing_stays_in_either_model(student: Any, teacher: Teacher) -> None:
    names = set(student.state_dict())
    Imitation(student, teacher).finish()
    teacher.release()
    assert set(student.state_dict()) == names
    for module in itertools.chain(student.modules(), teacher.model.modules()):
        assert not module._forward_pre_hooks


def test_other_models_are_refused(lm: LanguageModel, teacher: Teacher) -> None:
    with pytest.raises(ValueError, match=r"Only GPT-J of 8 blocks .* got llama of 4"):
        Imitation(lm.model, teacher)
