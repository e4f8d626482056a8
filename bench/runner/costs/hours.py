"""How long things take: the paper's seconds, our recorded ones, and counted operations.

Large models. Table 3 of the paper has seconds per edit and per inference of each editor on
LLaMA-2-7B after 10,000 edits, on hardware that it does not name. They are used for every number of
edits, and in proportion to the parameters for other backbones. A question is asked in two ways
(forced and greedy; forced only with `--metrics teacher_forced`), and in a third where retrieval by
the prompt alone is scored too. Each way counts as one inference of Table 3, though up to 64 rows
are asked at once (which takes less) and a greedy answer has up to 20 tokens (which takes more). A
timed query counts as twenty-two inferences: two forwards and a greedy answer.

Editors that Table 3 does not have are counted: operations of an edit over the sustained rate, rows
of 40 tokens; linear algebra counts at the same rate. An inference takes as long as the unedited
model's, and longer by the tokens of the editor's prefix. Trainings and key covariances are counted
too. A forward of N parameters takes 2 N operations a token, a backward 2 N for gradients that only
pass through and 4 N where weights are trained. Rows of training have 32 tokens. Every training is
counted to its last iteration (early stopping shortens it), without its validations. Articles count
as 1,000 tokens, cut at the model's context; a layer's sum of k k^T takes 2 m^2 operations a token.

Miniature models. Seconds of the committed reference results (Tables 1, 5 and 6, one thread of a
CPU), per sample, from the cells of the same backbone, editor and data set with the nearest number
of edits; those of Table 2 per question, those of Table 3 per timed query. An editor without records
on a backbone takes mini-llama's seconds in proportion to the parameters.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from functools import cache, singledispatch
from statistics import fmean
from typing import Any

from bench.core.grids import GridPoint
from bench.core.published import numbers
from bench.models.corpora import DOCUMENTS, EMBEDDED_TOKENS, PAPER_DOCUMENTS
from bench.runner.costs.sizes import shape_of_backbone
from bench.runner.costs.work import Work
from bench.runner.kinds import NEW_TOKENS
from bench.store.reference import has_reference, reference_records, table_records
from editors import registry
from editors.alphaedit import AlphaEditHparams
from editors.base import Hparams
from editors.ike import IkeHparams
from editors.malmen import LAST_BLOCKS as MALMEN_BLOCKS
from editors.malmen import MalmenHparams
from editors.mend import LAST_BLOCKS as MEND_BLOCKS
from editors.mend import MendHparams
from editors.parts.hypernetwork.network import HypernetworkHparams
from editors.parts.language_model import block_number
from editors.parts.lte.hparams import LteHparams
from editors.parts.needs import EDIT_TOKENS, TRAIN_TOKENS, Setting, Shape
from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.target_value import value_rows
from editors.parts.wise.hparams import WiseHparams
from editors.r_rome import RRomeHparams
from editors.rag import RagHparams
from editors.registry import CONTROL_SUFFIX
from editors.ultraedit import UltraEditHparams, output_layers
from editors.wise import DEPTH as WISE_DEPTH

# Sustained TFLOP/s, ours: about half of what an A100 has for float32 without tensor cores, and a
# fifth of what it has for half precision, on short rows.
TERAFLOPS = {"float32": 10.0, "bfloat16": 60.0, "float16": 60.0}
CPU_TERAFLOPS = 0.02  # ours: one thread, small matrices
FORWARD, THROUGH, TRAINED = 2, 2, 4  # operations of a parameter and token

PUBLISHED_BACKBONE = "llama-2-7b"
RECORDED_BACKBONE = "mini-llama"  # on which every editor is recorded
FACT_TOKENS = 30  # of a fact in front of a question; ours
ARTICLE_TOKENS = 1_000
_DEMONSTRATION_TOKENS = 35  # of one of IKE's; ours, the middle of 25 to 45
_TIMES = 3  # the table of times
_EDITING_TABLES = (1, 5, 6)
_QUERY_FORWARDS = 2 + NEW_TOKENS
_PREFILLS = 3  # of a timed query: two forwards and a greedy answer
_ASKING = ("probe", "generate", "pristine")  # phases of a record


class PublishedRates:
    """Seconds on a large backbone: published, or else counted; None where nothing is known."""

    def __init__(
        self,
        setting: Setting,
        seconds: Callable[[float], float],
        hparams: Callable[[GridPoint], Hparams],
    ) -> None:
        """Args: `seconds` of a number of operations, and `hparams` of a point."""
        self._setting, self._seconds, self._hparams = setting, seconds, hparams
        known = shape_of_backbone(PUBLISHED_BACKBONE)
        self._scale = setting.shape.parameters / known.parameters

    def editing(self, point: GridPoint, work: Work) -> float | None:
        """Seconds of a cell's edits."""
        published = _published(point.editor, "edit_time_s")
        if published is not None:
            return self._scale * work.edits * published
        operations = self._operations(point)
        return work.edits * self._seconds(operations) if operations else None

    def asking(self, point: GridPoint, work: Work, ways: int) -> float | None:
        """Seconds of a cell's questions, each asked in so many ways."""
        inferences = work.items * ways + work.questions + work.queries * _QUERY_FORWARDS
        published = _published(point.editor, "infer_time_s")
        if published is not None:
            return self._scale * inferences * published
        if self._operations(point) is None:
            return None
        tokens = context_tokens(self._hparams(point), self._setting)
        longer = self._seconds(FORWARD * self._setting.shape.parameters * tokens)
        prefills = work.items * ways + work.questions + work.queries * _PREFILLS
        return inferences * self._unedited_inference() + prefills * longer

    def unedited(self, items: float, questions: int, ways: int) -> float:
        """Seconds of the unedited model's answers."""
        return (items * ways + questions) * self._unedited_inference()

    def _unedited_inference(self) -> float:
        """Seconds of an inference of the model itself: the fastest editor's."""
        cells = numbers(_TIMES).items()
        return self._scale * min(n.value for p, n in cells if p.metric == "infer_time_s")

    def _operations(self, point: GridPoint) -> float | None:
        return edit_operations(self._hparams(point), self._setting, point.n_edits)


