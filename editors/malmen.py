"""MALMEN: many edits at once by a hypernetwork (ICLR 2024).

A trained network turns the key and the value gradient of every answer token into a wanted change
of the value; a regularised least-squares problem joins all of them into one shift of each weight.

Paper: "Massive Editing for Large Language Models via Meta Learning". Public implementation:
ChenmienTan/malmen at 1df295dc.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from editors.base import EditRequest
from editors.parts.checks import check_at_least, check_choice
from editors.parts.hypernetwork.networks import (
    DenseShift,
    Hypernetwork,
    HypernetworkHparams,
    Projection,
    deltas_of,
    gradient_factors,
    group_means,
    request_rows,
    shaped_projections,
)
from editors.parts.hypernetwork.training import (
    HypernetworkEditor,
    MetaBatch,
    Objective,
    Shifts,
    answer_nll,
    locality_kl,
)
from editors.parts.language_model import LanguageModel
from editors.parts.needs import Needs, Setting
from editors.parts.tokens import Pair

# Whose keys and gradients make the change: the answer tokens (the original), or all tokens of the
# row (`token: mask` of zjunlp/EasyEdit's one configuration, hparams/TRAINING/MALMEN/gpt2-xl.yaml).
Tokens = Literal["answer", "all"]

# `original` has the defects of the released code's running statistics: too much spread for each
# batch of rows, and no statistics at all after a batch of one row. In both modes statistics are
# those of training; the released code goes on changing them at held-out and deployed edits.
MalmenMode = Literal["exact", "original"]

LAST_BLOCKS = 6  # edited where no layers are named: the released code's choice for GPT-J
_CHUNK = 1024  # tokens in one pass through a network (released configurations)
_EPS = torch.finfo(torch.float32).eps  # beside the standard deviations (released code)


@dataclass(frozen=True, kw_only=True)
class MalmenHparams(HypernetworkHparams):
    """Defaults are the released configurations', but for the edits of one system.

    The original trains on and deploys 512 to 1,024 edits at a time. A lifelong stream brings one
    edit at a time, so training does too (as zjunlp/EasyEdit's configuration, whose iterations,
    interval and patience these are); the setting is recorded with every number.
    """

    later_fields = frozenset({"tokens", "selection"})

    layers: tuple[int, ...] | None = None
    mode: MalmenMode = "exact"
    n_edits: int = 1  # of one system in training; in use a call has as many as it gets
    edit_rate: float = 1e-6
    learning_rate: float = 1e-5
    weight_edit: float = 1.0
    weight_locality: float = 1.0
    max_grad_norm: float = 1.0
    batch_size: int = 1
    micro_batch: int = 32
    iterations: int = 10_000
    checkpoint_interval: int = 100
    patience: int | None = 1_000
    tokens: Tokens = "answer"
    # The selected checkpoint: the smallest held-out loss (ours), or the largest held-out
    # reliability, which EasyEdit's configuration calls ES_val.
    selection: Literal["loss", "reliability"] = "loss"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("mode", self.mode, MalmenMode)
        check_choice("tokens", self.tokens, Tokens)
        check_choice("selection", self.selection, Literal["loss", "reliability"])
        check_at_least("n_edits", self.n_edits, 1)


EASY_EDIT: dict[str, Any] = {"tokens": "all", "selection": "reliability"}

# Ours, set by hand for miniature models: narrow networks, rates that suit small weights, and the
# mean gradient of several single edits in each step.
MINIATURE = MalmenHparams(
    rank=64,
    edit_rate=1e-2,
    learning_rate=3e-4,
    batch_size=32,
    iterations=1_200,
    checkpoint_interval=100,
    patience=400,
)

# Ours, for those that are not shipped: `run` trains them in minutes.
FIRST_USE = replace(MINIATURE, iterations=500)

# Ours, for tests: seconds on any model.
TINY = replace(
    MINIATURE,
    rank=8,
    edit_rate=0.1,
    learning_rate=3e-3,
    batch_size=4,
    iterations=30,
    checkpoint_interval=15,
    patience=None,
    held_out=4,
)


# ---- the normal equation ---------------------------------------------------------------------


def shift_of(keys: Tensor, differences: Tensor, regulariser: Tensor) -> Tensor:
    """Shift S [b, d_in, d_out] for keys [b, n, d_in] and value differences [b, n, d_out]."""
    k, d = keys.double(), differences.double()
    if _dual(keys):
        return (k.mT @ _solve(k @ k.mT, regulariser, d)).to(keys.dtype)
    return _solve(k.mT @ k, regulariser, k.mT @ d).to(keys.dtype)


def shift_gradients(
    keys: Tensor, differences: Tensor, regulariser: Tensor, upstream: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of a loss with respect to the differences and to log lambda.

    Args:
        keys: [b, n, d_in].
        differences: [b, n, d_out].
        regulariser: lambda, a scalar.
        upstream: gradient of the loss with respect to the shift [b, d_in, d_out].

    Returns:
        ([b, n, d_out], scalar). With M = (K'K + lambda I)^-1 G they are K M and -lambda <M, S>.
    """
    k, d, g = keys.double(), differences.double(), upstream.double()
    if _dual(keys):
        solved = _solve(k @ k.mT, regulariser, torch.cat([k @ g, d], dim=-1))
        by_difference, weights = solved.tensor_split([g.shape[-1]], dim=-1)
        product = (by_difference * weights).sum()
    else:
        m = _solve(k.mT @ k, regulariser, g)
        by_difference = k @ m
        product = (m * _solve(k.mT @ k, regulariser, k.mT @ d)).sum()
    by_log = -regulariser.double() * product
    return by_difference.to(keys.dtype), by_log.to(keys.dtype)


