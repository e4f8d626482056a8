"""The parts of WISE: the rows of an edit, the layer beside them, side memories and their merges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.base import EditRequest, Hparams
from editors.parts.checks import check_above, check_fields
from editors.parts.language_model import LanguageModel
from editors.parts.retrieving import Explanation, nearest
from editors.parts.tokens import TokenBatch, prompt_ids, target_ids

Projection = Literal["mlp_in", "mlp_out"]
# `retrieve`: finished memories stay apart, and a question goes to the most active one. `merge`:
# they are merged into one weight, beside which there is the memory in progress.
WiseMode = Literal["retrieve", "merge"]
# Which entries the optimiser's weight decay shrinks: `all` (original), so that over a long stream a
# memory drifts where it may not learn, or those alone that it may change.
Decay = Literal["all", "masked"]
# What routing reads of a row that brings its answer: the prompt alone, or (original) all of it.
RoutedOn = Literal["prompt", "row"]


@dataclass(frozen=True, kw_only=True)
class WiseHparams(Hparams):
    """Defaults are EasyEdit's for LLaMA-2-7B, with its names."""

    layer: int | None  # None: at a relative depth of 27/32
    projection: Projection = "mlp_out"
    edit_lr: float = 1.0  # of SGD
    n_iter: int = 70
    alpha: float = 5.0  # most activation of what is out of scope
    beta: float = 20.0  # least activation of the edit
    gamma: float = 10.0  # least difference of both
    act_ratio: float = 0.88  # of the least activation of an edit, above which a memory answers
    mask_ratio: float = 0.2  # of entries that a memory may change
    decay: Decay = "all"
    norm_constraint: float | None = 1.0  # largest change of an entry; None: free
    save_freq: int = 500  # edits in one memory
    merge_freq: int = 1_000  # edits between two merges
    density: float = 0.53  # of the entries of a memory that a merge looks at
    mode: WiseMode = "retrieve"
    routed_on: RoutedOn = "prompt"  # ours
    context_lengths: tuple[int, ...] = (10,) * 10  # tokens of each random prefix

    def __post_init__(self) -> None:
        check_fields(self, WiseHparams)
        for name in ("edit_lr", "act_ratio", "mask_ratio", "density"):
            check_above(name, vars(self)[name], 0)
        if self.norm_constraint is not None:
            check_above("norm_constraint", self.norm_constraint, 0)
        if self.merge_freq % self.save_freq:
            raise ValueError(
                f"merge_freq must be a multiple of save_freq, got {self.merge_freq} "
                f"and {self.save_freq}."
            )

    @property
    def template_lengths(self) -> tuple[int, ...]:
        return self.context_lengths

    @property
    def stops_early(self) -> bool:
        """Once the loss is small and stays what it is."""
        return True

    @property
    def reads_training(self) -> bool:
        """What is out of scope comes from training edits."""
        return True


# ---- Training rows and the layer ---------------------------------------------------------------


@dataclass(frozen=True)
class TrainingRows:
    """R rows of the fact, each with its target, then one row that is out of scope.

    Activations of a row are means over the positions that a mask marks; a row without any mark has
    none.
    """

    batch: TokenBatch  # R + 1 rows without targets
    rows: Tensor  # [N] of the positions that predict target tokens
    columns: Tensor  # [N]
    labels: Tensor  # [N]
    in_scope: Tensor  # bool [R + 1, T]
    out_of_scope: Tensor  # bool [R + 1, T]
    recorded: Tensor  # bool [R + 1, T], whose activation routing compares with later

    def loss(self, lm: LanguageModel, states: Tensor) -> Tensor:
        """L_ft: mean over rows of the target's negative log-likelihood over (tokens + 1).

        `states` [R + 1, T, d] are the final ones.
        """
        logits = lm.head(states[self.rows, self.columns])
        exact = torch.promote_types(logits.dtype, torch.float32)
        losses = functional.cross_entropy(logits.to(exact), self.labels, reduction="none")
        counts = torch.bincount(self.rows)
        facts = (counts > 0).sum()
        return (losses / ((counts[self.rows] + 1) * facts)).sum()


