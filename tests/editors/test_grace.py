from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.checks.contract.tiny import (
    REQUESTS,
    batch_for,
    log_probability,
    logits,
    tiny_gpt2,
    tiny_llama,
)
from editors.base import EditRequest, Resources
from editors.grace import SPLIT_GAP, GraceEditor, GraceHparams, GraceMode, update_codebook
from editors.parts.generation import Stop, greedy
from editors.parts.grace import Codebook, Replacement, TargetLabel
from editors.parts.hooks import captured_output
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import batch_of_ids

HPARAMS = GraceHparams(layer=1, n_iter=5, eps=0.5)
KINDS: tuple[Replacement, ...] = ("replace_last", "replace_all", "replace_prompt")
PAIRS = [(request.prompt, request.target) for request in REQUESTS[:3]]


def editor_of(lm: LanguageModel, **changes: Any) -> GraceEditor:
    return GraceEditor(lm, dataclasses.replace(HPARAMS, **changes), Resources(seed=4))


@torch.no_grad()
def outputs(editor: GraceEditor) -> tuple[Tensor, Tensor]:
    """The layer's outputs [3, T, d] for `PAIRS`: as edited, and of the plain model."""
    batch = batch_for(editor.lm, PAIRS)
    # The capture is entered inside the steering, so its hook sees the replaced output.
    with editor.steering(batch), captured_output(editor.module) as steered:
        editor.lm.hidden_states(batch)
    with captured_output(editor.module) as plain:
        editor.lm.hidden_states(batch)
    return steered.value, plain.value


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_edited_rows_change_and_only_where_the_kind_says(kind: Replacement) -> None:
    editor = editor_of(tiny_llama(), replacement=kind)
    editor.edit([REQUESTS[0], REQUESTS[2]])
    batch = batch_for(editor.lm, PAIRS)
    steered, plain = outputs(editor)
    assert torch.equal(steered[1], plain[1])
    for row, key in ((0, 0), (2, 1)):
        end = batch.prompt_lengths[row] - 1
        width = batch.input_ids.shape[1]
        places = {"replace_last": [end], "replace_all": range(width), "replace_prompt": range(end)}
        changed = (steered[row] != plain[row]).any(dim=-1).nonzero()[:, 0].tolist()
        assert changed == list(places[kind])
        assert all(torch.equal(steered[row, p], editor.codebook.values[key]) for p in changed)


@pytest.mark.parametrize("kind", KINDS)
def test_cached_decoding_is_teacher_forcing_for_every_kind(kind: Replacement) -> None:
    lm = tiny_gpt2()
    editor = editor_of(lm, replacement=kind)
    editor.edit(REQUESTS[:2])
    batch = batch_for(lm, [(prompt, "") for prompt, _ in PAIRS])
    with editor.steering(batch):
        generated = greedy(lm, batch, max_new_tokens=4, stop=Stop())
    rows = [batch.input_ids[i, :n].tolist() for i, n in enumerate(batch.prompt_lengths)]
    forced = batch_of_ids(rows, generated, batch.texts, padding=0, device=lm.device)
    with torch.no_grad(), editor.steering(forced):
        best = lm.target_logits(forced).argmax(-1)
    assert best.tolist() == [token for ids in generated for token in ids]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_another_target_of_the_same_prompt_takes_the_key_over_whatever_its_length(
    tiny_lm: LanguageModel, dtype: torch.dtype
) -> None:
    model: Any = tiny_lm.model
    editor = editor_of(LanguageModel(model.to(dtype), tiny_lm.tokenizer), n_iter=1)
    targets = ["b", "cde", "fghijklmnopqrstuvw", "xy", "z" * 40]
    for prompt in ("The long way to Arl is", "Bem", "a" * 31):
        editor.reset()
        events = [
            editor.edit_row(batch_for(editor.lm, [(prompt, target)])).event for target in targets
        ]
        assert events == ["init", *["rewrite"] * 4]
        assert len(editor.codebook) == 1


@pytest.mark.parametrize("projection", ["mlp_in", "mlp_out"])
def test_either_projection_of_any_architecture_can_be_wrapped(
    tiny_lm: LanguageModel, projection: str
) -> None:
    editor = editor_of(tiny_lm, projection=projection)
    before = log_probability(editor, REQUESTS[0])
    editor.edit(REQUESTS[:1])
    assert log_probability(editor, REQUESTS[0]) > before


def test_warm_values_start_at_the_layers_own_output_and_draw_nothing() -> None:
    editor = editor_of(tiny_llama(), val_init="warm", edit_lr=1e-9)
    before, draws = logits(editor, PAIRS), editor.state_dict()["generator"]
    editor.edit(REQUESTS[:1])
    torch.testing.assert_close(logits(editor, PAIRS), before, atol=1e-4, rtol=1e-4)
    assert torch.equal(editor.state_dict()["generator"], draws)


def test_cold_values_are_uniform_and_drawn_for_new_keys_only() -> None:
    editor = editor_of(tiny_llama(), edit_lr=1e-9)
    editor.edit(REQUESTS[:1])
    generator = torch.Generator().manual_seed(4)
    expected = torch.rand(editor.lm.hidden_size, generator=generator)
    torch.testing.assert_close(editor.codebook.values[0], expected)
    draws = editor.state_dict()["generator"]
    assert torch.equal(draws, generator.get_state())
    editor.edit(REQUESTS[:1])  # reuses its key
    assert torch.equal(editor.state_dict()["generator"], draws)