def _dual(keys: Tensor) -> bool:
    return keys.shape[-2] < keys.shape[-1]


def _solve(gram: Tensor, regulariser: Tensor, right: Tensor) -> Tensor:
    """(gram + lambda I)^-1 right."""
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    solved: Tensor = torch.linalg.solve(gram + regulariser.double() * identity, right)
    return solved


# ---- keys, gradients and shifts --------------------------------------------------------------


class NormalNetwork(nn.Module):
    """A hypernetwork with one learned regulariser lambda a projection."""

    def __init__(self, editors: Hypernetwork) -> None:
        super().__init__()
        self.editors = editors
        self.log_lambdas = nn.Parameter(torch.zeros(len(editors.projections)))

    @property
    def projections(self) -> tuple[Projection, ...]:
        return self.editors.projections

    def value_differences(self, number: int, keys: Tensor, gradients: Tensor) -> Tensor:
        """Wanted changes [N, d_out] of the values at keys [N, d_in]: -rate (k . k~) g~."""
        projection = self.projections[number]
        editor = self.editors.network_of(projection)
        pseudo_keys, pseudo_gradients = editor(keys, gradients, projection.index)
        weights = (keys * pseudo_keys).sum(-1, keepdim=True)
        differences: Tensor = -self.editors.edit_rates[number] * weights * pseudo_gradients
        return differences


@dataclass(frozen=True)
class Cache:
    """What the edits of b systems leave at one projection: one row an answer token."""

    keys: Tensor  # [N, d_in]
    gradients: Tensor  # [N, d_out]
    owner: Tensor  # [N] system of each row
    systems: int

    def by_system(self, rows: Tensor) -> Tensor:
        """Rows [N, d] as [b, n, d], short systems filled with zeros."""
        positions, most = self._positions
        padded = rows.new_zeros(self.systems, most, rows.shape[-1])
        padded[self.owner, positions] = rows
        return padded

    def from_systems(self, padded: Tensor) -> Tensor:
        """The rows [N, d] that `by_system` laid out."""
        return padded[self.owner, self._positions[0]]

    @cached_property
    def _positions(self) -> tuple[Tensor, int]:
        """Place of each row among those of its system, and the size of the largest system."""
        of_system = self.owner[:, None] == torch.arange(self.systems, device=self.owner.device)
        places = of_system.cumsum(0).gather(1, self.owner[:, None])[:, 0] - 1
        return places, int(of_system.sum(0).max())


def cached(
    lm: LanguageModel,
    network: NormalNetwork,
    micro_batches: Sequence[Sequence[Pair]],
    systems: int,
    tokens: Tokens = "answer",
) -> dict[str, Cache]:
    """Keys and gradients at the answers, or at all tokens, by path.

    A micro-batch holds rows of every system, in order. Each micro-batch of a system is one loss,
    the mean over its answer tokens. In training mode the running statistics take in the rows.
    """
    caches: dict[str, list[Cache]] = {projection.path: [] for projection in network.projections}
    for rows in micro_batches:
        batch = lm.batch_of_pairs(rows)
        weights = group_means(batch, systems)
        factors = gradient_factors(lm, network.projections, batch, weights)
        everywhere = batch.attention_mask.nonzero(as_tuple=True)
        at = batch.scored_positions if tokens == "answer" else everywhere
        for projection in network.projections:
            factor = factors[projection.path]
            keys, gradients = factor.inputs[at], factor.gradients[at]
            if network.training:
                network.editors.network_of(projection).observe(keys, gradients)
            owner = at[0] // (len(batch) // systems)
            caches[projection.path].append(Cache(keys, gradients, owner, systems))
    return {path: _joined(parts) for path, parts in caches.items()}


