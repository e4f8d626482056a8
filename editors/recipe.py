"""RECIPE: retrieval-augmented continuous prompts (EMNLP 2024, section 4).

Every edit becomes one key and one short continuous prompt in a repository. A query that matches a
key better than the knowledge sentinel is answered with that prompt in front of it; every other
query is answered by the model as it is. The language model's weights never change.

The three algorithms of the paper, in the order of this file: editing (section 4.1), inference
(4.2, 4.3) and training (4.4). Their parts: `recipe.network` has the encoder with MLP_K, MLP_Q,
MLP_P, the sentinel and the retrieval decision, `recipe.losses` equations 10-17.

Original code: github.com/qizhou000/RECIPE at b8ff1fc2. The defaults are that code's, but the
prompt goes into the residual stream of every backbone and the query's positions follow it (the code
leaves GPT-J's residual stream and GPT-2's positions unshifted; both are named modes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from editors.base import EditRequest, Resources
from editors.parts.artefact import required_encoder
from editors.parts.encoder import encoder_digest
from editors.parts.language_model import LanguageModel
from editors.parts.needs import FORWARD, THROUGH, TRAIN_TOKENS, TRAINED, WITH_ADAM, Needs, Setting
from editors.parts.prefix import prefixed, text_prefixed
from editors.parts.recipe.hparams import EDIT_TIME, PRESETS, RecipeHparams, trained_values
from editors.parts.recipe.network import (
    InnerProductIndex,
    Trained,
    empty_network,
    fresh_network,
    recipe_parameters,
)
from editors.parts.recipe.training import RecipeTask
from editors.parts.retrieving import Explanation, RetrievingEditor, nearest
from editors.parts.tokens import TokenBatch, pack_texts, text_ids, unpack_texts
from editors.parts.training.examples import statement
from editors.parts.training.loop import LoopSettings
from editors.parts.training.task import TrainedEditor, Training


class RecipeEditor(RetrievingEditor[RecipeHparams], TrainedEditor[RecipeHparams]):
    """Retrieves a continuous prompt for each query; see the module's docstring."""

    family: ClassVar[Literal["MP", "AP", "RB"]] = "RB"
    label = "RECIPE"
    table_row = 11
    mark = ("#000000", "*")
    edits_batches = True
    uses_encoder = True
    spans_devices = True
    edit_time = EDIT_TIME
    hparams_class = RecipeHparams
    presets = PRESETS

    def __init__(
        self,
        lm: LanguageModel,
        hparams: RecipeHparams,
        resources: Resources,
        *,
        trained: Trained | None = None,
    ) -> None:
        """Load the trained network that `resources` names, unless it is given in memory.

        Raises:
            ValueError: encoder or artefact not given, or trained for something else, or a mode
                that is another backbone's.
            FileNotFoundError: one of them does not exist.
        """
        super().__init__(lm, hparams, resources)
        hparams.check_backbone(lm.architecture.model_type)
        if trained is None:
            trained = empty_network(lm, hparams, required_encoder(resources, label=self.label))
            trained.network.load_state_dict(self.trained_weights())
        self.trained = trained
        self.network = trained.network.eval().requires_grad_(False)
        with torch.no_grad():
            self._empty = self.network.repository().state_dict()  # the sentinel's key, once
        self.reset()

    # ---- Editing: construct and update the knowledge retrieval repository ----------------------

    def reset(self) -> None:
        """Forget all edits; the repository holds the sentinel alone."""
        self.repository = self.network.repository(self._empty, index=self._index())
        self.texts: list[str] = []  # of the edits, for prompts that are words

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Append one key and one prompt a request; nothing is replaced or merged."""
        for start in range(0, len(requests), self.edits_at_once):
            group = requests[start : start + self.edits_at_once]
            self._append([statement(request) for request in group], *self._encoded(group))

    @torch.no_grad()
    def _encoded(self, requests: Sequence[EditRequest]) -> tuple[Tensor, Tensor]:
        pooled = self._pooled([statement(request) for request in requests])  # f_rm(k) [k, P]
        keys = self.network.knowledge(pooled)  # r_k = MLP_K(f_rm(k)) [k, d_r]
        prompts = self.network.prompts(keys)  # p_k = MLP_P(r_k) [k, l, d]
        return keys, prompts

    def _append(self, texts: Sequence[str], keys: Tensor, prompts: Tensor) -> None:
        self.repository.append(keys, prompts)
        self.texts += texts

    # ---- Inference: retrieve a prompt if it beats the sentinel, answer after it ----------------

    @torch.no_grad()
    def search(self, texts: Sequence[str]) -> Tensor:
        """Repository row [B] that each text uses; 0 for none, k for the k-th edit."""
        if not len(self.repository):
            return torch.zeros(len(texts), dtype=torch.long, device=self.lm.device)
        return self.repository.retrieve(self.queries(texts))

    @torch.no_grad()
    def queries(self, texts: Sequence[str]) -> Tensor:
        """Query representations MLP_Q(f_rm(q)) [B, d_r]."""
        return self.network.queries(self._pooled(texts))

    def steering(self, batch: TokenBatch) -> AbstractContextManager[None]:
        """Retrieve once for `batch.texts`; forwards inside see the retrieved prompts."""
        rows = self.retrieve(batch.texts)  # [B]
        if not bool(rows.any()):
            return nullcontext()
        if self.hparams.prompts == "words":
            words = [self._words(row) for row in rows.tolist()]
            return text_prefixed(self.lm, words, before_bos=True)
        return prefixed(
            self.lm,
            self.repository.prompts[rows],  # [B, l, d]
            rows > 0,
            inject=self.hparams.inject,
            positions=self.hparams.positions,
        )

    def _words(self, row: int) -> list[int]:
        """Ids of the text of a repository row, without special tokens; none of the sentinel's."""
        if row == 0:
            return []
        return text_ids(self.lm.tokenizer, self.texts[row - 1])

    @torch.no_grad()
    def explain(self, texts: Sequence[str]) -> list[Explanation]:
        """See the base class; the score to beat is the sentinel's, or a threshold."""
        limit_is = "sentinel" if self.repository.threshold is None else "threshold"
        return [
            Explanation(
                measure="inner product",
                candidates=nearest(scores[1:], self.texts, also=row - 1 if row else None),
                limit=float(scores[0]),
                limit_is=limit_is,
                used=row - 1 if row else None,
            )
            for scores, row in zip(
                self.repository.scores(self.queries(texts)), self.retrieved(texts), strict=True
            )
        ]

    # ---- Training: the losses are in `recipe.losses`, the steps in `recipe.training` -----------

    @classmethod
    def training(cls, lm: LanguageModel, hparams: RecipeHparams, resources: Resources) -> Training:
        """Encoder, retriever and prompt MLP; see `RecipeTask`."""
        encoder, seed = required_encoder(resources, label=cls.label), resources.seed

        def initial_weights() -> Mapping[str, Tensor]:
            # Queries start in the space of the keys: an edit's own question then finds a key, and
            # is answered with a prompt as after training.
            started = replace(hparams, query_init="knowledge")
            network = fresh_network(lm, started, encoder, seed).network
            if network.threshold is not None:
                network.threshold.fill_(-math.inf)
            return network.state_dict()

        return Training(
            key="recipe",
            hparams=trained_values(hparams),
            model_hparams=(
                *("pool", "encoder", "representation_width", "sentinel_length", "sentinel"),
                *("prompt_length", "inject", "positions", "gate", "calibration_edits"),
            ),
            facts={"encoder_digest": encoder_digest(encoder, weights=hparams.encoder == "frozen")},
            learner=lambda samples: RecipeTask(lm, samples, hparams, encoder=encoder, seed=seed),
            initial_weights=initial_weights,
            loop=LoopSettings(
                iterations=hparams.iterations,
                checkpoint_interval=hparams.checkpoint_interval,
                selection=hparams.selection,
                first_selectable=hparams.ramp_end,
            ),
            dtype=hparams.artefact_dtype,
        )

    # ---- State, speed and size ------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Keys and prompts, the sentinel's row included, and the edits' texts."""
        return self.repository.state_dict() | pack_texts(self.texts, "texts")

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.repository = self.network.repository(
            {name: state[name].to(self.lm.device) for name in ("keys", "prompts")},
            index=self._index(),
        )
        self.texts = unpack_texts(state, "texts")

    @property
    def steers_by_prompt(self) -> bool:
        """See the base class.

        Not so in two modes of the released code: after GPT-J's first norm a prompt sees later
        tokens, and on GPT-2 decoded tokens have other positions than those of a row.
        """
        moves = self.hparams.positions == "code" and self.lm.architecture.learned_positions
        return self.hparams.inject == "prefix" and not moves

    @property
    def edits_at_once(self) -> int:
        """See the base class: texts of one forward of the encoder."""
        return 64

    def prepare(self, requests: Sequence[EditRequest]) -> list[Callable[[], None]]:
        """See the base class; texts are encoded together."""
        keys, prompts = self._encoded(requests)
        return [
            partial(self._append, [statement(request)], keys[i : i + 1], prompts[i : i + 1])
            for i, request in enumerate(requests)
        ]

    @classmethod
    def needs(cls, hparams: RecipeHparams, on: Setting) -> Needs:
        """The network; a key and a prompt an edit, the sentinel's in front.

        In training all blocks store what they compute, for gradients of the prompts.
        """
        network, frozen = recipe_parameters(hparams, on)
        activations = on.backward(3 * hparams.batch_size, 0, tokens=TRAIN_TOKENS)
        # Three rows a sample through the model with a gradient, one without; five encoded.
        model = on.shape.parameters * (3 * (FORWARD + THROUGH) + FORWARD)
        tokens = hparams.iterations * hparams.batch_size * TRAIN_TOKENS
        return Needs(
            held=4.0 * (network + frozen),
            per_edit=4.0 * (hparams.representation_width + hparams.prompt_length * on.shape.hidden),
            first=1,
            trained=network,
            training=WITH_ADAM * network + 4.0 * frozen + activations,
            artefact=(2.0 if hparams.artefact_dtype == "float16" else 4.0) * network,
            training_operations=tokens
            * (model + 5 * (network * (FORWARD + TRAINED) + frozen * FORWARD)),
        )

    def _index(self) -> InnerProductIndex | None:
        """Searches large repositories approximately, where the hyper-parameters want it."""
        if self.hparams.index == "exact":
            return None
        return InnerProductIndex(smallest=self.hparams.index_above)

    def _pooled(self, texts: Sequence[str]) -> Tensor:
        """f_rm(texts) [B, P]."""
        return self.trained.pooled(self.trained.batcher.ids(texts), self.lm.device)