def test_the_sticky_position_is_easyedits_alone() -> None:
    short = EditRequest(prompt="Ada is", target="in", subject="Ada")
    scores = []
    for mode in ("default", "easyedit"):
        editor = editor_of(tiny_llama(), mode=mode)
        editor.edit([REQUESTS[0], short])
        scores.append(log_probability(editor, REQUESTS[0]))
        editor.reset()
        editor.edit([REQUESTS[0]])
        scores.append(log_probability(editor, REQUESTS[0]))
    assert scores[0] == scores[1] == scores[3]
    assert scores[2] < scores[3]  # looked up where the last edited prompt ended


# ---- Algorithm 1 by hand -----------------------------------------------------------------------

HERE, THERE = TargetLabel(3, (7, 8)), TargetLabel(3, (9,))
SWAPPED = TargetLabel(3, (8, 7))  # the same mean as HERE


@dataclasses.dataclass
class Book(Codebook):
    """A codebook that Algorithm 1 updates, with a key at the origin in the first place."""

    hparams: GraceHparams

    def __post_init__(self) -> None:
        super().__init__()
        assert self.insert(0.0, HERE) == "init"

    def insert(self, x: float, label: TargetLabel) -> str:
        return update_codebook(self, at(x), label, lambda: at(x) + 1, self.hparams)


def codebook(**changes: Any) -> Book:
    return Book(GraceHparams(layer=None, **changes))


def at(x: float) -> Tensor:
    return torch.tensor([x, 0.0])


@pytest.mark.parametrize(
    ("mode", "edits", "events", "radii"),
    [
        ("default", [(2.1, THERE)], ["new"], [1.0, 1.0]),  # beyond both radii
        ("default", [(1.5, THERE)], ["split"], [0.75 - SPLIT_GAP, 0.75]),
        ("default", [(0.5, HERE)], ["reuse"], [1.0]),
        ("default", [(1.5, HERE)], ["expand"], [1.5]),
        ("original", [(0.5, SWAPPED)], ["reuse"], [1.0]),  # by the mean of the label
        ("default", [(0.5, SWAPPED)], ["split"], [0.25 - SPLIT_GAP, 0.25]),
        # Key 0 has the label THERE, as key N - 1 - i has it.
        ("easyedit", [(5.0, THERE), (0.5, HERE)], ["new", "split"], [0.25, 1.0, 0.25]),
        ("original", [(5.0, THERE), (0.5, HERE)], ["new", "reuse"], [1.0, 1.0]),
        # The very same query: the original has a negative radius then, and loses both edits.
        ("default", [(0.0, THERE)], ["rewrite"], [1.0]),
        ("original", [(0.0, THERE)], ["split"], [-SPLIT_GAP, 0.0]),
    ],
)
def test_algorithm_1_by_hand(
    mode: GraceMode, edits: list[tuple[float, TargetLabel]], events: list[str], radii: list[float]
) -> None:
    book = codebook(mode=mode)
    assert [book.insert(*edit) for edit in edits] == events
    torch.testing.assert_close(book.radii, torch.tensor(radii), atol=1e-5, rtol=0)
    if events == ["rewrite"]:
        assert (book.labels, book.values.tolist()) == ([THERE], [[1.0, 1.0]])
    if events == ["expand"]:
        assert book.retrieve(at(1.5)[None])[1].tolist() == [True]
    if radii[0] < 0:
        assert book.retrieve(at(0.0)[None])[1].tolist() == [False]


@pytest.mark.parametrize("mode", ["default", "original", "easyedit"])
def test_only_the_default_mode_widens_a_radius_beyond_the_distance(mode: GraceMode) -> None:
    book = codebook(mode=mode)
    assert book.insert(1.7, HERE) == "expand"
    (_,), (distance,) = book.nearest(at(1.7)[None])
    assert (book.radii[0] == distance) == (mode != "default")
    assert book.retrieve(at(1.7)[None])[1].tolist() == [True]


def test_a_relative_radius_is_in_units_of_the_new_keys_norm() -> None:
    book = codebook(eps=0.5, eps_unit="key_norm")
    assert [book.insert(x, HERE) for x in (4.0, -8.0)] == ["new", "new"]
    assert book.radii.tolist() == [0.0, 2.0, 4.0]
    assert book.insert(17.0, THERE) == "new"  # 13 away, beyond 2 and its own 8.5
    assert book.insert(7.0, THERE) == "split"  # 3 away, within 2 and its own 3.5


def test_retrieval_is_inclusive_and_by_row() -> None:
    book = codebook()
    book.insert(4.0, THERE)
    index, hit = book.retrieve(torch.stack([at(1.0), at(1.5), at(3.0), at(5.5)]))
    assert index.tolist() == [0, 0, 1, 1]
    assert hit.tolist() == [True, False, True, False]


def test_distances_are_exact_also_among_many_keys_and_queries() -> None:
    book = Codebook()
    keys = 100 + torch.arange(40.0)[:, None].expand(40, 3)
    for number, key in enumerate(keys):
        book.append(key, TargetLabel(1, (number,)), key, torch.tensor(1e-3))
    index, distance = book.nearest(keys)
    assert index.tolist() == list(range(40))
    assert distance.tolist() == [0.0] * 40


def test_the_mean_of_a_label_counts_the_prompt() -> None:
    assert TargetLabel(6, (44, 45)).mean == (6 * -100 + 44 + 45) / 8