class RecordedRates:
    """Seconds on a miniature backbone, of the committed reference; None where there are none."""

    def __init__(self, backbone: str) -> None:
        self._backbone = backbone.removesuffix(CONTROL_SUFFIX)

    def editing(self, point: GridPoint, work: Work) -> float | None:
        """Seconds of a cell's edits."""
        return _times(work.edits, self._nearest(point, "edit"))

    def asking(self, point: GridPoint, work: Work, ways: int) -> float | None:
        """Seconds of a cell's questions; records ask in all ways."""
        if work.questions:
            return work.questions * _recorded_question()
        if work.queries:
            return work.queries * _recorded_query()
        return _times(work.edits, self._nearest(point, "ask"))

    def unedited(self, items: float, questions: int, ways: int) -> float:
        """Seconds of the unedited model's answers; records of editing contain their share."""
        return questions * _recorded_question()

    def _nearest(self, point: GridPoint, phase: str) -> float | None:
        """Seconds per sample; without records of the backbone, from those of another."""
        own = _at_nearest(self._backbone, point, phase)
        if own is not None or self._backbone == RECORDED_BACKBONE:
            return own
        known, shape = shape_of_backbone(RECORDED_BACKBONE), shape_of_backbone(self._backbone)
        other = _at_nearest(RECORDED_BACKBONE, point, phase)
        return _times(shape.parameters / known.parameters, other)


def _at_nearest(backbone: str, point: GridPoint, phase: str) -> float | None:
    """Recorded seconds per sample of a backbone, at the nearest number of edits."""
    recorded = {
        n: seconds
        for (other, editor, dataset, n, of), seconds in _recorded().items()
        if (other, editor, dataset, of) == (backbone, point.editor, point.dataset, phase)
    }
    if not recorded:
        return None
    return recorded[min(recorded, key=lambda n: abs(math.log(n / point.n_edits)))]


def ways_of(editor: str, *, generated: bool) -> int:
    """In how many ways each question is asked of an edited model."""
    return 1 + generated + registry.editor_class(editor).retrieves_text


def _times(count: float, seconds: float | None) -> float | None:
    return None if seconds is None else count * seconds


@cache
def _published(editor: str, metric: str) -> float | None:
    label = registry.describe(editor).label
    cells = numbers(_TIMES).items()
    return next((n.value for p, n in cells if (p.editor, p.metric) == (label, metric)), None)


@cache
def _recorded() -> dict[tuple[str, str, str, int, str], float]:
    """Mean seconds per sample by backbone, editor, data set, number of edits and phase."""
    seconds_of = defaultdict(list)
    for table in _EDITING_TABLES:
        for record in table_records(table) if has_reference(f"table{table}") else ():
            cell, seconds = record["cell"], record["provenance"]["seconds"]
            samples = record["summary"]["blocks"] * cell["n_edits"]
            names = (cell["backbone"], cell["editor"], cell["dataset"], cell["n_edits"])
            seconds_of[*names, "edit"].append(seconds["edit"] / samples)
            asked = sum(seconds.get(phase, 0.0) for phase in _ASKING)
            seconds_of[*names, "ask"].append(asked / samples)
    return {names: fmean(values) for names, values in seconds_of.items()}


@cache
def _recorded_question() -> float:
    records = _records("table2")
    shares = [r["provenance"]["seconds"]["ask"] / r["summary"]["items"] for r in records]
    return fmean(shares) if shares else 0.0


@cache
def _recorded_query() -> float:
    """A query's forwards in both precisions, and its longer answer."""
    parts = ("forward", "forward_bfloat16", "generation")
    sums = [sum(r["summary"][part]["median"] for part in parts) for r in _records("table3")]
    return fmean(sums) if sums else 0.0


def _records(name: str) -> list[dict[str, Any]]:
    return reference_records(name) if has_reference(name) else []


# ---- operations of an edit, where no seconds are published -------------------------------------


