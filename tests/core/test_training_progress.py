"""What long trainings say into a pipe: a line a checkpoint, rates that make sense."""

from __future__ import annotations

import re

import pytest

from bench.core.training_progress import show_steps
from bench.world.training.pretrain import PIPE_EVERY, step_progress


def test_a_pipe_gets_held_out_scores_and_not_the_loss_terms_of_the_same_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with show_steps() as step:
        step({"iteration": 1, "iterations": 2, "running_loss": 2.0, "reliability": 2.5})
        assert capsys.readouterr().err == ""
        step(
            {
                "iteration": 2,
                "iterations": 2,
                "running_loss": 1.5,
                "reliability": 2.5,
                "held_out_loss": 1.25,
                "zsre.reliability": 0.5,
                "zsre.hit_reliability": 0.75,
            }
        )
    captured = capsys.readouterr()
    assert captured.err == "2: running_loss 1.500, held_out_loss 1.250, zsre.reliability 50.0\n"
    assert captured.out == ""


def test_a_second_stage_counts_from_its_own_first_step(capsys: pytest.CaptureFixture[str]) -> None:
    report = step_progress("model")
    for step in (PIPE_EVERY + 10, 2 * PIPE_EVERY):  # a resumed first stage
        report(step, 2 * PIPE_EVERY, 1.0)
    for step in (10, PIPE_EVERY):
        report(step, 4 * PIPE_EVERY, 1.0)
    rates = [float(rate) for rate in re.findall(r"(\S+) steps/s", capsys.readouterr().err)]
    assert len(rates) == 2
    assert all(rate > 0 for rate in rates)
