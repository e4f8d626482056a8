"""R-ROME: retrieval-augmented ROME (RASE with ROME as its basic editor), not "rebuilt ROME".

Each fact is edited by ROME on the pristine model, and the rank-one update is stored. A query that
retrieves a fact is answered with that update alone; any other query by the model as it is. The
weights never change, so edits do not disturb each other.

"Improving Sequential Model Editing with Fact Retrieval" (Han et al., Findings of EMNLP 2023) and
sev777/RASE. The released evaluation queries the gate once with the edited prompt and uses the
decision for the paraphrases too; here the gate sees each actual input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.base import EditRequest, Resources
from editors.parts.growing_rows import GrowingRows
from editors.parts.hooks import changed_output
from editors.parts.language_model import LanguageModel
from editors.parts.needs import (
    FORWARD,
    TRAIN_TOKENS,
    TRAINED,
    WITH_ADAM,
    Needs,
    Setting,
    parameters_of,
)
from editors.parts.prefix import text_prefixed
from editors.parts.r_rome.retrieval import (
    ORIGINAL,
    FactRetriever,
    Gate,
    Ranking,
    RaseHparams,
    RaseNetwork,
    fact_prompt,
    fact_text,
    rank_units,
)
from editors.parts.r_rome.training import RaseTrainable
from editors.parts.retrieving import Candidate, Explanation, RetrievingEditor
from editors.parts.tokens import TokenBatch, context_ids, pack_texts, unpack_texts
from editors.rome import RankOneUpdate, RomeEditor, RomeHparams

_NONE = -1  # the row of a text that retrieves nothing
_COLUMNS = ("key", "sentence", "left", "right")

# Ours: as many steps as a miniature encoder needs, and half precision on disk.
EMBEDDED: dict[str, Any] = {
    "width": 256,
    "iterations": 3_000,
    "checkpoint_interval": 300,
    "artefact_dtype": "float16",
}
BACKBONES = ("llama-2-7b", "gpt-j-6b", "gpt2-xl")
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


class EditMemory:
    """N edits in order; a later edit of the same fact takes the place of the earlier.

    An edit has what retrieves it, the unit vectors `key` [w] of the fact and `sentence` [w] of the
    edited prompt, and its update, `left` [d] and `right` [m]: dW = left right^T as (out, in).
    """

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return len(self.facts)

    def __getitem__(self, column: str) -> Tensor:
        """View [N, ...] of `key`, `sentence`, `left` or `right` of all edits."""
        return self._columns[column].rows

    def clear(self) -> None:
        self.facts: list[str] = []
        self._row_of: dict[str, int] = {}
        self._columns = {name: GrowingRows() for name in _COLUMNS}

    def put(self, fact: str, **values: Tensor) -> None:
        """Store an edit; `fact` is its description without the answer."""
        row = self._row_of.setdefault(fact, len(self))
        for name, column in self._columns.items():
            if row == len(self):
                column.append(values[name])
            else:
                column.rows[row] = values[name]
        if row == len(self):
            self.facts.append(fact)

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all columns; nothing if there are none."""
        if not len(self):
            return {}
        columns = {name: column.rows.clone() for name, column in self._columns.items()}
        return columns | pack_texts(self.facts, "facts")

    def load_state_dict(self, state: Mapping[str, Tensor], *, device: torch.device) -> None:
        self.clear()
        if "key" not in state:
            return
        self.facts = unpack_texts(state, "facts")
        self._row_of = {fact: row for row, fact in enumerate(self.facts)}
        for name, column in self._columns.items():
            column.extend(state[name].to(device))


def updated_rows(
    module: nn.Module, left: Tensor, right: Tensor, hits: Tensor
) -> AbstractContextManager[None]:
    """Answer each row that hits by W + left right^T of its own, at all of its positions.

    The weights stay as they are, and rows without a hit have the bits that they have without this.

    Args:
        module: a linear one, from inputs [B, T, m] to outputs [B, T, d].
        left: [B, d]; the values in rows without a hit do not matter.
        right: [B, m].
        hits: bool [B].
    """

    def answer(inputs: Tensor, output: Tensor) -> Tensor:
        amounts = torch.einsum("btm,bm->bt", inputs.to(right), right)
        added = output + (amounts[..., None] * left[:, None]).to(output)
        return torch.where(hits[:, None, None], added, output)

    return changed_output(module, answer)


