"""Training RECIPE: draws, schedule, selection, held-out scores and the ablation's threshold."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import tiny_llama
from editors.parts.artefact import read_artefact
from editors.parts.recipe.hparams import TINY, RecipeHparams
from editors.parts.recipe.training import (
    BatchSampler,
    calibrated_threshold,
    ramp_at,
    threshold_after,
)
from editors.parts.training.examples import Example, Question
from editors.recipe import RecipeEditor
from tests.support.tiny_files import resources, samples

QUICK = dataclasses.replace(TINY, iterations=8, checkpoint_interval=2, ramp_start=2, ramp_end=4)


def trained(
    directory: Path, hparams: RecipeHparams = QUICK, steps: list[Mapping[str, float]] | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights and header of a training on forty edits."""
    progress = None if steps is None else steps.append
    lm, data = tiny_llama(), {"zsre": samples()}
    given = resources(directory)
    path = RecipeEditor.fit(lm, data, hparams, given, out=directory / "out", progress=progress)
    return read_artefact(path)


def test_the_losses_go_down(tmp_path: Path) -> None:
    hparams = dataclasses.replace(
        TINY, iterations=60, schedule="joint", learning_rate=5e-3, dropout=False
    )
    steps: list[Mapping[str, float]] = []
    trained(tmp_path, hparams, steps)
    for term in ("loss", "reliability", "generality", "neighbour"):
        assert fmean(s[term] for s in steps[-10:]) < 0.95 * fmean(s[term] for s in steps[:10]), term


def test_the_smallest_held_out_or_running_loss_selects(tmp_path: Path) -> None:
    weights, header = trained(tmp_path)
    selectable = [e for e in header["history"] if e["iteration"] >= QUICK.ramp_end]
    best = min(selectable, key=lambda entry: entry["held_out_loss"])
    assert header["selected_iteration"] == best["iteration"]
    assert header["selected_loss"] == best["held_out_loss"]
    assert "prompt_reliability" in header["validation"]["zsre"]
    assert weights["encoder.roberta.pooler.dense.weight"].dtype == torch.float32
    ema = dataclasses.replace(QUICK, selection="ema")
    _, header = trained(tmp_path / "ema", ema)
    selectable = [e for e in header["history"] if e["iteration"] >= QUICK.ramp_end]
    assert header["selected_loss"] == min(entry["running_loss"] for entry in selectable)


def test_half_precision_is_rounded_once(tmp_path: Path) -> None:
    single, _ = trained(tmp_path)
    half, _ = trained(tmp_path / "half", dataclasses.replace(QUICK, artefact_dtype="float16"))
    assert all(torch.equal(tensor, single[name].half()) for name, tensor in half.items())


def test_weights_that_differ_in_use_alone_are_the_same(tmp_path: Path) -> None:
    trained(tmp_path)
    # `calibration` is of a threshold that they lack.
    trained(tmp_path, dataclasses.replace(QUICK, prompts="words", calibration=7))
    with pytest.raises(ValueError, match="hparams"):
        trained(tmp_path, dataclasses.replace(QUICK, gate="threshold"))


def test_the_ramp_is_off_then_rises_then_stays() -> None:
    ramps = [ramp_at(iteration, QUICK) for iteration in range(6)]
    assert ramps == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1])
    joint = dataclasses.replace(QUICK, schedule="joint")
    assert ramp_at(0, joint) == 1


# ---- Draws --------------------------------------------------------------------------------------


def question(*encoded: int) -> Question:
    """A question whose ids, for the encoder and for the model, are given."""
    return Question("", encoded, encoded, encoded)


def example(
    fact: tuple[int, ...],
    own: Question,
    related: tuple[tuple[Question, ...], ...],
    unrelated: Question,
) -> Example:
    return Example("", fact, own, related, ((unrelated,),))


def test_probes_are_drawn_uniformly_over_types_first() -> None:
    rare, common = (question(1),), tuple(question(2) for _ in range(9))
    only = example((0,), question(0), (rare, common), question(3))
    sampler = BatchSampler({"a": [only]}, TINY, seed=1)
    batches = [sampler.draw_batch() for _ in range(250)]
    queries = [ids[0] for batch in batches for ids in batch.queries[4:8]]
    answers = [prompt[0] for batch in batches for prompt, _ in batch.rows[4:8]]
    assert queries != answers  # drawn separately
    for column in (queries, answers):
        assert 0.45 < Counter(column)[1] / len(column) < 0.55
    halves = [first for batch in batches for first in batch.generality_first]
    assert 0.45 < sum(halves) / len(halves) < 0.55


# ---- The threshold in the sentinel's place, by hand ---------------------------------------------


class Network:
    """Ids are the vectors themselves."""

    def knowledge(self, pooled: torch.Tensor) -> torch.Tensor:
        return pooled

    queries = knowledge


OBJECTIVE: Any = SimpleNamespace(
    trained=SimpleNamespace(
        network=Network(), pooled=lambda rows, device: torch.tensor(rows, device=device).float()
    ),
    lm=SimpleNamespace(device=torch.device("cpu")),
)


@pytest.mark.parametrize(
    ("rephrase", "unrelated", "threshold"),
    [
        # Keys (1, 0) and (0, 1): a query scores its larger number. Related scores 9, 5, 8, 6, all
        # of their own edit; unrelated 3 and 2.
        ((5, 2), ((3, 1), (1, 2)), 4),
        # The rephrase finds the other edit with 4. Above 5: 9, 8, 6 of four are hits, no false one.
        ((2, 4), ((5, 1), (1, 3)), 5.5),
    ],
)
def test_the_threshold_lies_between_related_and_unrelated_questions(
    rephrase: tuple[int, int], unrelated: tuple[tuple[int, int], ...], threshold: float
) -> None:
    first = example((1, 0), question(9, 1), ((question(*rephrase),),), question(*unrelated[0]))
    second = example((0, 1), question(1, 8), ((question(2, 6),),), question(*unrelated[1]))
    assert calibrated_threshold(OBJECTIVE, {"a": [first, second]}) == pytest.approx(threshold)


def test_data_sets_are_streams_of_their_own() -> None:
    near = example((1, 0), question(4, 1), ((question(4, 1),),), question(0, 9))
    far = example((0, 1), question(1, 8), ((question(1, 8),),), question(9, 2))
    together = calibrated_threshold(OBJECTIVE, {"a": [near], "b": [far]})
    assert together == pytest.approx(3)  # between 2 and 4; in one stream 9 would be false hits


@pytest.mark.parametrize(
    ("edits", "further", "threshold"),
    [
        # Alone each finds itself, with 9 and 5; the unrelated questions score 1 and 2.
        (1, (), 3.5),
        # Both in one stream: the first's key scores 6 with the second's question, which is no hit.
        (2, (), 4),
        # There is no third held-out edit: a training edit fills the stream, and unrelated score 7.
        (3, ((0, 0, 7),), 8),
        (9, ((0, 0, 7),), 8),
    ],
)
def test_a_threshold_is_chosen_in_streams_of_held_out_edits(
    edits: int, further: tuple[tuple[int, ...], ...], threshold: float
) -> None:
    first = example((1, 0, 0), question(9, 0, 0), (), question(1, 0, 1))
    second = example((0, 1, 0), question(6, 5, 0), (), question(0, 2, 1))
    training = [example(key, question(99, 0, 0), (), question(99, 0, 0)) for key in further]
    chosen = threshold_after(edits, OBJECTIVE, {"a": [first, second]}, {"a": training})
    assert chosen == pytest.approx(threshold)
