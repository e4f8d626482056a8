"""Maps of the plane by t-SNE, with one thread, so that the number of cores changes nothing."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from bench.report.prompt_map.nearness import Vectors

# From the two first principal components, or from noise of a seed. Nothing is random in a map from
# principal components (two seeds give the same one), so that only noise shows what seeds change.
Start = Literal["pca"] | int


Positions = npt.NDArray[np.float64]  # [N, 2]


def tsne(vectors: Vectors, *, perplexity: float, start: Start) -> Positions:
    """Positions [N, 2] of vectors [N, d]; scikit-learn's defaults otherwise.

    Raises:
        ValueError: a perplexity that is not below the number of vectors.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if perplexity >= len(vectors):
        raise ValueError(
            f"A map with perplexity {perplexity:g} needs more points, got {len(vectors)}."
        )
    model = TSNE(
        n_components=2,
        perplexity=perplexity,
        init="pca" if start == "pca" else "random",
        random_state=0 if start == "pca" else start,
        n_jobs=1,
    )
    with threadpool_limits(limits=1):
        placed: Positions = model.fit_transform(vectors).astype(np.float64)
    return placed
