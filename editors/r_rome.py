"""R-ROME: retrieval-augmented ROME (RASE with ROME as its basic editor), not "rebuilt ROME".

Each fact is edited by ROME on the pristine model, and the rank-one update is put aside. A query
that retrieves a fact is answered with that one update; any other query by the model as it is. The
weights never change, so edits do not disturb each other.

"Improving Sequential Model Editing with Fact Retrieval" (Han et al., Findings of EMNLP 2023) and
sev777/RASE. The released evaluation asks the gate once with the edited prompt and uses the answer
for the paraphrases too; here the gate is asked with each actual input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from editors.base import EditRequest, EditSample, Resources, TrainableEditor
from editors.parts.artefact import required_artefact, required_encoder
from editors.parts.language_model import LanguageModel
from editors.parts.needs import WITH_ADAM, Needs, Setting, parameters_of
from editors.parts.prefix import text_prefixed
from editors.parts.rase.examples import fact_prompt, fact_text
from editors.parts.rase.fit import fit_rase, load_retriever, untrained_rase
from editors.parts.rase.gate import Gate, Ranking, rank_units
from editors.parts.rase.hparams import RaseHparams
from editors.parts.rase.memory import EditMemory, Remembered
from editors.parts.rase.network import RaseNetwork
from editors.parts.rase.retriever import FactRetriever
from editors.parts.retrieving import Candidate, Explanation, RetrievingEditor
from editors.parts.row_updates import updated_rows
from editors.parts.tokens import TokenBatch, prompt_ids
from editors.rome import RankOneUpdate, RomeEditor, RomeHparams

_NONE = -1  # the row of a text that retrieves nothing

# Ours: as many steps as a miniature encoder needs, and half precision on disk.
EMBEDDED: dict[str, Any] = {
    "width": 256,
    "iterations": 3_000,
    "checkpoint_interval": 300,
    "artefact_dtype": "float16",
}
# Ours, for tests: seconds on any model.
TINY: dict[str, Any] = {
    "width": 16,
    "batch_size": 4,
    "iterations": 20,
    "checkpoint_interval": 10,
    "held_out": 4,
}


@dataclass(frozen=True, kw_only=True)
class RRomeHparams(RomeHparams, RaseHparams):
    """ROME's hyper-parameters, unchanged, and those of the retrieval."""

    def __post_init__(self) -> None:
        RomeHparams.__post_init__(self)
        RaseHparams.__post_init__(self)


def with_rome(preset: str, **retrieval: Any) -> RRomeHparams:
    """ROME's preset of a name (`default` where it has none) with settings of the retrieval."""
    rome = RomeEditor.presets.get(preset, RomeEditor.presets["default"])
    return RRomeHparams.from_dict(rome.to_dict() | retrieval)


