from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import REQUESTS, SAMPLES, batch_for, tiny_gptj, tiny_llama
from editors.base import Resources
from editors.parts.wise import (
    Memories,
    SideTrained,
    WiseHparams,
    activations,
    merged,
    training_rows,
)
from editors.wise import WEIGHT_DECAY, WiseEditor, margin_loss

HPARAMS = WiseHparams(
    layer=1, n_iter=4, alpha=0.5, beta=2.0, gamma=1.0, save_freq=2, merge_freq=4, act_ratio=0.1
)


def editor_of(**changes: Any) -> WiseEditor:
    hparams = dataclasses.replace(HPARAMS, **changes)
    resources = Resources(training=lambda: SAMPLES, templates=("{}", "So. {}"))
    return WiseEditor(tiny_llama(), hparams, resources)


def test_ties_takes_the_largest_and_the_elected_sign() -> None:
    original = torch.tensor([1.0, 1.0, 1.0, 1.0])
    first = original + torch.tensor([4.0, 0.1, -2.0, 0.2])
    other = original + torch.tensor([2.0, 0.3, 3.0, 0.1])
    # Two entries of each count: 4 and -2; 2 and 3. At the third, +3 outvotes -2.
    joined = merged(original, [first, other], [1.0, 1.0], 0.5)
    assert joined.tolist() == [4.0, 1.0, 4.0, 1.0]
    # With most of the share, -2 outvotes +3; where both agree, the mean is weighted.
    joined = merged(original, [first, other], [0.75, 0.25], 0.5)
    assert joined.tolist() == [4.5, 1.0, -1.0, 1.0]


def test_the_margin_loss_by_hand() -> None:
    rows = training_rows(tiny_llama(), REQUESTS[0], ("{}", "So. {}"), "The sky is blue", "row")
    distances = torch.zeros(rows.in_scope.shape)
    assert margin_loss(distances, rows, HPARAMS).item() == 1.0 + 2.0  # gamma and beta
    distances[:2] = 5.0
    assert margin_loss(distances, rows, HPARAMS).item() == 0.0
    distances[2] = 4.5
    loss = margin_loss(distances, rows, HPARAMS).item()
    assert loss == pytest.approx((4.5 - 5 + 1) + (4.5 - 0.5))


def test_a_row_without_marked_positions_has_no_activation() -> None:
    distances = torch.tensor([[1.0, 3.0], [7.0, 7.0], [2.0, 9.0]])
    marked = torch.tensor([[True, True], [False, False], [True, False]])
    assert activations(distances, marked).tolist() == [2.0, 2.0]


def test_every_context_has_the_target_as_labels() -> None:
    lm = tiny_llama()
    rows = training_rows(lm, REQUESTS[0], ("{}", "So. {}"), "The sky is blue", "prompt")
    target = batch_for(lm, [("", REQUESTS[0].target)]).target_ids[0]
    assert rows.labels.tolist() == [*target, *target]
    assert rows.batch.input_ids[rows.rows, rows.columns + 1].tolist() == [*target, *target]
    assert rows.in_scope.any(1).tolist() == [True, True, False]
    assert rows.out_of_scope.any(1).tolist() == [False, False, True]
    # Routing reads prompts alone, so the recorded activation does too.
    in_prompt = rows.recorded.sum(1).tolist()
    whole = rows.in_scope.sum(1).tolist()
    assert [w - p for w, p in zip(whole, in_prompt, strict=True)] == [len(target)] * 2 + [0]


def test_only_masked_entries_learn_and_all_decay() -> None:
    editor = editor_of(norm_constraint=None)
    mask = editor.mask()
    assert 0 < float(mask.mean()) < 0.5
    editor.edit(REQUESTS[:1])
    original, side = editor.layer.original, editor.memories.side
    decayed = original * (1 - editor.hparams.edit_lr * WEIGHT_DECAY) ** editor.hparams.n_iter
    torch.testing.assert_close(side[mask == 0], decayed[mask == 0])
    assert float((side - decayed)[mask == 1].abs().max()) > 1e-3


def test_decay_may_act_on_masked_entries_alone() -> None:
    editor = editor_of(norm_constraint=None, decay="masked")
    mask = editor.mask()
    editor.edit(REQUESTS[:1])
    still = mask == 0
    assert torch.equal(editor.memories.side[still], editor.layer.original[still])