@singledispatch
def edit_operations(hparams: Hparams, setting: Setting, edits: int) -> float | None:  # noqa: ARG001
    """Operations of one edit, the mean over a stream of `edits`; None where nothing is known."""
    return None


@edit_operations.register
def _alphaedit(hparams: AlphaEditHparams, setting: Setting, edits: int) -> float:
    """Steps through the blocks above the last edited one; a Gram matrix of the keys so far."""
    shape, layers = setting.shape, hparams.covariance_layers(setting.shape.layers)
    rows = value_rows(hparams, setting, together=False)
    steps = hparams.v_num_grad_steps * rows * EDIT_TOKENS * _both_ways(setting, layers[-1])
    gram = 2 * shape.inner * edits * min(edits, shape.inner) / 3
    return steps + len(layers) * (gram + 2 * shape.inner**2)


@edit_operations.register
def _wise(hparams: WiseHparams, setting: Setting, edits: int) -> float:  # noqa: ARG001
    """All iterations; rows of the contexts, of the bare prompt, and of a prompt out of scope."""
    layer = block_number(hparams.layer, WISE_DEPTH, setting.shape.layers)
    rows = len(hparams.context_lengths) + 2
    return hparams.n_iter * rows * EDIT_TOKENS * _both_ways(setting, layer)


@edit_operations.register
def _ultraedit(hparams: UltraEditHparams, setting: Setting, edits: int) -> float:  # noqa: ARG001
    """One forward, and one backward down to the first edited block."""
    outputs = output_layers(hparams, setting.shape.layers)
    first = min((*outputs, *hparams.gate_layers, *hparams.up_layers))
    below = FORWARD * setting.shape.parameters * first / setting.shape.layers
    return EDIT_TOKENS * (below + _both_ways(setting, first))


@edit_operations.register
def _ike(hparams: IkeHparams, setting: Setting, edits: int) -> float:  # noqa: ARG001
    """The fact is encoded for its key, and once more to find demonstrations."""
    return float(2 * EDIT_TOKENS * FORWARD * setting.encoder.parameters)


@edit_operations.register
def _rag(hparams: RagHparams, setting: Setting, edits: int) -> float:  # noqa: ARG001
    """The question of the fact is encoded."""
    return float(EDIT_TOKENS * FORWARD * setting.encoder.parameters)


def context_tokens(hparams: Hparams, setting: Setting) -> int:
    """Tokens in front of a question; IKE leaves out what does not fit."""
    if isinstance(hparams, IkeHparams):
        whole = hparams.demonstrations * _DEMONSTRATION_TOKENS + FACT_TOKENS
        return min(whole, max(setting.shape.context - hparams.room, 0))
    return FACT_TOKENS if isinstance(hparams, RagHparams) else 0


def _both_ways(setting: Setting, layer: int) -> float:
    """Operations of a token, forward and backward through the blocks from `layer` on."""
    share = setting.above(layer) / setting.shape.layers
    return (FORWARD + THROUGH) * setting.shape.parameters * share


# ---- operations of a training, and of key covariances ------------------------------------------


@singledispatch
def training_operations(hparams: Hparams, setting: Setting, trained: float) -> float:  # noqa: ARG001
    """Operations of a whole training of so many parameters; 0 where nothing is trained."""
    return 0.0


@training_operations.register
def _recipe(hparams: RecipeHparams, setting: Setting, trained: float) -> float:
    """Three rows a sample through the frozen model with a gradient, one without; five encoded."""
    model = setting.shape.parameters * (3 * (FORWARD + THROUGH) + FORWARD)
    tokens = hparams.iterations * hparams.batch_size * TRAIN_TOKENS
    return float(tokens * (model + 5 * trained * (FORWARD + TRAINED)))


@training_operations.register
def _lte(hparams: LteHparams, setting: Setting, trained: float) -> float:
    """Four rows a sample through the follower, two through the frozen model."""
    tokens = hparams.iterations * hparams.batch_size * TRAIN_TOKENS
    follower = 4 * trained * (FORWARD + TRAINED)
    return float(tokens * (follower + 2 * setting.shape.parameters * FORWARD))


@training_operations.register
def _mend(hparams: MendHparams, setting: Setting, trained: float) -> float:
    return _hypernetwork(hparams, setting, trained, MEND_BLOCKS, hparams.batch_size)


@training_operations.register
def _malmen(hparams: MalmenHparams, setting: Setting, trained: float) -> float:
    systems = hparams.batch_size * hparams.n_edits
    return _hypernetwork(hparams, setting, trained, MALMEN_BLOCKS, systems)


@training_operations.register
def _r_rome(hparams: RRomeHparams, setting: Setting, trained: float) -> float:
    """The heads on vectors that are computed once, of every fact and sentence that is drawn."""
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
    """Tokens of the text that key covariances are computed on."""
    if embedded:
        return EMBEDDED_TOKENS
    count = documents or (PAPER_DOCUMENTS if hub else DOCUMENTS)
    return count * min(ARTICLE_TOKENS, shape.context)
