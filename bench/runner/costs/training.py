"""Hours of what is made before the first edit: trained weights and key covariances.

Operations over a sustained rate. A forward of N parameters takes 2 N operations a token, a backward
2 N for gradients that only pass through and 4 N where weights are trained. Rows of training have 32
tokens. Every training is counted to its last iteration (early stopping makes it less), without its
validations. Articles count as 1,000 tokens, cut at the model's context; a layer's sum of k k^T
takes 2 m^2 operations a token, in float64, which is counted at the same rate.
"""

from __future__ import annotations

from functools import singledispatch

from bench.models.corpora import DOCUMENTS, EMBEDDED_TOKENS, PAPER_DOCUMENTS
from editors.base import Hparams
from editors.malmen import LAST_BLOCKS as MALMEN_BLOCKS
from editors.malmen import MalmenHparams
from editors.mend import LAST_BLOCKS as MEND_BLOCKS
from editors.mend import MendHparams
from editors.parts.hypernetwork.hparams import HypernetworkHparams
from editors.parts.lte.hparams import LteHparams
from editors.parts.needs import TRAIN_TOKENS, Setting, Shape
from editors.parts.recipe.hparams import RecipeHparams
from editors.r_rome import RRomeHparams

ARTICLE_TOKENS = 1_000
# Sustained TFLOP/s, ours: about half of what an A100 has for float32 without tensor cores, and a
# fifth of what it has for half precision, on short rows.
TERAFLOPS = {"float32": 10.0, "bfloat16": 60.0, "float16": 60.0}
CPU_TERAFLOPS = 0.02  # ours: one thread, small matrices
FORWARD, THROUGH, TRAINED = 2, 2, 4  # operations of a parameter and token


@singledispatch
def operations(hparams: Hparams, setting: Setting, trained: float) -> float | None:  # noqa: ARG001
    """Operations of a whole training of so many parameters; None where nothing is trained."""
    return None


@operations.register
def _recipe(hparams: RecipeHparams, setting: Setting, trained: float) -> float:
    """Three rows a sample through the frozen model with a gradient, one without; five encoded."""
    model = setting.shape.parameters * (3 * (FORWARD + THROUGH) + FORWARD)
    tokens = hparams.iterations * hparams.batch_size * TRAIN_TOKENS
    return float(tokens * (model + 5 * trained * (FORWARD + TRAINED)))


@operations.register
def _lte(hparams: LteHparams, setting: Setting, trained: float) -> float:
    """Four rows a sample through the follower, two through the frozen model."""
    tokens = hparams.iterations * hparams.batch_size * TRAIN_TOKENS
    follower = 4 * trained * (FORWARD + TRAINED)
    return float(tokens * (follower + 2 * setting.shape.parameters * FORWARD))


@operations.register
def _mend(hparams: MendHparams, setting: Setting, trained: float) -> float:
    return _hypernetwork(hparams, setting, trained, MEND_BLOCKS, hparams.batch_size)


@operations.register
def _malmen(hparams: MalmenHparams, setting: Setting, trained: float) -> float:
    systems = hparams.batch_size * hparams.n_edits
    return _hypernetwork(hparams, setting, trained, MALMEN_BLOCKS, systems)


@operations.register
def _r_rome(hparams: RRomeHparams, setting: Setting, trained: float) -> float:
    """The heads on vectors that are made once, of every fact and sentence that is drawn."""
    vectors = hparams.iterations * hparams.batch_size * (1 + hparams.sentences_per_fact)
    heads = trained * (FORWARD + TRAINED)
    return float(vectors * (heads + TRAIN_TOKENS * FORWARD * setting.encoder.parameters))


def _hypernetwork(
    hparams: HypernetworkHparams, setting: Setting, trained: float, blocks: int, systems: int
) -> float:
    """Three rows an edit with a gradient down to the first edited block, one without."""
    shape = setting.shape
    first = min(hparams.layers or [max(shape.layers - blocks, 0)])
    share = setting.above(first) / shape.layers
    network = trained * (FORWARD + TRAINED)
    model = shape.parameters * (3 * (FORWARD + THROUGH * share) + FORWARD)
    return hparams.iterations * systems * TRAIN_TOKENS * (model + network)


def covariance_operations(shape: Shape, layers: tuple[int, ...], tokens: int) -> float:
    """One pass over a corpus; blocks above the highest layer are not run."""
    share = (max(layers) + 1) / shape.layers
    return float(tokens * (FORWARD * shape.parameters * share + len(layers) * 2 * shape.inner**2))


def corpus_tokens(shape: Shape, *, hub: bool, embedded: bool, documents: int | None) -> int:
    """Tokens of the text that key covariances are made from."""
    if embedded:
        return EMBEDDED_TOKENS
    count = documents or (PAPER_DOCUMENTS if hub else DOCUMENTS)
    return count * min(ARTICLE_TOKENS, shape.context)
