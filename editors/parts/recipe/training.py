"""How RECIPE's network is trained: batches, schedule, held-out scores, the ablation's threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from editors.base import EditSample
from editors.parts.fact_memory import best_threshold, hit_weights
from editors.parts.language_model import LanguageModel
from editors.parts.prefix import prefixed
from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.recipe.losses import Objective, RecipeBatch
from editors.parts.recipe.network import PromptRepository, RecipeNetwork, fresh_network
from editors.parts.tokens import Ids
from editors.parts.training.examples import (
    Example,
    PoolSampler,
    Question,
    examples_of,
    pick,
    split_pools,
)
from editors.parts.training.task import HELD_OUT_SEED, GeneratorScope, TrainingTask, decayed

_CHUNK = 64  # rows of one forward; results do not depend on it
_NONE = 0  # the sentinel's row of a repository


class BatchSampler(PoolSampler[Example]):
    """Draws batches without end.

    Probes are drawn uniformly over types, then inside the type, and separately for the contrastive
    and the editing terms (released code).
    """

    def __init__(
        self, pools: Mapping[str, Sequence[Example]], hparams: RecipeHparams, seed: int
    ) -> None:
        super().__init__(pools, seed, hparams.mix)
        self._batch_size = hparams.batch_size

    def draw_batch(self) -> RecipeBatch:
        """The next batch of `batch_size` examples."""
        return self.batch(self.draw(self._batch_size))

    def batch(self, examples: Sequence[Example]) -> RecipeBatch:
        """A batch of these examples, their probes drawn."""
        chances = torch.rand(len(examples), 9, generator=self.generator).tolist()
        drawn = list(zip(examples, chances, strict=True))
        edits = [example.reliability for example in examples]
        queries = [pick(e.generality, *chance[0:2]) for e, chance in drawn]
        queries += [pick(e.locality, *chance[2:4]) for e, chance in drawn]
        rows = [pick(e.generality, *chance[4:6]) for e, chance in drawn]
        rows += [pick(e.locality, *chance[6:8]) for e, chance in drawn]
        return RecipeBatch(
            knowledge=[example.fact_ids for example in examples],
            queries=[question.encoded for question in (*edits, *queries)],
            rows=[question.pair for question in (*edits, *rows)],
            generality_first=[chance[8] >= 0.5 for chance in chances],
        )


class RecipeTask(TrainingTask[Sequence[Example]]):
    """Trains encoder, projections, sentinel and prompt MLP on batches of edit samples."""

    logged = tuple(
        f"{kind}{aspect}"
        for aspect in ("reliability", "generality", "locality")
        for kind in ("", "hit_", "prompt_")
        if kind + aspect != "prompt_locality"
    )
    network: RecipeNetwork

    def __init__(
        self,
        lm: LanguageModel,
        samples: Mapping[str, Sequence[EditSample]],
        hparams: RecipeHparams,
        *,
        encoder: Path,
        seed: int,
    ) -> None:
        """Build the network around the pre-trained encoder and tokenise the samples.

        Raises:
            ValueError: too few usable samples.
        """
        trained = fresh_network(lm, hparams, encoder, seed)
        training, held_out = split_pools(
            samples,
            lambda rows: examples_of(rows, lm.tokenizer, encode=trained.batcher.ids),
            hparams.held_out,
            seed,
        )
        sampler = BatchSampler(training, hparams, seed)
        super().__init__(
            trained.network,
            sampler,
            held_out,
            rates=learning_rates(trained.network, hparams),
            dropout=GeneratorScope(seed, lm.device),
        )
        self._hparams, self._batches = hparams, sampler
        self._objective = Objective(lm, trained, hparams)
        self._training = training

    def loss(self, iteration: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        ramp = ramp_at(iteration, self._hparams)
        terms = self._objective.terms(
            self._batches.draw_batch(),
            retrieval=ramp > 0 or self._hparams.schedule != "staged",
            locality=ramp > 0,
        )
        return terms.total(self._hparams, ramp), vars(terms)

    def rate_factor(self, iteration: int) -> float:
        hparams = self._hparams
        return decayed(hparams.learning_rate_decay, iteration, hparams.iterations)

    def enter(self, *, training: bool) -> None:
        super().enter(training=training and self._hparams.dropout)

    def calibrate(self) -> None:
        """Choose the thresholds of the ablation without a sentinel."""
        if self.network.threshold is None:
            return
        counts = self._hparams.calibration_edits
        if counts:
            chosen = [
                threshold_after(n, self._objective, self.held_out, self._training) for n in counts
            ]
        else:
            pools = self._training.items()
            streams = {name: pool[: self._hparams.calibration] for name, pool in pools}
            chosen = [calibrated_threshold(self._objective, streams)]
        self.network.threshold.copy_(torch.tensor(chosen).reshape(self.network.threshold.shape))

    @torch.no_grad()
    def held_out_loss(self, pool: Sequence[Example]) -> float:
        """Mean total loss over the held-out examples, all terms at full weight."""
        size, totals = self._hparams.batch_size, []
        sampler = BatchSampler({"held_out": pool}, self._hparams, HELD_OUT_SEED)
        for start in range(0, len(pool), size):
            batch = sampler.batch(pool[start : start + size])
            total = self._objective.terms(batch).total(self._hparams)
            totals.append(total.item() * len(batch))
        return sum(totals) / len(pool)

    def scores(self, pool: Sequence[Example]) -> dict[str, float]:
        return {"edits": len(pool)} | validation_scores(self._objective, pool)


def learning_rates(network: RecipeNetwork, hparams: RecipeHparams) -> list[tuple[object, float]]:
    """(parameters, rate) of Adam; the prompt MLP may have a rate of its own."""
    rate, prompt_rate = hparams.learning_rate, hparams.prompt_learning_rate
    others = [
        parameter
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and not name.startswith("mlp_p.")
    ]
    prompts = network.mlp_p.parameters()
    return [(others, rate), (prompts, rate if prompt_rate is None else prompt_rate)]


def ramp_at(iteration: int, hparams: RecipeHparams) -> float:
    """Factor of the terms that are held back, at the step after `iteration` steps."""
    if hparams.schedule == "joint" or iteration >= hparams.ramp_end:
        return 1.0
    if iteration < hparams.ramp_start:
        return 0.0
    return (iteration - hparams.ramp_start + 1) / (hparams.ramp_end - hparams.ramp_start + 1)


# ---- Held-out scores ----------------------------------------------------------------------------


@torch.no_grad()
def validation_scores(objective: Objective, examples: Sequence[Example]) -> dict[str, float]:
    """Reliability, generality, locality and retrieval rates after editing all examples.

    Token accuracies are teacher-forced, retrieval sees prompts only; locality compares with the
    unedited model's argmax. `hit_*` are the shares of rows that retrieve their own edit, or
    nothing for locality; `prompt_*` are the accuracies if every row did, which says how well
    prompts steer. The network must be in eval mode.
    """
    repository = _filled_repository(objective, [example.fact_ids for example in examples])
    edited = list(enumerate(examples, start=1))  # by row of the repository
    aspects = {
        "reliability": [(k, e.reliability) for k, e in edited],
        "generality": [(k, q) for k, e in edited for group in e.generality for q in group],
        "locality": [(_NONE, q) for _, e in edited for q in e.unrelated],
    }
    scores: dict[str, float] = {}
    for aspect, owned in aspects.items():
        chunks = [owned[start : start + _CHUNK] for start in range(0, len(owned), _CHUNK)]
        rows = [row for chunk in chunks for row in _scored(objective, repository, chunk)]
        accuracies, hits, own_prompt = zip(*rows, strict=True)
        scores |= {aspect: fmean(accuracies), f"hit_{aspect}": fmean(hits)}
        if aspect != "locality":
            scores[f"prompt_{aspect}"] = fmean(own_prompt)
    return scores


def _filled_repository(objective: Objective, knowledge: Sequence[Ids]) -> PromptRepository:
    """A repository with the edits of all knowledge rows."""
    network = objective.trained.network
    repository = network.repository()
    for start in range(0, len(knowledge), _CHUNK):
        rows = knowledge[start : start + _CHUNK]
        keys = network.knowledge(objective.trained.pooled(rows, objective.lm.device))
        repository.append(keys, network.prompts(keys))
    return repository


def _scored(
    objective: Objective, repository: PromptRepository, owned: Sequence[tuple[int, Question]]
) -> list[tuple[float, bool, float]]:
    """Of (repository row to retrieve, question) pairs: accuracy, hit, accuracy with that row.

    A question that must retrieve nothing is compared with the unedited model, not with its target.
    """
    lm, trained = objective.lm, objective.trained
    pooled = trained.pooled([question.encoded for _, question in owned], lm.device)
    retrieved = repository.retrieve(trained.network.queries(pooled))  # [B]
    own = torch.tensor([k for k, _ in owned], device=lm.device)
    tokens = lm.batch_of_pairs([question.pair for _, question in owned])
    counts = [len(target) for target in tokens.target_ids]
    plain = lm.target_logits(tokens).argmax(-1)  # [N]
    unrelated = (own == _NONE).repeat_interleave(torch.tensor(counts, device=lm.device))
    wanted = torch.where(unrelated, plain, tokens.labels)

    def accuracies(rows: Tensor) -> list[float]:
        """Mean over each question's target tokens, with the prompts of these repository rows."""
        with prefixed(
            lm,
            repository.prompts[rows],
            rows != _NONE,
            inject=objective.hparams.inject,
            positions=objective.hparams.positions,
        ):
            right = lm.target_logits(tokens).argmax(-1) == wanted
        return [float(part.float().mean()) for part in right.split(counts)]

    hits = (retrieved == own).tolist()
    return list(zip(accuracies(retrieved), hits, accuracies(own), strict=True))


