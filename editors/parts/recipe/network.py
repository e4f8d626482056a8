"""RECIPE's trained network (encoder, projections, sentinel, prompt MLP), and its repository."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from editors.parts.encoder import SentenceEncoder, TextBatcher, read_config
from editors.parts.growing_rows import GrowingRows
from editors.parts.language_model import LanguageModel
from editors.parts.needs import Setting, parameters_of
from editors.parts.recipe.hparams import RecipeHparams, check_faiss
from editors.parts.tokens import in_groups

# Bound of the sentinel's uniform initialisation, from the released code.
_SENTINEL_BOUND = 0.05


class RepresentationMLP(nn.Module):
    """MLP_K and MLP_Q: pooled vector [B, P] to representation [B, d_r].

    The paper names two linear layers and a residual connection; the released code applies no
    activation after the first.
    """

    def __init__(self, pooled_size: int, width: int) -> None:
        super().__init__()
        self.inward = nn.Linear(pooled_size, width)
        self.residual = nn.Linear(width, width)

    def forward(self, pooled: Tensor) -> Tensor:
        hidden: Tensor = self.inward(pooled)  # [B, d_r]
        return hidden + torch.relu(self.residual(hidden))


class PromptMLP(nn.Module):
    """MLP_P, the prompt learner: representation [B, d_r] to a continuous prompt [B, l, d]."""

    def __init__(self, width: int, prompt_length: int, hidden_size: int) -> None:
        super().__init__()
        self.shape = (prompt_length, hidden_size)
        self.residual = nn.Linear(width, width)
        self.outward = nn.Linear(width, prompt_length * hidden_size)

    def forward(self, representation: Tensor) -> Tensor:
        hidden = representation + torch.relu(self.residual(representation))
        prompts: Tensor = self.outward(hidden)  # [B, l * d]
        return prompts.reshape(-1, *self.shape)


class RecipeNetwork(nn.Module):
    """Everything that RECIPE trains; the language model stays frozen (paper section 4).

    `hidden_size` is the language model's d. Build it under a forked generator: modules draw their
    initial weights from the global one.
    """

    def __init__(self, encoder: SentenceEncoder, hparams: RecipeHparams, hidden_size: int) -> None:
        super().__init__()
        width = hparams.representation_width
        self.embeds_sentinel = hparams.sentinel == "embedded"
        # Stands in for the sentinel in the ablation without it: one number, or one for each of some
        # numbers of edits; calibrated on training edits.
        self.threshold: Tensor | None
        self.threshold_edits = hparams.calibration_edits
        numbers = (
            torch.zeros(len(self.threshold_edits)) if self.threshold_edits else torch.zeros(())
        )
        self.register_buffer("threshold", numbers if hparams.gate == "threshold" else None)
        self.encoder = encoder
        self.encoder_is_frozen = hparams.encoder == "frozen"
        if self.encoder_is_frozen:
            self.encoder.requires_grad_(False)
            self.register_state_dict_post_hook(_leave_out_encoder)  # type: ignore[no-untyped-call]
            self.register_load_state_dict_pre_hook(_put_in_encoder)  # type: ignore[no-untyped-call]
        self.mlp_k = RepresentationMLP(encoder.pooled_size, width)
        self.mlp_q = RepresentationMLP(encoder.pooled_size, width)
        self.mlp_p = PromptMLP(width, hparams.prompt_length, hidden_size)
        with torch.no_grad():
            if hparams.query_init == "knowledge":
                self.mlp_q.load_state_dict(self.mlp_k.state_dict())
            for parameter in self.mlp_p.outward.parameters():
                parameter.mul_(hparams.prompt_init_scale)
        self.sentinel = nn.Parameter(
            torch.empty(1, hparams.sentinel_length, encoder.hidden_size).uniform_(
                -_SENTINEL_BOUND, _SENTINEL_BOUND
            )
        )

    def train(self, mode: bool = True) -> Self:
        """See the base class; a frozen encoder has no dropout."""
        super().train(mode)
        self.encoder.train(mode and not self.encoder_is_frozen)
        return self

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Pooled vectors [B, P] that both projections read."""
        pooled: Tensor = self.encoder(input_ids, attention_mask)
        return pooled

    def knowledge(self, pooled: Tensor) -> Tensor:
        """Retrieval keys r_k = MLP_K(f_rm(k)) [B, d_r], from which prompts are computed too."""
        keys: Tensor = self.mlp_k(pooled)
        return keys

    def queries(self, pooled: Tensor) -> Tensor:
        """Query representations MLP_Q(f_rm(q)) [B, d_r]."""
        queries: Tensor = self.mlp_q(pooled)
        return queries

    def prompts(self, keys: Tensor) -> Tensor:
        """Continuous prompts p_k = MLP_P(r_k) [B, l, d] of keys [B, d_r]."""
        prompts: Tensor = self.mlp_p(keys)
        return prompts

    def sentinel_key(self) -> Tensor:
        """The knowledge sentinel's key r_Theta [1, d_r]: an edit must score higher than it.

        Its c trainable word vectors skip the encoder's embedding module in the released code.
        """
        if self.embeds_sentinel:
            return self.knowledge(self.encoder.forward_embedded(self.sentinel))
        return self.knowledge(self.encoder.forward_hidden(self.sentinel))

    def repository(
        self, state: Mapping[str, Tensor] | None = None, *, index: InnerProductIndex | None = None
    ) -> PromptRepository:
        """A repository with the sentinel alone, or with the rows of its `state_dict`."""
        if state is None:
            sentinel = self.sentinel_key()
            state = {"keys": sentinel, "prompts": sentinel.new_zeros(1, *self.mlp_p.shape)}
        return PromptRepository(
            state["keys"], state["prompts"], threshold_at=self.threshold_by_edits(), index=index
        )

    def threshold_by_edits(self) -> Callable[[int], float] | None:
        """The threshold that belongs to a number of edits, if there is any.

        Of several it is that of the next larger number for which one was calibrated, else the last.
        """
        if self.threshold is None:
            return None
        numbers, counts = self.threshold.reshape(-1).tolist(), self.threshold_edits
        return lambda edits: numbers[min(bisect_left(counts, edits), len(numbers) - 1)]


