from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from bench.checks.contract.tiny import CONTEXT, INNER, leftovers, tiny_llama
from editors.memit import KeySolver, Solver
from editors.parts.covariance import InverseCovariance, second_moments
from editors.parts.hooks import captured_input
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import prompt_ids

TEXTS = ("A short one.", "A text that is somewhat longer.", "", "Another.") * 3


@torch.no_grad()
def test_it_is_the_mean_outer_product_over_all_real_tokens(tiny_lm: LanguageModel) -> None:
    moments = second_moments(tiny_lm, iter(TEXTS), (2, 0), max_length=12)
    for layer in (0, 2):
        module = tiny_lm.module(tiny_lm.architecture.mlp_out, layer)
        total, count = torch.zeros(INNER, INNER, dtype=torch.float64), 0
        for text in TEXTS:
            ids = prompt_ids(tiny_lm.tokenizer, text)[:12]
            if not ids:
                continue
            with captured_input(module) as keys:
                tiny_lm.base(input_ids=torch.tensor([ids]))
            rows = keys.value[0].double()
            total += rows.T @ rows
            count += len(ids)
        assert moments[layer].tokens == count
        torch.testing.assert_close(moments[layer].matrix, total / count, atol=1e-7, rtol=1e-5)
    assert leftovers(tiny_lm.model) == []


def test_it_stops_at_the_wanted_tokens_and_reads_no_further() -> None:
    def endless() -> Iterator[str]:
        while True:
            yield "The same text again."

    moments = second_moments(tiny_llama(), endless(), (0,), max_length=CONTEXT, max_tokens=100)
    assert 100 <= moments[0].tokens < 100 + 3 * CONTEXT


def test_no_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs a corpus"):
        second_moments(tiny_llama(), [], (0,), max_length=8)


def test_fewer_tokens_than_dimensions_are_an_error() -> None:
    wanted = rf"layer 0 is of 8 tokens, fewer than its {INNER} dimensions; .* more text\."
    with pytest.raises(ValueError, match=wanted):
        second_moments(tiny_llama(), ["A text."], (0,), max_length=9)


Matrix = Callable[[int], torch.Tensor]


def by_memit(solver: Solver) -> Callable[[Matrix], object]:
    return lambda matrix: KeySolver(matrix, 9.0, solver)(2, torch.ones(64, 1))


SOLVERS: dict[str, Callable[[Matrix], object]] = {
    "ROME and WILKE": lambda matrix: InverseCovariance(matrix)(2, torch.zeros(1)),
    "MEMIT": by_memit("cached"),
    "MEMIT as the original": by_memit("direct"),
}


def moment_of(keys: torch.Tensor) -> torch.Tensor:
    return (keys.T @ keys / len(keys)).float()


@pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
def test_every_editor_refuses_a_covariance_without_an_inverse(
    solve: Callable[[Matrix], object],
) -> None:
    keys = torch.randn(4096, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sizes = torch.logspace(-3, 2, 64, dtype=torch.float64)  # activations differ by much
    solve(lambda _: moment_of(keys * sizes))
    few = keys[:40].repeat(100, 1)  # many tokens of a few texts: full rank by rounding alone
    with pytest.raises(ValueError, match=r"layer 2 .* differs from 1 by .* 64 dimensions, .* 0\.1"):
        solve(lambda _: moment_of(few * sizes))
    keys[:, 3:5] = 0
    with pytest.raises(ValueError, match=r"layer 2 .*: 2 of its 64 dimensions were 0 at every"):
        solve(lambda _: moment_of(keys))
    with pytest.raises(ValueError, match="layer 2 cannot be inverted"):
        solve(lambda _: torch.full((64, 64), torch.nan))
