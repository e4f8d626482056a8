"""LTE: learning to edit (Jiang et al., ACL 2024), as the authors of RECIPE run it.

A copy of the model is fine-tuned once to follow facts that stand in front of a question, and to
leave other questions alone. An edit is then a line in a memory: a question that is near enough to
a fact is asked behind that fact. Original code: YJiangcm/LTE; the default here is the variant of
qizhou000/LiveEdit (`lte_vl`), the mode `original` retrieves as the original does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from editors.base import EditRequest, EditSample, Resources, TrainableEditor
from editors.parts.artefact import required_artefact, required_encoder
from editors.parts.deltas import EditedWeights
from editors.parts.encoder import TextVectors
from editors.parts.language_model import LanguageModel
from editors.parts.lte.examples import fact_of, prefix_ids
from editors.parts.lte.fit import fit_lte, load_follower, untrained_lte
from editors.parts.lte.hparams import PRESETS, LteHparams
from editors.parts.lte.memory import NONE, FactMemory
from editors.parts.needs import TRAIN_TOKENS, WITH_ADAM, Needs, Setting
from editors.parts.prefix import text_prefixed
from editors.parts.retrieving import Explanation, RetrievingEditor
from editors.parts.tokens import TokenBatch


class LteEditor(RetrievingEditor[LteHparams], TrainableEditor[LteHparams]):
    """Retrieves a fact for each question and lets the follower read it.

    The follower's weights are part of the editor: the first edit puts them into the model, a reset
    takes them out, and questions that retrieve nothing are answered by the follower too. Locality
    is so measured against the model as it was.
    """

    family: ClassVar[Literal["MP", "AP", "RB"]] = "RB"
    version = 1
    label = "LTE"
    table_row = 10
    mark = ("#E69F00", "h")
    uses_encoder = True
    edit_time = frozenset({"mode", "threshold"})
    spans_devices = True
    hparams_class = LteHparams
    presets = PRESETS

    @classmethod
    def needs(cls, hparams: LteHparams, on: Setting) -> Needs:
        """The follower changes every weight: a pristine copy of all; increments wait on the host.

        Trained in float32: the follower and its gradients, increments and Adam's moments, beside
        the frozen model; all blocks store what they compute.
        """
        parameters, encoder = on.shape.parameters, on.encoder
        activations = on.backward(4 * hparams.batch_size, 0, tokens=TRAIN_TOKENS, dtype="float32")
        return Needs(
            held=on.copies(parameters) + encoder.bytes,
            per_edit=4.0 * encoder.hidden,
            trained=parameters,
            training=(4 + WITH_ADAM) * parameters + encoder.bytes + activations,
            artefact=2.0 * parameters,
        )

    def __init__(self, lm: LanguageModel, hparams: LteHparams, resources: Resources) -> None:
        """Load the encoder and the follower that `resources` names.

        Raises:
            ValueError: encoder or artefact not given, or trained for something else.
            FileNotFoundError: one of them is not there.
        """
        super().__init__(lm, hparams, resources)
        encoder = required_encoder(resources, label=self.label)
        artefact = required_artefact(resources, key="lte", label=self.label)
        self.follower = load_follower(artefact, lm, encoder, hparams)
        self.vectors = TextVectors.from_directory(encoder, lm.device)
        self.memory = FactMemory(self.vectors.width, lm.device)
        self._weights = EditedWeights(lm.model)

    @property
    def threshold(self) -> float | None:
        """Cosine above which a fact is used; None uses the nearest one always."""
        return self.hparams.threshold_in_use(self.follower.threshold)

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Append one fact a request; nothing is replaced or merged."""
        if requests:
            self._append(*self._encoded(requests))

    @property
    def edits_at_once(self) -> int:
        """See the base class: texts of one forward of the encoder."""
        return 64

    def prepare(self, requests: Sequence[EditRequest]) -> list[Callable[[], None]]:
        """See the base class; facts are encoded together."""
        facts, keys = self._encoded(requests)
        return [partial(self._append, facts[i : i + 1], keys[i : i + 1]) for i in range(len(facts))]

    def _encoded(self, requests: Sequence[EditRequest]) -> tuple[list[str], Tensor]:
        """Facts, and their keys [k, H]."""
        facts = [fact_of(request) for request in requests]
        original = self.hparams.mode == "original"
        return facts, self.vectors([r.prompt for r in requests] if original else facts)

    def _append(self, facts: Sequence[str], keys: Tensor) -> None:
        self._attach()
        self.memory.append(facts, keys)

    def reset(self) -> None:
        """Forget all facts and take the follower's weights out."""
        self._weights.restore()
        self.memory = FactMemory(self.vectors.width, self.lm.device)

    def search(self, texts: Sequence[str]) -> Tensor:
        """Row [B] of the fact that each text uses, counted from 0; -1 for none."""
        if not len(self.memory):
            return torch.full((len(texts),), NONE, device=self.lm.device)
        return self.memory.retrieve(self.vectors(texts), self.threshold)

    def explain(self, texts: Sequence[str]) -> list[Explanation]:
        """See the base class."""
        memory, threshold = self.memory, self.threshold
        return [
            memory.explain(self.vectors([text]), threshold, row, memory.facts)
            for text, row in zip(texts, self.retrieved(texts), strict=True)
        ]

    @property
    def steers_by_prompt(self) -> bool:
        """See the base class."""
        return True

    def steering(self, batch: TokenBatch) -> AbstractContextManager[None]:
        """Retrieve once for `batch.texts`; forwards inside read the facts in front."""
        prefixes = [
            [] if row == NONE else prefix_ids(self.lm.tokenizer, self.memory.facts[row])
            for row in self.retrieve(batch.texts).tolist()
        ]
        return text_prefixed(self.lm, prefixes)

    def state_dict(self) -> dict[str, Tensor]:
        """The memory; the follower's weights are the artefact's."""
        return self.memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace the memory, and attach the follower where there is an edit."""
        self.reset()
        self.memory.load_state_dict(state)
        if len(self.memory):
            self._attach()

    @classmethod
    def fit(
        cls,
        lm: LanguageModel,
        samples: Mapping[str, Sequence[EditSample]],
        hparams: LteHparams,
        resources: Resources,
        *,
        out: Path,
        progress: Callable[[Mapping[str, float]], None] | None = None,
    ) -> Path:
        """Fine-tune the follower and calibrate the threshold; see `editors.parts.lte.fit`."""
        return fit_lte(
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
        cls, lm: LanguageModel, hparams: LteHparams, resources: Resources, *, out: Path
    ) -> Path:
        """A follower that is the model itself; see `editors.parts.lte.fit`."""
        encoder = required_encoder(resources, label=cls.label)
        return untrained_lte(lm, hparams, encoder=encoder, seed=resources.seed, out=out)

    def _attach(self) -> None:
        if not self._weights.touched:
            self._weights.add(self.follower.deltas)
