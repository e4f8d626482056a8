"""How near points lie to names, as a number for what the eye sees in a map."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.floating]
DIGITS = 5  # significant ones, of what is kept


@dataclass(frozen=True, kw_only=True)
class Nearness:
    """Distances of points to their nearest name, over the distance `within` between names.

    A ratio of 1: as near to a name as names are to each other.
    """

    within: float  # median over names of the distance to the nearest other name
    lower_quartile: float
    median: float
    upper_quartile: float

    def to_dict(self) -> dict[str, float]:
        """Plain values of `DIGITS` digits."""
        return {name: float(f"{value:.{DIGITS}g}") for name, value in asdict(self).items()}


def nearness(points: Vectors, names: Vectors) -> Nearness:
    """Quartiles of the ratios of points [P, d] to names [N, d], Euclidean.

    Raises:
        ValueError: no points, fewer than two names, or names that coincide.
    """
    if len(points) == 0 or len(names) < 2:
        raise ValueError(
            f"Nearness needs points and at least two names, got {len(points)} and {len(names)}."
        )
    between = _distances(names, names)
    np.fill_diagonal(between, np.inf)
    within = float(np.median(between.min(axis=1)))
    if within == 0:
        raise ValueError("Half of the names coincide with another one; no distance compares.")
    low, middle, high = np.quantile(
        _distances(points, names).min(axis=1) / within, (0.25, 0.5, 0.75)
    )
    return Nearness(
        within=within,
        lower_quartile=float(low),
        median=float(middle),
        upper_quartile=float(high),
    )


def _distances(rows: Vectors, columns: Vectors) -> npt.NDArray[np.float64]:
    """Euclidean distances [R, C]."""
    difference = rows[:, None].astype(np.float64) - columns[None].astype(np.float64)
    found: npt.NDArray[np.float64] = np.linalg.norm(difference, axis=2)
    return found