def _joined(caches: Sequence[Cache]) -> Cache:
    return Cache(
        torch.cat([cache.keys for cache in caches]),
        torch.cat([cache.gradients for cache in caches]),
        torch.cat([cache.owner for cache in caches]),
        caches[0].systems,
    )


@torch.no_grad()
def all_differences(network: NormalNetwork, number: int, cache: Cache) -> Tensor:
    """Value differences [N, d_out] of a whole cache."""
    parts = [
        network.value_differences(number, cache.keys[chunk], cache.gradients[chunk])
        for chunk in _chunks(len(cache.keys))
    ]
    return torch.cat(parts)


@torch.no_grad()
def normal_shifts(network: NormalNetwork, caches: Mapping[str, Cache]) -> dict[str, DenseShift]:
    """Shifts of all projections, by path."""
    shifts = {}
    for number, projection in enumerate(network.projections):
        cache = caches[projection.path]
        values = shift_of(
            cache.by_system(cache.keys),
            cache.by_system(all_differences(network, number, cache)),
            network.log_lambdas[number].exp(),
        )
        shifts[projection.path] = DenseShift(values)
    return shifts


@torch.enable_grad()
def backward_into_network(
    network: NormalNetwork, caches: Mapping[str, Cache], upstream: Mapping[str, Tensor]
) -> None:
    """Phase two: add to the network's gradients, from those of the shifts [b, d_in, d_out]."""
    for number, projection in enumerate(network.projections):
        cache = caches[projection.path]
        by_difference, by_log = shift_gradients(
            cache.by_system(cache.keys),
            cache.by_system(all_differences(network, number, cache)),
            network.log_lambdas[number].detach().exp(),
            upstream[projection.path],
        )
        wanted = cache.from_systems(by_difference)
        (network.log_lambdas[number] * by_log).backward()
        for chunk in _chunks(len(cache.keys)):
            rows = cache.keys[chunk], cache.gradients[chunk]
            (network.value_differences(number, *rows) * wanted[chunk]).sum().backward()


def _chunks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, _CHUNK):
        yield slice(start, start + _CHUNK)


class MalmenObjective(Objective[MalmenHparams]):
    """Two-phase training by the edited model's answers to rephrases and unrelated questions.

    No graph leads through the language model into the network: phase one takes the gradient of the
    outer loss with respect to each shift, phase two carries it through the normal equation in
    closed form and then into the networks, a chunk of tokens at a time.
    """

    network: NormalNetwork

    @property
    def n_edits(self) -> int:
        return self.hparams.n_edits

    def selecting(self, scores: Mapping[str, float]) -> float:
        """See the base class; a large reliability is a small number."""
        by_loss = self.hparams.selection == "loss"
        return scores["loss"] if by_loss else 1 - scores["reliability"]

    @property
    def systems_at_once(self) -> int:
        """Groups of edits in one forward."""
        return self.hparams.batch_size

    def cached(self, batch: MetaBatch) -> dict[str, Cache]:
        """Keys and gradients of the edits of each system."""
        parts = [part.edits for part in batch.micro_batches(self.hparams.micro_batch)]
        return cached(self.lm, self.network, parts, batch.systems, self.hparams.tokens)

    def shifts(self, batch: MetaBatch) -> dict[str, DenseShift]:
        return normal_shifts(self.network, self.cached(batch))

    def losses(self, batch: MetaBatch, shifts: Shifts) -> tuple[Tensor, Tensor]:
        """(edit loss, locality loss), summed over systems; means over the answers of each."""
        return (
            answer_nll(self.lm, batch.rephrases, shifts, batch.systems),
            locality_kl(self.lm, batch.unrelated, shifts, batch.systems, "answer"),
        )

    def backward(self, batch: MetaBatch) -> tuple[float, float]:
        """See the base class; the loss of a system is a sum over its micro-batches, as released."""
        caches = self.cached(batch)
        upstream, terms = self.weight_gradients(batch, normal_shifts(self.network, caches))
        backward_into_network(self.network, caches, upstream)
        edit = sum(term[0] for term in terms) / batch.systems
        locality = sum(term[1] for term in terms) / batch.systems
        return edit, locality

    @torch.enable_grad()
    def weight_gradients(
        self, batch: MetaBatch, shifts: Mapping[str, DenseShift]
    ) -> tuple[dict[str, Tensor], list[tuple[float, float]]]:
        """Phase one: gradients [b, d_in, d_out] of the mean loss over systems, by path.

        Returns them with the two loss terms of each micro-batch, summed over systems.
        """
        leaves = {path: s.values.detach().requires_grad_(True) for path, s in shifts.items()}
        terms = []
        for part in batch.micro_batches(self.hparams.micro_batch):
            edit, locality = self.losses(part, {p: DenseShift(v) for p, v in leaves.items()})
            (self.hparams.total(edit, locality) / batch.systems).backward()
            terms.append(torch.stack([edit.detach(), locality.detach()]))
        gradients = {path: leaf.grad for path, leaf in leaves.items() if leaf.grad is not None}
        return gradients, [(edit, locality) for edit, locality in torch.stack(terms).tolist()]