def _leave_out_encoder(
    module: nn.Module, state: dict[str, Any], prefix: str, _metadata: object
) -> None:
    for name in module.get_submodule("encoder").state_dict(prefix=f"{prefix}encoder."):
        state.pop(name, None)


def _put_in_encoder(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    state |= module.get_submodule("encoder").state_dict(prefix=f"{prefix}encoder.")


def similarity(queries: Tensor, keys: Tensor, *, scaled: bool) -> Tensor:
    """Scores [Q, K] of queries [Q, d_r] against keys [K, d_r].

    Dot products, divided by sqrt(d_r) where `scaled` (released code; the paper has none).
    """
    scores = queries @ keys.T
    return scores / math.sqrt(queries.shape[-1]) if scaled else scores


def recipe_parameters(hparams: RecipeHparams, on: Setting) -> tuple[int, int]:
    """Parameters that training changes, and those of a frozen encoder, which it does not."""
    width, code, encoder = hparams.representation_width, hparams.pool == "code4", on.encoder
    pooled = encoder.hidden * (4 if code else 3)
    mlps = 2 * parameters_of(lambda: RepresentationMLP(pooled, width))
    mlps += parameters_of(lambda: PromptMLP(width, hparams.prompt_length, on.shape.hidden))
    own = mlps + hparams.sentinel_length * encoder.hidden
    within = encoder.parameters + (encoder.pooler if code else 0)
    return (own, within) if hparams.encoder == "frozen" else (own + within, 0)


@dataclass(frozen=True)
class Trained:
    """A network with what turns text into its input."""

    network: RecipeNetwork
    batcher: TextBatcher

    def pooled(self, rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
        """Pooled vectors [B, P] of rows of encoder ids."""

        def pooled(group: list[int]) -> Tensor:
            return self.network.pooled(*self.batcher.pad([rows[row] for row in group], device))

        return in_groups([*map(len, rows)], pooled)


def fresh_network(lm: LanguageModel, hparams: RecipeHparams, encoder: Path, seed: int) -> Trained:
    """The network that training starts from, around a pre-trained sentence encoder."""
    hparams.check_backbone(lm.architecture.model_type)
    sentences = SentenceEncoder.from_directory(encoder, pool=hparams.pool, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RecipeNetwork(sentences, hparams, lm.hidden_size)
    batcher = TextBatcher.from_directory(encoder, sentences.max_length)
    return Trained(network.to(lm.device), batcher)


def empty_network(lm: LanguageModel, hparams: RecipeHparams, encoder: Path) -> Trained:
    """A network for trained weights; the encoder's directory gives its shape and its tokenizer.

    A frozen encoder's weights are not among the trained ones, and are read from there too.
    """
    if hparams.encoder == "frozen":
        return fresh_network(lm, hparams, encoder, seed=0)
    config = read_config(encoder)
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, then replaced
        sentences = SentenceEncoder(config, pool=hparams.pool)
        network = RecipeNetwork(sentences, hparams, lm.hidden_size)
    batcher = TextBatcher.from_directory(encoder, sentences.max_length)
    return Trained(network.to(lm.device), batcher)


# ---- The knowledge retrieval repository ---------------------------------------------------------
#
# Searching it approximately, with FAISS, is ours: the optional package is faiss-cpu, and rows on a
# GPU are searched on the CPU.

_PROBED = 32  # cells that a query looks into, of about the square root of the number of rows
_SAMPLED = 64  # rows for each cell that its centre is computed from
_ROUNDS = 10  # of k-means


class PromptRepository:
    """n + 1 rows of a key [d_r] and a continuous prompt [l, d]; row 0 is the knowledge sentinel.

    Rows are appended in amortised constant time and never changed (RECIPE section 4.1). A query
    uses the best row only if it beats the sentinel strictly, or a threshold in the sentinel's
    place.
    """

    def __init__(
        self,
        keys: Tensor,
        prompts: Tensor,
        *,
        threshold_at: Callable[[int], float] | None = None,
        index: InnerProductIndex | None = None,
    ) -> None:
        """Start with keys [n + 1, d_r] and prompts [n + 1, l, d], the sentinel's first.

        `threshold_at` gives the threshold after some edits. With an index, a large repository is
        searched approximately.
        """
        self.threshold: float | None = None
        self._threshold_at = threshold_at
        self._index = index
        self._keys = GrowingRows()
        self._prompts = GrowingRows()
        self.append(keys, prompts)

    def __len__(self) -> int:
        """Number of stored edits; the sentinel does not count."""
        return len(self._keys) - 1

    @property
    def keys(self) -> Tensor:
        """View [n + 1, d_r] of all keys, the sentinel first."""
        return self._keys.rows

    @property
    def prompts(self) -> Tensor:
        """View [n + 1, l, d] of all prompts; the sentinel's is zero."""
        return self._prompts.rows

    @property
    def allocated(self) -> int:
        """Bytes of the buffers, spare rows included."""
        return self._keys.allocated + self._prompts.allocated

    def append(self, keys: Tensor, prompts: Tensor) -> None:
        """Store rows of keys [k, d_r] and prompts [k, l, d], in order."""
        if len(keys) != len(prompts):
            raise ValueError(f"wanted one prompt for each of {len(keys)} keys, got {len(prompts)}.")
        self._keys.extend(keys)
        self._prompts.extend(prompts)
        if self._threshold_at is not None:
            self.threshold = self._threshold_at(len(self))

    def retrieve(self, queries: Tensor) -> Tensor:
        """Row [B] that each query [B, d_r] uses; 0 where nothing beats the sentinel (section 4.2).

        Of several equal best rows the oldest is taken.
        """
        if self._index is not None and len(self) >= self._index.smallest:
            return self._indexed(queries, self._index)
        scores = self.scores(queries)  # [B, n + 1]
        best, rows = scores.max(dim=1)  # the first of several
        return torch.where(best > scores[:, 0], rows, 0)

    def scores(self, queries: Tensor) -> Tensor:
        """Score of each row for each query, q . k [B, n + 1]; edits must beat the first."""
        scores = queries @ self.keys.T
        if self.threshold is not None:
            scores[:, 0] = self.threshold
        return scores

    def _indexed(self, queries: Tensor, index: InnerProductIndex) -> Tensor:
        """As `retrieve`, among the rows that the index finds; their scores are exact."""
        rows = index.nearest(queries, self.keys[1:]) + 1
        scores = (queries * self.keys[rows]).sum(dim=1)
        least = queries @ self.keys[0] if self.threshold is None else self.threshold
        return torch.where(scores > least, rows, 0)

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all rows, the sentinel's included."""
        return {"keys": self.keys.clone(), "prompts": self.prompts.clone()}


class InnerProductIndex:
    """Finds the row of a growing matrix with (almost surely) the largest inner product.

    An inverted file: rows lie in cells around some of them, and a query looks into the nearest
    cells alone. Rows are added at the first query after they were appended; cells are rebuilt
    whenever the rows have doubled, which is amortised constant time for each. Searching here is
    worth while from `smallest` rows on.

    Raises:
        ValueError: faiss-cpu is not installed.
    """

    def __init__(self, *, smallest: int) -> None:
        check_faiss()
        import faiss

        self.smallest = smallest
        self._faiss: Any = faiss
        self._cells: Any = None
        self._built_for = 0  # rows

    def nearest(self, queries: Tensor, rows: Tensor) -> Tensor:
        """Number [B] of the row of `rows` [N, d] for each query [B, d].

        `rows` are those of the last call and further ones.
        """
        self._add_new(rows)
        self._cells.nprobe = min(_PROBED, self._cells.nlist)
        _, numbers = self._cells.search(_array(queries), 1)
        return torch.from_numpy(numbers[:, 0]).to(rows.device)

    def _add_new(self, rows: Tensor) -> None:
        if (
            self._cells is None
            or len(rows) >= 2 * self._built_for
            or len(rows) < self._cells.ntotal
        ):
            self._build(rows)
        self._cells.add(_array(rows[self._cells.ntotal :]))

    def _build(self, rows: Tensor) -> None:
        width, count = rows.shape[1], max(1, math.isqrt(len(rows)))
        measure = self._faiss.METRIC_INNER_PRODUCT
        self._cells = self._faiss.IndexIVFFlat(
            self._faiss.IndexFlatIP(width), width, count, measure
        )
        self._cells.cp.niter, self._cells.cp.max_points_per_centroid = _ROUNDS, _SAMPLED
        self._cells.cp.min_points_per_centroid = 1
        self._cells.train(_array(rows))
        self._built_for = len(rows)


def _array(rows: Tensor) -> Any:
    return rows.detach().float().contiguous().cpu().numpy()