def training_rows(
    lm: LanguageModel,
    request: EditRequest,
    templates: Sequence[str],
    unrelated: str,
    routed_on: RoutedOn,
) -> TrainingRows:
    """The rows of a request under each context template, and an unrelated text.

    Positions are those of real tokens, where the original counts padding too.
    """
    tokenizer = lm.tokenizer
    prompts = [
        prompt_ids(tokenizer, template.replace("{}", request.prompt, 1)) for template in templates
    ]
    target = target_ids(tokenizer, request.target, request.prompt)
    whole = [[*prompt, *target] for prompt in prompts] + [prompt_ids(tokenizer, unrelated)]
    batch = lm.batch_of_pairs([(row, ()) for row in whole])
    real = batch.attention_mask.bool()
    facts = (torch.arange(len(whole), device=lm.device) < len(prompts))[:, None]
    ends = torch.tensor([*map(len, prompts), 0], device=lm.device)[:, None]
    in_prompt = torch.arange(real.shape[1], device=lm.device) < ends
    return TrainingRows(
        batch,
        rows=torch.tensor([i for i in range(len(prompts)) for _ in target], device=lm.device),
        columns=torch.tensor(
            [len(prompt) - 1 + j for prompt in prompts for j in range(len(target))],
            device=lm.device,
        ),
        labels=torch.tensor(target * len(prompts), device=lm.device),
        in_scope=real & facts,
        out_of_scope=real & ~facts,
        recorded=in_prompt if routed_on == "prompt" else real & facts,
    )


def activations(distances: Tensor, positions: Tensor) -> Tensor:
    """Means of distances [B, T] over the marked positions [B, T], of the rows that have any."""
    marked = positions.any(dim=1)
    distances, positions = distances[marked], positions[marked]
    return (distances * positions).sum(dim=1) / positions.sum(dim=1)


