"""RECIPE's hyper-parameters; every point where paper and released code differ is a named mode.

Paper: "Lifelong Knowledge Editing for LLMs with Retrieval-Augmented Continuous Prompt Learning"
(EMNLP 2024). Code: github.com/qizhou000/RECIPE at b8ff1fc2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Literal

from editors.base import Hparams
from editors.parts.checks import check_above, check_at_least, check_fields
from editors.parts.encoder import Pooling
from editors.parts.prefix import Injection, Positions


@dataclass(frozen=True, kw_only=True)
class RecipeHparams(Hparams):
    """Defaults are the released code's, except where the paper's own setting is stated."""

    later_fields = frozenset({"calibration_edits", "encoder"})

    # Model.
    pool: Pooling = "code4"  # only code4 has the 220M / 250M parameters of the paper's table
    # `frozen` (ours) leaves a pre-trained sentence encoder as it is; its weights are not stored.
    encoder: Literal["trained", "frozen"] = "trained"
    representation_width: int = 4096  # d_r
    sentinel_length: int = 10  # c, tokens
    sentinel: Literal["code", "embedded"] = "code"  # code skips the encoder's embedding module
    prompt_length: int = 3  # l, continuous prompt tokens
    inject: Injection = "prefix"  # gptj_ln1 is the released GPT-J injection, for parity
    positions: Positions = "shifted"  # code leaves GPT-2's query where it was

    # The paper's ablations (Table 4). `words` puts the word embeddings of the edit's own text where
    # the continuous prompt stands, with the same weights.
    # `threshold` trains the retriever with a plain contrastive loss, and an edit's score must beat
    # a number, not the sentinel's score. It is chosen on `calibration` training edits of each data
    # set, or on held-out edits for each of these numbers of edits in a stream.
    prompts: Literal["continuous", "words"] = "continuous"
    gate: Literal["sentinel", "threshold"] = "sentinel"
    calibration: int = 100
    calibration_edits: tuple[int, ...] = ()  # ascending

    # How the best key is looked for, which is ours: by one matrix product, or approximately with
    # FAISS as soon as there are `index_above` edits.
    index: Literal["exact", "faiss"] = "exact"
    index_above: int = 10_000

    # Initial values, for training alone. Ours, for small backbones: prompts that start at the size
    # of word embeddings, and queries that start in the space of the keys.
    prompt_init_scale: float = 1.0  # of the prompt MLP's last layer
    query_init: Literal["own", "knowledge"] = "own"  # MLP_Q of its own, or a copy of MLP_K

    # Losses. The paper's own forms are the second names; see `PAPER_LOSSES`.
    sim: Literal["scaled", "plain"] = "scaled"  # q.k / sqrt(d_r), or the dot product
    # Of scores in the losses, the released configuration's `query_knowledge_t` (a multiplier, there
    # 1). Ours for narrow representations, whose scores lie close together.
    similarity_factor: float = 1.0
    contrastive: Literal["code", "paper"] = "code"  # one of rel/gen at random, or both
    contrastive_hinge: float | None = 1.2  # drops sentinel rows won by this factor
    edit_hinge: float | None = 1.2  # drops target tokens won by this factor
    nll: Literal["token_mean", "seq_sum"] = "token_mean"
    kl: Literal["token_mean", "seq_sum"] = "token_mean"
    eps: float = 1e-8  # added to probabilities inside logarithms; 0 uses log-softmax
    weight_reliability: float = 1.0
    weight_generality: float = 1.0
    weight_locality: float = 1.0
    weight_contrastive: float = 1.0

    # Optimisation: the paper's section 5.1; Adam's betas and eps are PyTorch's defaults.
    learning_rate: float = 1e-5
    prompt_learning_rate: float | None = None  # None: the same (the code never reads its own)
    # Ours: `cosine` brings both rates down to nothing by the last iteration.
    learning_rate_decay: Literal["none", "cosine"] = "none"
    batch_size: int = 8
    iterations: int = 150_000
    checkpoint_interval: int = 5_000
    dropout: bool = True  # the encoder's own rates
    # `staged` trains the editing terms alone up to `ramp_start` and then raises the locality and
    # contrastive terms linearly until `ramp_end`. Ours: with the hinges, a small backbone's joint
    # loss stays on a plateau, because retrieval is learnt first and says nothing about prompts.
    # `late_locality` holds back the locality term alone.
    schedule: Literal["joint", "staged", "late_locality"] = "joint"
    ramp_start: int = 0  # iterations
    ramp_end: int = 0
    # `batch` draws each batch from one data set (code), `rows` each row (ours).
    mix: Literal["batch", "rows"] = "batch"

    # Checkpoint selection: the smallest loss on `held_out` training samples per data set, or the
    # smallest running training loss (the number in the released code's file names).
    selection: Literal["held_out", "ema"] = "held_out"
    held_out: int = 200
    artefact_dtype: Literal["float32", "float16"] = "float32"

    def __post_init__(self) -> None:
        check_fields(self, RecipeHparams, other=("ramp_start", "ramp_end"))
        counts = self.calibration_edits
        if list(counts) != sorted(set(counts)) or min(counts, default=1) < 1:
            raise ValueError(
                f"calibration_edits must be ascending numbers of at least 1, got {counts}."
            )
        check_above("prompt_init_scale", self.prompt_init_scale, 0)
        check_above("similarity_factor", self.similarity_factor, 0)
        for name in ("learning_rate", "prompt_learning_rate", "contrastive_hinge", "edit_hinge"):
            if vars(self)[name] is not None:
                check_above(name, vars(self)[name], 0)
        for name in ("eps", "ramp_start", *(n for n in vars(self) if n.startswith("weight_"))):
            check_at_least(name, vars(self)[name], 0)
        check_at_least("ramp_end", self.ramp_end, self.ramp_start)
        check_at_least("iterations", self.iterations, self.ramp_end)

    def check_backbone(self, model_type: str) -> None:
        """Refuse a released mode on a backbone that the released code does not use it on.

        Raises:
            ValueError: with the mode to use instead.
        """
        if self.inject == "gptj_ln1" and model_type != "gptj":
            raise ValueError(
                f"inject=gptj_ln1 is the released injection into GPT-J, got a {model_type} "
                "backbone; use inject=prefix."
            )

    def to_dict(self) -> dict[str, Any]:
        """See the base class; the fields of an index are left out where search is exact."""
        values = super().to_dict()
        return values if self.index != "exact" else _without(values, {"index", "index_above"})

    def check_installed(self) -> None:
        """FAISS, if it shall search.

        Raises:
            ValueError: faiss-cpu is not installed.
        """
        if self.index == "faiss":
            check_faiss()


# Used when editing or answering; the trained weights are the same.
EDIT_TIME = frozenset({"prompts", "index", "index_above"})


# The paper's setting by name: 150,000 iterations of 8, learning rate 1e-5, a checkpoint every
# 5,000 of which the one with the smallest loss is selected, float32 throughout.
PAPER = RecipeHparams()

# Equations 10-17 as printed: both queries in the contrastive terms, sums over an answer's tokens,
# plain dot products, no hinge.
PAPER_LOSSES = replace(
    PAPER,
    sim="plain",
    contrastive="paper",
    contrastive_hinge=None,
    edit_hinge=None,
    nll="seq_sum",
    kl="seq_sum",
    eps=0.0,
)

# Ours, for backbones of a few million parameters: narrow, locality held back, rates that fall, no
# hinges (their means over what is still wrong stay as large as at the start, and let a small
# network's sentinel oscillate), and half precision on disk (rounded once; the rounded weights are
# the model).
EMBEDDED = replace(
    PAPER,
    representation_width=256,
    prompt_init_scale=0.2,
    query_init="knowledge",
    similarity_factor=4.0,
    contrastive_hinge=None,
    edit_hinge=None,
    eps=0.0,  # a sentinel far above all keys has no gradient under the code's 1e-8
    weight_reliability=3.0,
    weight_generality=3.0,
    weight_locality=0.3,
    weight_contrastive=2.0,
    learning_rate=7e-4,
    prompt_learning_rate=3e-3,
    learning_rate_decay="cosine",
    batch_size=64,
    iterations=3_000,
    checkpoint_interval=200,
    dropout=False,
    schedule="late_locality",
    ramp_start=1_000,
    ramp_end=1_200,
    mix="rows",
    artefact_dtype="float16",
)

# Ours, for a pre-trained backbone of 135 million parameters on a CPU, set by hand: a frozen encoder
# that knows paraphrases already, and 24,000 training edits (the paper has 1,200,000).
SMOLLM2 = replace(
    EMBEDDED,
    encoder="frozen",
    representation_width=1024,
    prompt_init_scale=0.6,
    prompt_learning_rate=1e-3,
    batch_size=8,
    checkpoint_interval=500,
    ramp_start=2_000,
    ramp_end=2_200,
    held_out=60,
)

# Ours, for tests: seconds on any model.
TINY = replace(
    PAPER,
    representation_width=16,
    sentinel_length=2,
    prompt_length=2,
    learning_rate=1e-3,
    batch_size=4,
    iterations=20,
    checkpoint_interval=10,
    schedule="staged",
    ramp_start=5,
    ramp_end=10,
    held_out=4,
)

PRESETS: dict[str, RecipeHparams] = {
    **dict.fromkeys(("mini-llama", "mini-gptj", "mini-gpt2"), EMBEDDED),
    "llama-2-7b": PAPER,
    "gpt-j-6b": PAPER,
    "gpt2-xl": PAPER,
    "smollm2-135m": SMOLLM2,
    "default": PAPER,
    "paper": PAPER,
    "paper-losses": PAPER_LOSSES,
    "tiny": TINY,
}


def trained_values(hparams: RecipeHparams) -> dict[str, Any]:
    """The hyper-parameters that weights depend on, as artefacts record them.

    Without a threshold its fields are left out.
    """
    gate = {"gate", "calibration", "calibration_edits"}
    return _without(hparams.to_dict(), EDIT_TIME | (set() if hparams.gate == "threshold" else gate))


def _without(values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def check_faiss() -> None:
    """Do nothing where FAISS can be imported.

    Raises:
        ValueError: faiss-cpu is not installed.
    """
    if find_spec("faiss") is None:
        raise ValueError(
            "The index 'faiss' wants the package faiss-cpu, which is not installed; "
            "pip install 'lifelong-edit-bench[faiss]' adds it."
        )