class MalmenEditor(HypernetworkEditor[MalmenHparams]):
    """Adds a hypernetwork's least-squares shift to the last blocks' MLP output projections.

    Over a stream the shifts add up: keys and gradients are those of the model as edited so far,
    while the network and its statistics stay as trained. The requests of one call are one problem.
    """

    family = "MP"
    label = "MALMEN"
    table_row = 5
    mark = ("#CC79A7", "D")
    edits_batches = True
    key = "malmen"
    last_blocks = LAST_BLOCKS
    edits_inputs = False
    hparams_class = MalmenHparams
    as_in_paper: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": EASY_EDIT}
    presets: ClassVar[Mapping[str, MalmenHparams]] = {
        # ChenmienTan/malmen config/model/gpt-j.yaml; zjunlp/EasyEdit
        # hparams/TRAINING/MALMEN/gpt2-xl.yaml. No configuration for LLaMA-2 was published: the
        # last six output projections, as of the others.
        "gpt2-xl": MalmenHparams(layers=(42, 43, 44, 45, 46, 47)),
        "gpt-j-6b": MalmenHparams(layers=(22, 23, 24, 25, 26, 27)),
        "llama-2-7b": MalmenHparams(layers=(26, 27, 28, 29, 30, 31)),
        "mini-llama": MINIATURE,
        **dict.fromkeys(("mini-gptj", "mini-gpt2"), FIRST_USE),
        "smollm2-135m": MalmenHparams(layers=(24, 25, 26, 27, 28, 29)),
        "default": MalmenHparams(),
        "original": MalmenHparams(mode="original"),
        "easyedit": replace(MalmenHparams(), **EASY_EDIT),
        "tiny": TINY,
    }

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Add the shift for all requests together."""
        if not requests:
            return
        rows = request_rows(requests, self.lm.tokenizer)
        size = self.hparams.micro_batch
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        caches = cached(self.lm, self.network, parts, 1, self.hparams.tokens)
        shifts = normal_shifts(self.network, caches)
        matrices = {path: shift.values[0] for path, shift in shifts.items()}
        self._weights.add(deltas_of(self.lm, self.network.projections, matrices))

    @classmethod
    def new_network(
        cls, projections: Sequence[Projection], hparams: MalmenHparams
    ) -> NormalNetwork:
        """Networks that leave factors as they are, but for normalisation; every lambda is 1."""
        inflated = hparams.mode == "original"
        editors = Hypernetwork(
            projections, hparams, modulation="after_clamp", eps=_EPS, inflated=inflated
        )
        return NormalNetwork(editors)

    @classmethod
    def objective(cls, lm: LanguageModel, network: Any, hparams: MalmenHparams) -> MalmenObjective:
        return MalmenObjective(lm, network, hparams)

    @classmethod
    def needs(cls, hparams: MalmenHparams, on: Setting) -> Needs:
        """Dense shifts and their gradients too."""
        needs = super().needs(hparams, on)
        count = len(shaped_projections(on.shape, hparams.layers or LAST_BLOCKS, inputs=False))
        dense = hparams.batch_size * on.shape.matrix * (8.0 * count + 16.0)
        return replace(
            needs,
            training=(needs.training or 0.0) + dense,
            training_operations=hparams.n_edits * needs.training_operations,
        )