@dataclass(frozen=True)
class SideLayer:
    """A linear module of one block; memories of it are (out, in), in single precision or more.

    Its bias belongs to every path (the original forgets GPT-J's on all but the main one).
    """

    module: nn.Module
    block: int
    activation: nn.Module  # the MLP's non-linearity
    original: Tensor  # [d_out, d_in]

    @classmethod
    def of(cls, lm: LanguageModel, hparams: WiseHparams, block: int) -> SideLayer:
        """The layer that the hyper-parameters name, in block number `block`."""
        row = lm.architecture
        module = lm.module(row.mlp_out if hparams.projection == "mlp_out" else row.mlp_in[0], block)
        weight = row.as_out_in(module.get_parameter("weight").detach())
        exact = torch.promote_types(lm.dtype, torch.float32)
        return cls(module, block, lm.module(row.mlp_activation, block), weight.to(exact))

    def answer(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Outputs [B, T, d_out] of another weight W' [d_out, d_in]."""
        bias = getattr(self.module, "bias", None)
        return functional.linear(inputs, weight.to(inputs.dtype), bias)

    def distances(self, own: Tensor, other: Tensor) -> Tensor:
        """|act(W' x) - act(W x)| [B, T] of outputs [B, T, d_out]: how far W' moves the layer."""
        exact = self.original.dtype
        difference = self.activation(other.to(exact)) - self.activation(own.to(exact))
        norms: Tensor = torch.linalg.vector_norm(difference, dim=-1)
        return norms


# ---- Side memories -----------------------------------------------------------------------------

# What a merge after the first gives to the new memories together, and to the earlier merge.
SHARES = (0.4, 0.6)


@dataclass(frozen=True)
class SideTrained:
    """A memory after one more edit."""

    weight: Tensor  # [d_out, d_in]
    activation: float  # mean over the fact's rows, before the last step
    target_losses: tuple[float, ...]  # of every forward
    margin_losses: tuple[float, ...]
    first_gradient: Tensor | None  # masked; None where no step was taken


@dataclass
class Memories:
    """Weights [d_out, d_in] beside the original one, with the least activation of their edits."""

    original: Tensor
    hparams: WiseHparams
    count: int = 0  # edits so far
    side: Tensor = field(init=False)  # in progress
    least: float = math.inf  # of `side`; in the mode `merge` of all edits
    finished: list[Tensor] = field(default_factory=list)
    finished_least: list[float] = field(default_factory=list)  # only in the mode `retrieve`
    joined: Tensor | None = None  # the merge of the mode `merge`

    def __post_init__(self) -> None:
        self.side = self.original

    @property
    def shard(self) -> int:
        """Number of the memory in progress."""
        return self.count // self.hparams.save_freq

    @property
    def candidates(self) -> list[Tensor]:
        """Weights that may answer, in the order in which `routes` is given their distances."""
        if self.hparams.mode == "retrieve":
            return [self.side, *self.finished]
        return [self.side] if self.joined is None else [self.side, self.joined]

    def take(self, trained: SideTrained) -> None:
        """Include an edit; finish and merge memories where it is time."""
        self.side = trained.weight
        self.least = min(self.least, trained.activation)
        self.count += 1
        if self.count % self.hparams.save_freq == 0:
            self.finished.append(self.side)
            self.side = self.original
            if self.hparams.mode == "retrieve":
                self.finished_least.append(self.least)
                self.least = math.inf
        if self.count % self.hparams.merge_freq == 0:
            self._merge()

    def routes(self, distances: Tensor) -> Tensor:
        """Which candidate [B] answers each row, by distances [C, B]; -1 for the original weight."""
        if self.hparams.mode == "merge":
            return self._merged_routes(distances)
        ratio = self.hparams.act_ratio
        best = distances[0]
        chosen = torch.where(best >= self.least * ratio, 0, -1)
        for number, least in enumerate(self.finished_least, start=1):
            better = (distances[number] > best) & (distances[number] > least * ratio)
            chosen = torch.where(better, number, chosen)
            best = torch.where(better, distances[number], best)
        return chosen

    def explain(self, distances: Tensor) -> list[Explanation]:
        """Which candidate answers each row, and why, by distances [C, B]."""
        retrieving = self.hparams.mode == "retrieve"
        least = [self.least, *self.finished_least] if retrieving else [self.least] * len(distances)
        names = [f"memory {number}" for number in range(1, len(distances))]
        explanations = []
        for scores, route in zip(distances.T, self.routes(distances).tolist(), strict=True):
            used = None if route < 0 else route
            shown = nearest(scores, ["memory in progress", *names], also=used)
            explanations.append(
                Explanation(
                    measure="distance moved",
                    candidates=shown,
                    limit=least[shown[0].row if used is None else used] * self.hparams.act_ratio,
                    limit_is="least activation",
                    used=used,
                )
            )
        return explanations

    def state_dict(self) -> dict[str, Tensor]:
        """Everything but the original weight."""
        state = {"count": torch.tensor(self.count)}
        if not self.count:
            return state
        for name, numbers in (("least", [self.least]), ("finished_least", self.finished_least)):
            state[name] = torch.tensor(numbers, dtype=torch.float64)
        state["side"] = _copied(self.side)
        state |= {f"finished.{i}": _copied(weight) for i, weight in enumerate(self.finished)}
        return state | ({} if self.joined is None else {"joined": _copied(self.joined)})

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], original: Tensor, hparams: WiseHparams
    ) -> Memories:
        """The memories that `state_dict` described."""
        memories = cls(original, hparams, int(state["count"]))
        if not memories.count:
            return memories
        memories.side = state["side"].to(original)
        memories.least = float(state["least"])
        memories.finished_least = state["finished_least"].tolist()
        names = [f"finished.{i}" for i in range(len(state))]
        memories.finished = [state[name].to(original) for name in names if name in state]
        memories.joined = state["joined"].to(original) if "joined" in state else None
        return memories

    def _merged_routes(self, distances: Tensor) -> Tensor:
        side = distances[0]
        joined = distances[1] if len(distances) > 1 else torch.zeros_like(side)
        limit = self.least * self.hparams.act_ratio
        chosen = torch.where(joined > side, len(distances) - 1, 0)
        return torch.where((side < limit) & (joined < limit), -1, chosen)

    def _merge(self) -> None:
        hparams = self.hparams
        if hparams.mode == "retrieve":
            number = hparams.merge_freq // hparams.save_freq
            last, least = self.finished[-number:], self.finished_least[-number:]
            joined = merged(self.original, last, [1.0] * len(last), hparams.density)
            self.finished[-number:], self.finished_least[-number:] = [joined], [min(least)]
            return
        weights, shares = self.finished, [1.0] * len(self.finished)
        if self.joined is not None:
            new, earlier = SHARES
            weights, shares = [*weights, self.joined], [new / len(weights)] * len(weights)
            shares.append(earlier)
        self.joined = merged(self.original, weights, shares, hparams.density)
        self.finished = []


def _copied(weight: Tensor) -> Tensor:
    return weight.clone(memory_format=torch.contiguous_format)


def merged(
    original: Tensor, weights: Sequence[Tensor], shares: Sequence[float], density: float
) -> Tensor:
    """TIES merging of weights that started from the same one (Yadav et al., NeurIPS 2023).

    Of each change the largest entries count; each entry takes the sign of the weighted sum of
    these, and the weighted mean of those that agree with it.
    """
    changes = [_largest(weight - original, density) for weight in weights]
    total = sum((s * c for s, c in zip(shares, changes, strict=True)), torch.zeros_like(original))
    sign = torch.where(total >= 0, 1.0, -1.0).to(original)
    above, below = torch.zeros_like(original), torch.zeros_like(original)
    for share, change in zip(shares, changes, strict=True):
        agrees = change.sign() == sign
        above += share * change * agrees
        below += share * agrees
    return original + above / torch.where(below == 0, 1.0, below)


def _largest(change: Tensor, density: float) -> Tensor:
    """The change with all but its `density` largest entries at zero."""
    flat = change.flatten()
    largest = flat.abs().topk(int(density * len(flat))).indices
    return torch.zeros_like(flat).index_copy(0, largest, flat[largest]).view_as(change)