def test_entries_stay_near_the_original_ones() -> None:
    editor = editor_of(norm_constraint=0.01)
    editor.edit(REQUESTS[:2])
    memory = editor.memories.finished[0]
    assert float((memory - editor.layer.original).abs().max()) == pytest.approx(0.01, rel=1e-4)


def test_edits_of_one_memory_share_their_mask_and_others_have_another() -> None:
    editor, masks = editor_of(n_iter=1), []
    for request in REQUESTS:
        masks.append(editor.mask())
        editor.edit([request])
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[2], masks[3])
    assert not torch.equal(masks[0], masks[2])


def test_memories_are_finished_and_merged_in_time() -> None:
    memories = Memories(torch.zeros(2, 2), HPARAMS)
    for number, activation in enumerate((3.0, 2.0, 5.0)):
        memories.take(trained(float(number + 1), activation))
    assert [m.tolist() for m in memories.finished] == [[[2.0, 2.0], [2.0, 2.0]]]
    assert (memories.finished_least, memories.least, memories.shard) == ([2.0], 5.0, 1)
    memories.take(trained(4.0, 6.0))
    assert (memories.finished_least, memories.least) == ([2.0], math.inf)
    assert len(memories.finished) == 1  # the two are one now
    assert memories.side is memories.original


def test_a_second_merge_gives_the_first_six_tenths() -> None:
    hparams = dataclasses.replace(HPARAMS, mode="merge", save_freq=1, merge_freq=1, density=1.0)
    memories = Memories(torch.zeros(1, 2), hparams)
    memories.take(trained(1.0, 1.0, shape=(1, 2)))
    memories.take(trained(2.0, 4.0, shape=(1, 2)))
    assert memories.joined is not None
    torch.testing.assert_close(memories.joined, torch.full((1, 2), 0.4 * 2 + 0.6 * 1))
    assert memories.least == 1.0


@pytest.mark.parametrize(
    ("distances", "route"),
    [((0.0, 0.0), -1), ((0.5, 0.0), 0), ((0.5, 0.6), 1), ((0.0, 0.15), -1), ((0.7, 0.6), 0)],
)
def test_the_most_active_memory_answers(distances: tuple[float, float], route: int) -> None:
    memories = Memories(torch.zeros(2, 2), HPARAMS, count=3)
    memories.least, memories.finished_least = 3.0, [2.0]  # a tenth of them is the threshold
    memories.finished = [torch.ones(2, 2)]
    assert memories.routes(torch.tensor(distances)[:, None]).tolist() == [route]


def test_routing_is_decided_on_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    editor = editor_of()
    editor.edit(REQUESTS[:2])
    seen: list[torch.Tensor] = []
    routes = editor.routes

    def watched(inputs: torch.Tensor, output: torch.Tensor, marked: torch.Tensor) -> torch.Tensor:
        seen.append(marked)
        return routes(inputs, output, marked)

    monkeypatch.setattr(editor, "routes", watched)
    batch = batch_for(editor.lm, [(REQUESTS[0].prompt, REQUESTS[0].target)])
    with torch.no_grad(), editor.steering(batch):
        editor.lm.target_logits(batch)
    assert seen[0].sum().item() == batch.prompt_lengths[0] < batch.lengths[0]


def test_a_projections_bias_belongs_to_every_path() -> None:
    """The original forgets GPT-J's beside the main path: it would be far from itself."""
    lm = tiny_gptj()
    with torch.no_grad():
        lm.module(lm.architecture.mlp_out, 1).get_parameter("bias").normal_()
    editor = WiseEditor(lm, HPARAMS, Resources(training=lambda: SAMPLES))
    inputs = torch.randn(1, 3, editor.layer.original.shape[1])
    own = editor.layer.module(inputs)
    torch.testing.assert_close(editor.layer.answer(inputs, editor.layer.original), own)


def test_training_edits_with_locality_are_wanted() -> None:
    with pytest.raises(ValueError, match="WISE needs training edits in its resources"):
        WiseEditor(tiny_llama(), HPARAMS, Resources())
    bare = tuple(dataclasses.replace(sample, locality=()) for sample in SAMPLES)
    with pytest.raises(ValueError, match="training edits with locality probes"):
        WiseEditor(tiny_llama(), HPARAMS, Resources(training=lambda: bare))


def trained(value: float, activation: float, shape: tuple[int, int] = (2, 2)) -> SideTrained:
    return SideTrained(torch.full(shape, value), activation, (0.0,), (0.0,), None)
