from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import INNER, REQUESTS, tiny_llama
from editors.base import Resources
from editors.memit import KeySolver, MemitEditor, MemitHparams, Solver, mean_keys
from editors.parts.deltas import tried_out
from editors.parts.hooks import captured_input, captured_output
from editors.parts.target_value import TargetRows

HPARAMS = MemitHparams(layers=(0, 2), v_num_grad_steps=3, mom2_update_weight=0.1)
TEMPLATES = ("{}", "So. {}", "It rains again. {}")


def editor_of(templates: tuple[str, ...] = TEMPLATES, **changes: Any) -> MemitEditor:
    resources = Resources(covariance=lambda _: torch.eye(INNER), templates=templates)
    return MemitEditor(tiny_llama(), dataclasses.replace(HPARAMS, **changes), resources)


def test_computing_leaves_the_model_as_it_was() -> None:
    editor = editor_of()
    before = {name: p.detach().clone() for name, p in editor.lm.model.named_parameters()}
    update = editor.compute(REQUESTS[:2])
    assert [insertion.layer for insertion in update.insertions] == [0, 2]
    assert all(torch.equal(p, before[name]) for name, p in editor.lm.model.named_parameters())


def test_requests_of_one_call_are_solved_together() -> None:
    together, one_by_one = editor_of(), editor_of()
    together.edit(REQUESTS[:2])
    for request in REQUESTS[:2]:
        one_by_one.edit([request])
    states = together.state_dict(), one_by_one.state_dict()
    assert states[0].keys() == states[1].keys()
    assert any(not torch.allclose(states[0][name], states[1][name]) for name in states[0])


@torch.no_grad()
def test_keys_and_outputs_are_those_of_whole_forwards_of_the_model_as_written() -> None:
    editor = editor_of(layers=(0, 1, 2))
    lm, rows = editor.lm, TargetRows.of(editor.lm, REQUESTS[:1], TEMPLATES)
    update = editor.compute(REQUESTS[:1])
    with tried_out(lm.model) as weights:
        for insertion in update.insertions:
            mlp_out = lm.module(lm.architecture.mlp_out, insertion.layer)
            with (
                captured_input(mlp_out) as key,
                captured_output(lm.module(lm.architecture.block, 2)) as output,
            ):
                lm.hidden_states(rows.batch)
            keys = mean_keys(rows.at_subjects(key.value)[:, :-1])
            assert torch.equal(keys, insertion.keys)
            assert torch.equal(rows.at_subjects(output.value)[:, 0], insertion.current)
            weights.add([insertion.delta(lm)])


COVARIANCE = torch.tensor([[2.0, 0.0], [0.0, 4.0]])


@pytest.mark.parametrize(
    ("solver", "off_diagonal", "expected"),
    [
        # lambda C + k k^T = diag(20, 40) + [[1, 2], [2, 4]] for k = (1, 2); its inverse times k.
        ("cached", 0.0, [[40 / (21 * 44 - 4)]] * 2),
        ("direct", 0.0, [[40 / (21 * 44 - 4)]] * 2),
        # Only the mean eigenvalue of C, 3, counts: (30 I + k k^T)^-1 k = k / (30 + k.k).
        ("isotropic", 1.0, [[1 / 35], [2 / 35]]),
    ],
)
def test_a_key_as_computed_by_hand(
    solver: Solver, off_diagonal: float, expected: list[list[float]]
) -> None:
    covariance = COVARIANCE + off_diagonal * torch.ones(2, 2).fill_diagonal_(0)
    adjusted = KeySolver(lambda _: covariance, 10.0, solver)(0, torch.tensor([[1.0], [2.0]]))
    torch.testing.assert_close(adjusted, torch.tensor(expected, dtype=torch.float64))


def test_a_covariance_is_read_and_factorised_once_a_layer() -> None:
    queries: list[int] = []

    def covariance(layer: int) -> torch.Tensor:
        queries.append(layer)
        return COVARIANCE * (layer + 1)

    solve = KeySolver(covariance, 1.0)
    first = solve(0, torch.ones(2, 1))
    solve(1, torch.ones(2, 1))
    assert torch.equal(solve(0, torch.ones(2, 1)), first)
    assert queries == [0, 1]


@pytest.mark.parametrize("solver", ["cached", "direct", "isotropic"])
def test_too_little_text_is_an_error(solver: Solver) -> None:
    solve = KeySolver(lambda _: torch.zeros(2, 2), 1.0, solver)
    with pytest.raises(ValueError, match=r"of layer 3 .*; compute it over more text\."):
        solve(3, torch.ones(2, 1))
