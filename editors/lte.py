"""LTE: learning to edit (Jiang et al., ACL 2024), as the authors of RECIPE run it.

Alignment: a copy of the model is fine-tuned once to follow facts that stand in front of a question,
and to leave other questions alone (`parts.lte`). Inference: an edit is a line in a memory, and a
question that is near enough to a fact is asked with that fact in front. Original code:
YJiangcm/LTE; the default here is the variant of qizhou000/LiveEdit (`lte_vl`), the mode `original`
retrieves as the original does, and the preset of that name is trained on its schedule too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor

from editors.base import EditRequest, Resources
from editors.parts.artefact import required_encoder
from editors.parts.deltas import EditedWeights
from editors.parts.encoder import TextVectors, encoder_digest
from editors.parts.fact_memory import NONE, FactEditor, FactMemory
from editors.parts.language_model import LanguageModel
from editors.parts.lte import (
    PREFIX,
    Follower,
    LteTask,
    no_increments,
    prefix_ids,
    steps_of,
)
from editors.parts.lte_hparams import PRESETS, SCHEDULE, LteHparams
from editors.parts.needs import BYTES, FORWARD, TRAIN_TOKENS, TRAINED, WITH_ADAM, Needs, Setting
from editors.parts.prefix import text_prefixed
from editors.parts.tokens import TokenBatch
from editors.parts.training.examples import statement
from editors.parts.training.loop import LoopSettings, Progress
from editors.parts.training.task import Samples, TrainedEditor, Training

_ALWAYS = -1.0  # a cosine that every question exceeds


class LteEditor(FactEditor[LteHparams], TrainedEditor[LteHparams]):
    """Retrieves a fact for each question and lets the follower read it.

    The follower's weights are part of the editor: the first edit puts them into the model, a reset
    takes them out, and questions that retrieve nothing are answered by the follower too. So
    locality is measured against the model as it was.
    """

    family: ClassVar[Literal["MP", "AP", "RB"]] = "RB"
    label = "LTE"
    table_row = 10
    mark = ("#E69F00", "h")
    edits_batches = True
    uses_encoder = True
    edit_time = frozenset({"mode", "threshold"})
    spans_devices = True
    hparams_class = LteHparams
    presets = PRESETS
    # The paper follows LTE's own, with the threshold of its authors' later code for that encoder.
    as_in_paper: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {**SCHEDULE, "threshold": 0.3}}
    paper_encoder = "multi-qa-mpnet-base-dot-v1"

    @classmethod
    def needs(cls, hparams: LteHparams, on: Setting) -> Needs:
        """The follower changes every weight: a pristine copy of all; increments wait on the host.

        Trained in float32: the follower and its gradients, increments and Adam's moments, beside
        the frozen model; all blocks store what they compute. With increments and moments on the
        host, the follower and its gradients alone, in the model's precision.
        """
        parameters, encoder = on.shape.parameters, on.encoder
        on_host, rows = hparams.memory == "host", 4 * (hparams.micro_batch or hparams.batch_size)
        dtype = on.dtype if on_host else "float32"
        activations = on.backward(rows, 0, tokens=TRAIN_TOKENS, dtype=dtype)
        state = 2 * BYTES[on.dtype] if on_host else 4 + WITH_ADAM  # of each parameter
        # Four rows a sample through the follower, two through the frozen model.
        row = (4 * (FORWARD + TRAINED) + 2 * FORWARD) * parameters
        return Needs(
            held=on.copies(parameters) + encoder.bytes,
            per_edit=4.0 * encoder.hidden,
            trained=parameters,
            training=state * parameters + encoder.bytes + activations,
            artefact=2.0 * parameters,
            training_operations=hparams.expected_steps * hparams.batch_size * TRAIN_TOKENS * row,
        )

    def __init__(self, lm: LanguageModel, hparams: LteHparams, resources: Resources) -> None:
        """Load the encoder and the follower that `resources` names.

        Raises:
            ValueError: encoder or artefact not given, or trained for something else.
            FileNotFoundError: one of them does not exist.
        """
        super().__init__(lm, hparams, resources)
        encoder = required_encoder(resources, label=self.label)
        self.follower = Follower.of(self.trained_weights())
        self.vectors = TextVectors.from_directory(encoder, lm.device)
        self.memory = FactMemory(self.vectors.width, lm.device)
        self._weights = EditedWeights(lm.model)

    # ---- Inference: an edit is a line in a memory -----------------------------------------------

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Append one fact a request; nothing is replaced or merged."""
        if requests:
            self._append(*self._encoded(requests))

    def _encoded(self, requests: Sequence[EditRequest]) -> tuple[list[str], Tensor]:
        """Facts, and their keys [k, H]."""
        facts = [statement(request) for request in requests]
        original = self.hparams.mode == "original"
        return facts, self.vectors([r.prompt for r in requests] if original else facts)

    def _append(self, facts: Sequence[str], keys: Tensor) -> None:
        self._attach()
        self.memory.append(facts, keys)

    def _attach(self) -> None:
        """Put the follower's weights into the model, unless they are there."""
        if not self._weights.touched:
            self._weights.add(self.follower.deltas)

    def reset(self) -> None:
        """Forget all facts and take the follower's weights out."""
        self._weights.restore()
        super().reset()

    @property
    def threshold(self) -> float | None:
        """Cosine above which a fact is used; None uses the nearest one always."""
        return self.hparams.threshold_in_use(self.follower.threshold)

    def steering(self, batch: TokenBatch) -> AbstractContextManager[None]:
        prefixes = [
            [] if row == NONE else prefix_ids(self.lm.tokenizer, self.memory.facts[row])
            for row in self.retrieve(batch.texts).tolist()
        ]
        return text_prefixed(self.lm, prefixes)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace the memory, and attach the follower where there is an edit."""
        super().load_state_dict(state)
        if len(self.memory):
            self._attach()

    # ---- Alignment: the follower learns to read facts -------------------------------------------

    @classmethod
    def fit(
        cls,
        lm: LanguageModel,
        samples: Samples,
        hparams: LteHparams,
        resources: Resources,
        *,
        out: Path,
        progress: Progress | None = None,
    ) -> Path:
        """See the base class; epochs become steps."""
        if hparams.epochs is not None:
            hparams = replace(hparams, iterations=steps_of(samples, hparams))
        return super().fit(lm, samples, hparams, resources, out=out, progress=progress)

    @classmethod
    def training(cls, lm: LanguageModel, hparams: LteHparams, resources: Resources) -> Training:
        """Increments of all weights; the encoder retrieves and is not trained. See `LteTask`.

        Untrained, the follower is the model itself, and finds a fact for every question.
        """
        encoder, seed = required_encoder(resources, label=cls.label), resources.seed
        return Training(
            key="lte",
            hparams=hparams.to_dict(),
            facts={"prefix": PREFIX, "encoder_digest": encoder_digest(encoder)},
            learner=lambda samples: LteTask(lm, samples, hparams, encoder=encoder, seed=seed),
            initial_weights=lambda: no_increments(lm.model, _ALWAYS),
            loop=LoopSettings(
                iterations=hparams.iterations, checkpoint_interval=hparams.checkpoint_interval
            ),
            dtype="float16",
        )

    # ---- Speed ----------------------------------------------------------------------------------

    @property
    def steers_by_prompt(self) -> bool:
        return True

    @property
    def edits_at_once(self) -> int:
        """See the base class: texts of one forward of the encoder."""
        return 64

    def prepare(self, requests: Sequence[EditRequest]) -> list[Callable[[], None]]:
        """See the base class; facts are encoded together."""
        facts, keys = self._encoded(requests)
        return [partial(self._append, facts[i : i + 1], keys[i : i + 1]) for i in range(len(facts))]