class RRomeEditor(RetrievingEditor[RRomeHparams], TrainableEditor[RRomeHparams]):
    """Keeps the update of each edit and applies the retrieved one, row by row.

    A later edit of the same fact (the same subject and prompt) replaces the earlier one.
    """

    family = "RB"
    label: ClassVar[str] = "R-ROME"
    table_row = 9
    mark = ("#009E73", ">")
    quick: ClassVar[bool] = True
    edit_time: ClassVar[frozenset[str]] = frozenset(
        {"gate", "two_way", "plus_prompt", *(field.name for field in fields(RomeHparams))}
    )
    cached_by: ClassVar[frozenset[str]] = frozenset(
        {"plus_prompt", *(field.name for field in fields(RomeHparams))}
    )
    aliases: ClassVar[tuple[str, ...]] = ("rase",)
    uses_encoder: ClassVar[bool] = True
    uses_subject: ClassVar[bool] = True
    hparams_class = RRomeHparams
    presets: ClassVar[Mapping[str, RRomeHparams]] = {
        **{name: with_rome(name) for name in RomeEditor.presets},
        **{name: with_rome(name, **EMBEDDED) for name in ("mini-llama", "mini-gptj", "mini-gpt2")},
        "tiny": with_rome("default", **TINY),
    }

    @classmethod
    def needs(cls, hparams: RRomeHparams, on: Setting) -> Needs:
        """ROME's covariance, encoder and heads; two vectors and a rank-one update an edit."""
        rome, encoder = RomeEditor.needs(hparams, on), on.encoder
        heads = parameters_of(lambda: RaseNetwork(encoder.hidden, hparams))
        width = hparams.width if heads else encoder.hidden
        update = 4.0 * (on.shape.hidden + on.shape.inner)
        return Needs(
            held=rome.held - on.copies(on.shape.matrix) + encoder.bytes + 4.0 * heads,
            working=rome.working,
            per_edit=2 * 4.0 * width + update,
            cached=update,
            trained=heads,
            training=WITH_ADAM * heads + encoder.bytes,
            artefact=(2.0 if hparams.artefact_dtype == "float16" else 4.0) * heads,
        )

    def __init__(
        self,
        lm: LanguageModel,
        hparams: RRomeHparams,
        resources: Resources,
        *,
        retriever: FactRetriever | None = None,
    ) -> None:
        """Load the retriever that `resources` names, unless it is given in memory.

        Raises:
            ValueError: encoder, artefact or covariance not given, or trained for something else.
            FileNotFoundError: one of the files is not there.
        """
        super().__init__(lm, hparams, resources)
        self._rome = RomeEditor(lm, hparams, resources)
        if retriever is None:
            encoder = required_encoder(resources, label=self.label)
            artefact = required_artefact(resources, key="r_rome", label=self.label)
            retriever = load_retriever(artefact, lm, encoder, hparams)
        self.retriever = retriever
        self.memory = EditMemory()

    @property
    def gate(self) -> Gate:
        """The thresholds in use."""
        if self.hparams.gate == "published":
            return Gate()
        return self.retriever.network.gate(two_way=self.hparams.two_way)

    @property
    def edits_at_once(self) -> int:
        """See the base class."""
        return self._rome.edits_at_once

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Make each request's update on the pristine model and remember it."""
        for start in range(0, len(requests), self.edits_at_once):
            for remember in self.prepare(requests[start : start + self.edits_at_once]):
                remember()

    def prepare(self, requests: Sequence[EditRequest]) -> list[Callable[[], None]]:
        """See the base class; updates are made together."""
        facts = [fact_prompt(request) for request in requests]
        asked = list(requests)
        if self.hparams.plus_prompt:
            asked = [
                replace(request, prompt=f"{fact} {request.prompt}")
                for fact, request in zip(facts, requests, strict=True)
            ]
        keys, sentences = (
            functional.normalize(vectors, dim=-1)
            for vectors in (
                self.retriever.facts([fact_text(request) for request in requests]),
                self.retriever.sentences([request.prompt for request in requests]),
            )
        )
        rows = zip(facts, keys, sentences, self._updates(asked), strict=True)
        return [
            partial(self.memory.put, Remembered(fact, key, sentence, made["left"], made["right"]))
            for fact, key, sentence, made in rows
        ]

    def _updates(self, asked: Sequence[EditRequest]) -> list[Mapping[str, Tensor]]:
        """ROME's rank-one updates of the pristine model, kept where the resources keep them."""
        kept = self.resources.edit_cache
        if kept is None:
            return [_tensors(update) for update in self._rome.compute(asked)]
        updates: list[Mapping[str, Tensor]] = []
        for request in asked:  # alone: what is kept must not depend on who was asked beside it
            found = kept.get(request)
            if found is None:
                found = _tensors(*self._rome.compute([request]))
                kept.put(request, found)
            updates.append({name: tensor.to(self.lm.device) for name, tensor in found.items()})
        return updates

    def reset(self) -> None:
        """Forget all edits."""
        self.memory.clear()

    def search(self, texts: Sequence[str]) -> Tensor:
        """Row [B] of the edit that each text uses, counted from 0; -1 for none."""
        if not len(self.memory):
            return torch.full((len(texts),), _NONE, device=self.lm.device)
        ranking = self._ranking(texts)
        return torch.where(self.gate.fires(ranking.scores), ranking.best, _NONE)

    def _ranking(self, texts: Sequence[str]) -> Ranking:
        """The best edits of each text; there is one at least."""
        sentences = self.memory["sentence"] if self.hparams.two_way else None
        return rank_units(self.retriever.sentences(texts), self.memory["key"], sentences)

    def explain(self, texts: Sequence[str]) -> list[Explanation]:
        """See the base class."""
        rows = self.retrieved(texts)
        if not len(self.memory):
            return [self.gate.explanation((), None)] * len(texts)
        ranking = self._ranking(texts)
        return [
            self.gate.explanation(
                [
                    Candidate(row=place, text=self.memory.facts[place], score=score)
                    for place, score in zip(places, scores, strict=True)
                ],
                None if row == _NONE else row,
            )
            for row, places, scores in zip(
                rows, ranking.index.tolist(), ranking.scores.tolist(), strict=True
            )
        ]

    @property
    def steers_by_prompt(self) -> bool:
        """See the base class."""
        return True

    def steering(self, batch: TokenBatch) -> AbstractContextManager[None]:
        """Retrieve once for `batch.texts`; forwards inside are answered with the updates."""
        rows = self.retrieve(batch.texts)
        if bool((rows == _NONE).all()):
            return nullcontext()
        return self._steered(rows)

    @contextmanager
    def _steered(self, rows: Tensor) -> Iterator[None]:
        module = self.lm.module(self.lm.architecture.mlp_out, self._rome.layer)
        left, right = self.memory["left"][rows], self.memory["right"][rows]
        with self._prefixed(rows), updated_rows(module, left, right, rows != _NONE):
            yield

    def _prefixed(self, rows: Tensor) -> AbstractContextManager[None]:
        """The facts in front of the rows that use them, where that is asked for.

        Ids are joined: with a tokenizer that marks spaces, the question has none in front of it.
        """
        if not self.hparams.plus_prompt:
            return nullcontext()
        tokenizer, facts = self.lm.tokenizer, self.memory.facts
        prefixes = [
            [] if row == _NONE else prompt_ids(tokenizer, facts[row]) for row in rows.tolist()
        ]
        return text_prefixed(self.lm, prefixes)

    def state_dict(self) -> dict[str, Tensor]:
        """All remembered edits."""
        return self.memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace the memory by that of `state`."""
        self.memory.load_state_dict(state, device=self.lm.device)

    @classmethod
    def fit(
        cls,
        lm: LanguageModel,
        samples: Mapping[str, Sequence[EditSample]],
        hparams: RRomeHparams,
        resources: Resources,
        *,
        out: Path,
        progress: Callable[[Mapping[str, float]], None] | None = None,
    ) -> Path:
        """Train the heads and calibrate the gate; see `editors.parts.rase.fit`."""
        return fit_rase(
            lm,
            samples,
            hparams,
            encoder=required_encoder(resources, label=cls.label),
            seed=resources.seed,
            out=out,
            progress=progress,
        )

    @classmethod
    def untrained(
        cls, lm: LanguageModel, hparams: RRomeHparams, resources: Resources, *, out: Path
    ) -> Path:
        """Initial heads, and a gate that every query passes; see `editors.parts.rase.fit`."""
        encoder = required_encoder(resources, label=cls.label)
        return untrained_rase(lm, hparams, encoder=encoder, seed=resources.seed, out=out)


def _tensors(update: RankOneUpdate) -> dict[str, Tensor]:
    return {"left": update.v, "right": update.u}
