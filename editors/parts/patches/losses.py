"""Losses that tell new neurons where to answer and where to be silent.

Shapes are named as in ZeroYuHuang/Transformer-Patcher: `exp` is the mean of exp(x), `margin` that
of the positive x, `expmargin` that of exp(x) over the positive x; `top5_exp` takes the five largest
terms alone.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

_SHAPE = re.compile(r"(?:top(?P<count>\d+)_)?(?P<kind>exp|margin|expmargin)")


def shaped(excess: Tensor, shape: str) -> Tensor:
    """Scalar penalty of how far values of any shape are on the wrong side; 0 for none.

    Raises:
        ValueError: no such shape.
    """
    match = _SHAPE.fullmatch(shape)
    if match is None:
        raise ValueError(
            f"Unknown loss shape {shape!r}. Available: exp, margin, expmargin, each with topN_."
        )
    terms = excess.flatten()
    if match["kind"] != "exp":
        terms = terms[terms > 0]
    if match["kind"] != "margin":
        terms = terms.exp()
    if match["count"] is not None:
        terms = terms.topk(min(int(match["count"]), len(terms))).values
    return terms.mean() if len(terms) else excess.sum() * 0


def activation_loss(own: Tensor, *, shape: str, margin: float = 0.0) -> Tensor:
    """Penalty of neurons that stay below `margin` at their own positions.

    Args:
        own: pre-activations [E, N], of E examples.
        shape: see the module.
        margin: wanted at least.
    """
    return shaped(margin - own, shape)


def memory_loss(
    memory: Tensor, own: Tensor, *, shapes: tuple[str, str], margins: tuple[float, float]
) -> Tensor:
    """Penalty of neurons that answer to memory rows, relative to their own positions and at all.

    Args:
        memory: pre-activations [M, N] at rows that the neurons should leave alone.
        own: pre-activations [E, N] at the neurons' own positions.
        shapes: of the relative and of the absolute term.
        margins: m1 and m2; the terms take memory - own + m1 and memory - m2.
    """
    stacked = memory[:, None].expand(-1, len(own), -1)  # [M, E, N]
    relative, absolute = stacked - own + margins[0], stacked - margins[1]
    return shaped(relative, shapes[0]) + shaped(absolute, shapes[1])


def silence_loss(responses: Tensor) -> Tensor:
    """Sum over M projections of the mean exp(relu(x)) of responses [T, N, M]; at least M.

    The memory term of the decoder variant (qizhou000/UniEdit).
    """
    return torch.relu(responses).exp().mean(dim=(0, 1)).sum()


def reply_loss(responses: Tensor) -> Tensor:
    """Sum over M projections of the mean exp(-x) of responses [T, N, M].

    The activation term of the decoder variant (qizhou000/UniEdit).
    """
    return (-responses).exp().mean(dim=(0, 1)).sum()
