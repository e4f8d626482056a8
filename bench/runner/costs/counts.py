"""Parameters of what editors train, and rows of what they store: exact, checked by tests."""

from __future__ import annotations

from collections import Counter

from bench.runner.costs.shapes import EncoderShape, Shape
from editors.malmen import MalmenHparams
from editors.parts.hypernetwork.hparams import HypernetworkHparams
from editors.parts.recipe.hparams import RecipeHparams
from editors.r_rome import RRomeHparams

FIRST_ROWS = 64  # of a store that grows; doubled whenever full: editors/parts/growing_rows.py


def capacity(rows: int) -> int:
    """Rows that a growing store has room for, filled one by one."""
    room = FIRST_ROWS
    while room < rows:
        room *= 2
    return room


def projections(shape: Shape, layers: int, *, inputs: bool) -> list[tuple[int, int]]:
    """(d_in, d_out) of the edited MLP projections of so many blocks."""
    block = [(shape.hidden, shape.inner)] * (shape.inputs if inputs else 0)
    return [*block, (shape.inner, shape.hidden)] * layers


def hypernetwork_parameters(found: list[tuple[int, int]], hparams: HypernetworkHparams) -> int:
    """Of one editor network a shape, and one rate a projection (MALMEN: and one lambda)."""
    total = len(found) * (2 if isinstance(hparams, MalmenHparams) else 1)
    for (d_in, d_out), count in Counter(found).items():
        width = d_in + d_out
        rank = min(hparams.rank, width)
        total += hparams.n_blocks * (2 * width * rank + width + 2 * count * width)
    return total


def recipe_parameters(hparams: RecipeHparams, shape: Shape, encoder: EncoderShape) -> int:
    """Encoder, both projections, prompt MLP and sentinel."""
    width, code = hparams.representation_width, hparams.pool == "code4"
    pooled = encoder.hidden * (4 if code else 3)
    square = width * width + width
    prompts = hparams.prompt_length * shape.hidden
    total = encoder.parameters + (encoder.pooler if code else 0)
    total += 2 * (pooled * width + width + square)
    total += square + width * prompts + prompts
    return total + hparams.sentinel_length * encoder.hidden


def head_parameters(hparams: RRomeHparams, encoder: EncoderShape) -> int:
    """R-ROME's two heads over the encoder."""
    if hparams.heads == "untrained":
        return 0
    size = encoder.hidden
    highway = hparams.highway_layers * 2 * (size * size + size)
    return 2 * (highway + size * hparams.width + hparams.width)