class RRomeEditor(RetrievingEditor[RRomeHparams], RaseTrainable[RRomeHparams]):
    """Stores the update of each edit and applies the retrieved one, row by row.

    A later edit of the same fact (the same subject and prompt) replaces the earlier one.
    """

    family = "RB"
    label = "R-ROME"
    table_row = 9
    mark = ("#009E73", ">")
    edit_time: ClassVar[frozenset[str]] = frozenset(
        {"gate", "two_way", "plus_prompt", *(field.name for field in fields(RomeHparams))}
    )
    cached_by: ClassVar[frozenset[str]] = frozenset(
        {"plus_prompt", *(field.name for field in fields(RomeHparams))}
    )
    aliases = ("rase",)
    uses_subject = True
    hparams_class = RRomeHparams
    as_in_paper: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": ORIGINAL}
    presets: ClassVar[Mapping[str, RRomeHparams]] = {
        **{name: with_rome(name) for name in RomeEditor.presets},
        **{name: with_rome(name, **EMBEDDED) for name in ("mini-llama", "mini-gptj", "mini-gpt2")},
        **{f"{name}/original": with_rome(name, **ORIGINAL) for name in BACKBONES},
        "original": with_rome("default", **ORIGINAL),
        "tiny": with_rome("default", **TINY),
    }

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
        self.retriever = self.trained_retriever() if retriever is None else retriever
        self.memory = EditMemory()

    @property
    def gate(self) -> Gate:
        """The thresholds in use."""
        if self.hparams.gate == "published":
            return Gate()
        return self.retriever.network.gate(two_way=self.hparams.two_way)

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Store the update of each request on the pristine model."""
        for start in range(0, len(requests), self.edits_at_once):
            for store in self.prepare(requests[start : start + self.edits_at_once]):
                store()

    def prepare(self, requests: Sequence[EditRequest]) -> list[Callable[[], None]]:
        """See the base class; ROME computes the updates together."""
        facts = [fact_prompt(request) for request in requests]
        keys = self.retriever.facts([fact_text(request) for request in requests])  # [k, w]
        sentences = self.retriever.sentences([request.prompt for request in requests])
        edits = zip(
            facts,
            functional.normalize(keys, dim=-1),
            functional.normalize(sentences, dim=-1),
            self._updates(requests),
            strict=True,
        )
        return [
            partial(self.memory.put, fact, key=key, sentence=sentence, **update)
            for fact, key, sentence, update in edits
        ]

    def _updates(self, requests: Sequence[EditRequest]) -> list[dict[str, Tensor]]:
        """ROME's rank-one updates of the pristine model, from the cache where there is one."""
        if self.hparams.plus_prompt:
            requests = [replace(r, prompt=f"{fact_prompt(r)} {r.prompt}") for r in requests]
        cache = self.resources.edit_cache
        if cache is None:
            return [_factors(update) for update in self._rome.compute(requests)]
        updates = []
        for request in requests:  # alone: what is cached must not depend on its neighbours
            factors = cache.get(request)
            if factors is None:
                factors = _factors(*self._rome.compute([request]))
                cache.put(request, factors)
            updates.append({name: tensor.to(self.lm.device) for name, tensor in factors.items()})
        return updates

    def reset(self) -> None:
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
        """The facts in front of the rows that use them, where `plus_prompt` is set.

        Ids are joined: with a tokenizer that marks spaces, the question has none in front of it.
        """
        if not self.hparams.plus_prompt:
            return nullcontext()
        tokenizer, facts = self.lm.tokenizer, self.memory.facts
        prefixes = [
            [] if row == _NONE else context_ids(tokenizer, facts[row]) for row in rows.tolist()
        ]
        return text_prefixed(self.lm, prefixes)

    def state_dict(self) -> dict[str, Tensor]:
        return self.memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.memory.load_state_dict(state, device=self.lm.device)

    @property
    def edits_at_once(self) -> int:
        return self._rome.edits_at_once

    @property
    def steers_by_prompt(self) -> bool:
        return True

    @classmethod
    def needs(cls, hparams: RRomeHparams, on: Setting) -> Needs:
        """ROME's covariance, encoder and heads; two vectors and a rank-one update an edit."""
        rome, encoder = RomeEditor.needs(hparams, on), on.encoder
        heads = parameters_of(lambda: RaseNetwork(encoder.hidden, hparams))
        width = hparams.width if heads else encoder.hidden
        update = 4.0 * (on.shape.hidden + on.shape.inner)
        # The heads on vectors that are computed once, of every fact and sentence that is drawn.
        vectors = hparams.iterations * hparams.batch_size * (1 + hparams.sentences_per_fact)
        encoded = TRAIN_TOKENS * FORWARD * encoder.parameters
        return Needs(
            held=rome.held - on.copies(on.shape.matrix) + encoder.bytes + 4.0 * heads,
            working=rome.working,
            per_edit=2 * 4.0 * width + update,
            cached=update,
            trained=heads,
            training=WITH_ADAM * heads + encoder.bytes,
            artefact=(2.0 if hparams.artefact_dtype == "float16" else 4.0) * heads,
            training_operations=vectors * (heads * (FORWARD + TRAINED) + encoded),
        )


def _factors(update: RankOneUpdate) -> dict[str, Tensor]:
    return {"left": update.v, "right": update.u}
