"""Scores of a model that was edited elsewhere, with this package or another, against its base.

The record is that of a cell: one block of as many edits as there are facts, asked at its end. Its
editor is `external`, whose edits are the other model's weights, all at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.core.cells import Cell
from bench.core.config import RunConfig
from bench.core.files import digest_of_files
from bench.core.numerics import now, provenance
from bench.datasets import DATASET_SOURCE, EDITOR_SOURCE, get_dataset
from bench.evaluation import metrics
from bench.evaluation.driver import run_blocks
from bench.models.backbones import Backbone, load, locate
from bench.store import results
from bench.store.results import Record, ResultStore
from editors import registry
from editors.base import Editor, EditRequest, Hparams, Resources
from editors.registry import EditorEntry

if TYPE_CHECKING:
    from editors.parts.language_model import LanguageModel

KEY, LABEL = "external", "EXTERNAL"


class External(Editor[Hparams]):
    """Holds the weights of an edited model, which stand for all edits together."""

    family = "MP"
    label = LABEL
    hparams_class = Hparams
    presets: Mapping[str, Hparams] = {"default": Hparams()}  # type: ignore[misc]

    def __init__(self, lm: LanguageModel, edited: Mapping[str, Tensor]) -> None:
        """On the base model, with those of the edited one's weights that differ.

        Raises:
            ValueError: a weight that the base does not have in this shape, or none that differs.
        """
        super().__init__(lm, Hparams(), Resources())
        own = dict(lm.model.named_parameters())
        if edited.keys() != own.keys() or any(own[n].shape != t.shape for n, t in edited.items()):
            raise ValueError(f"The edited model has other weights than its base {lm.name}.")
        differing = {n: t for n, t in edited.items() if not torch.equal(own[n], t.to(own[n]))}
        if not differing:
            raise ValueError(f"The edited model has the very weights of its base {lm.name}.")
        self._edited = {name: tensor.to(own[name]) for name, tensor in differing.items()}
        self._base = {name: own[name].detach().clone() for name in differing}
        self._in_force = False

    def edit(self, requests: Sequence[EditRequest]) -> None:
        if requests and not self._in_force:
            self._put(self._edited)
            self._in_force = True

    def reset(self) -> None:
        if self._in_force:
            self._put(self._base)
            self._in_force = False

    def state_dict(self) -> dict[str, Tensor]:
        return {"in_force": torch.tensor(self._in_force)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.reset()
        if bool(state["in_force"]):
            self._put(self._edited)
            self._in_force = True

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self.lm.model.get_parameter(name).copy_(value)


def score(directory: Path, base: Backbone, dataset: str, config: RunConfig) -> Record:
    """The record of an edited model, which is stored; all rows of a data set are its edits.

    Args:
        directory: of the edited model.
        base: what was edited.
        dataset: a file of facts, or a data set's name.

    Raises:
        ValueError: a model that is no edited form of its base.
        OSError: missing files.
    """
    edited = locate(str(directory))
    lm = load(base, dtype=config.dtype, device=config.device)
    other = load(edited, dtype=config.dtype, device="cpu")
    if other.tokenizer.get_vocab() != lm.tokenizer.get_vocab():
        raise ValueError(f"{directory} has another tokenizer than its base {base.name}.")
    editor = External(lm, dict(other.model.named_parameters()))
    declared = get_dataset(dataset)
    loaded = declared.load("test", declared.directory("test", config.data_dir or Path()))
    cell = Cell(
        backbone=base.name, backbone_digest=base.digest, dtype=config.dtype,
        dataset=declared.key, dataset_revision=f"local file {loaded.digest[:8]}",
        dataset_digest=loaded.digest,
        editor=KEY, editor_version=External.version, hparams={},
        inputs=_inputs(edited, dataset), n_edits=len(loaded.samples), seed=0, limit=None,
        metric_version=metrics.PROTOCOL_VERSION,
        generation=config.generation,
    )  # fmt: skip
    store, started = ResultStore(config.records), now()
    ran = run_blocks(cell, editor, loaded.samples)
    body = {
        "data": loaded.facts(),
        "summary": metrics.summarise(ran.rows),
        "health": ran.health,
        "rows": ran.rows,
    }
    origin = provenance(torch.device(config.device), started=started, seconds=ran.seconds)
    origin |= {"backbone": str(base.directory), "data": str(loaded.path)}
    facts = {"label": LABEL, "family": External.family, "retrieves_text": False}
    registry.remember(EditorEntry(key=KEY, class_name="", label=LABEL, family=External.family))
    record = results.complete(cell, facts, origin, body)
    store.write(record)
    return record


def _inputs(edited: Backbone, dataset: str) -> dict[str, str]:
    """Which model was scored, in place of an editor's code; and whose facts these are."""
    digest = edited.digest or digest_of_files(sorted(edited.directory.glob("*.safetensors")))
    own = get_dataset(dataset).source_digest
    return {EDITOR_SOURCE: digest} | ({} if own is None else {DATASET_SOURCE: own})
