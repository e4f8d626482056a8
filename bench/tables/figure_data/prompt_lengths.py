"""RECIPE by the length of its continuous prompts: the numbers of Figure 3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.core.grids import RECIPE
from bench.core.numerics import Spread
from bench.store.results import Record
from bench.tables.figure_data.alike import LENGTH, Plan, plan
from bench.tables.figure_data.means import over_datasets

EDITS = 1_000  # the paper's

Points = Mapping[int, Mapping[str, Spread]]  # length -> column -> value


def drawn(records: Iterable[Record], backbone: str, n_edits: int = EDITS) -> Plan:
    """RECIPE's records with prompts of any length, otherwise as in its preset.

    Raises:
        ValueError: there are none, or they were not measured alike.
    """
    found = [one for one in records if one["cell"]["n_edits"] == n_edits]
    if not found:
        raise ValueError(f"Figure 3 needs records at {n_edits:,} edits, there are none.")
    return plan(found, backbone, editors=[RECIPE], free=[LENGTH])


def lengths(chosen: Plan, datasets: Sequence[str]) -> Points:
    """Mean over the data sets, per length that has all of them; of `LENGTHS` and any other."""
    stored = sorted({int(cell.hparams[LENGTH]) for cell in chosen.cells})
    means = {length: over_datasets(chosen.of(length=length), datasets) for length in stored}
    return {length: found for length, found in means.items() if found}