# ---- The ablation without a sentinel ------------------------------------------------------------


@torch.no_grad()
def calibrated_threshold(objective: Objective, streams: Mapping[str, Sequence[Example]]) -> float:
    """The score that maximises hit rate - false-hit rate, averaged over data sets.

    Scores are those of retrieval, dot products of a query and its best key. All edits of a data set
    are in the repository, as at the end of a stream. Questions about an edit are its own prompt
    and its generality probes, unrelated ones its locality probes.
    """
    rates = [_rates(objective, examples) for examples in streams.values()]
    scores, weights = (torch.cat(parts) for parts in zip(*rates, strict=True))
    return best_threshold(scores, weights)


@torch.no_grad()
def threshold_after(
    edits: int,
    objective: Objective,
    held_out: Mapping[str, Sequence[Example]],
    training: Mapping[str, Sequence[Example]],
) -> float:
    """As `calibrated_threshold`, by questions about held-out edits in streams of `edits`.

    Held-out edits are cut into complete streams. Where there are fewer, they are all in one, and
    training edits fill it up, whose keys are in the repository but whose questions do not count.
    """
    rates = []
    for name, examples in held_out.items():
        ends = range(edits, len(examples) + 1, edits) or [len(examples)]
        for end in ends:
            stream = examples[max(end - edits, 0) : end]
            further = training[name][: edits - len(stream)]
            scores, weights = _rates(objective, stream, further)
            rates.append((scores, weights / len(ends)))
    scores, weights = (torch.cat(parts) for parts in zip(*rates, strict=True))
    return best_threshold(scores, weights)


def _rates(
    objective: Objective, examples: Sequence[Example], further: Sequence[Example] = ()
) -> tuple[Tensor, Tensor]:
    """Best scores [R + U] and weights [R + U] of the questions about examples of one stream."""
    network = objective.trained.network
    facts = [example.fact_ids for example in (*examples, *further)]
    keys = network.knowledge(_pooled(objective, facts))
    related = [(k, question.encoded) for k, e in enumerate(examples) for question in e.related]
    unrelated = [question.encoded for example in examples for question in example.unrelated]
    queries = network.queries(_pooled(objective, [ids for _, ids in related] + unrelated))
    best, nearest = (queries @ keys.T).cpu().max(dim=1)
    owners = torch.tensor([k for k, _ in related])
    return best, hit_weights(nearest[: len(related)] == owners, len(unrelated))


def _pooled(objective: Objective, rows: Sequence[Ids]) -> Tensor:
    """Pooled vectors [N, P] of rows of encoder ids."""
    parts = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    return torch.cat([objective.trained.pooled(part, objective.lm.device) for part in parts])
