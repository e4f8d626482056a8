"""What editors of a backbone of random weights get: right shapes, values that change no time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from bench.models.backbones import SEED
from bench.models.resources import Sources
from editors.base import Editor, Hparams, Resources, TrainableEditor
from editors.parts.language_model import LanguageModel
from editors.parts.target_value import BARE
from editors.parts.tokens import prompt_ids

if TYPE_CHECKING:
    from pathlib import Path

# What context prefixes are cut from; a random model writes none that can be read again.
WORDS = "The people of the town met by the river in the evening and spoke of what the year brought"

EMPTY = 1e-3  # of the second moment in directions that old keys do not take


def stand_ins(
    cls: type[Editor[Any]],
    lm: LanguageModel,
    hparams: Hparams,
    sources: Sources,
    directory: Path,
) -> Resources:
    """Resources of an editor on a pristine model.

    The key covariance is diagonal, and all but empty in half of its directions; context prefixes
    have the wanted numbers of tokens, and an editor's own weights are untrained.

    Args:
        cls: of the editor.
        lm: the model before any edit.
        hparams: of the editor.
        sources: an encoder and a corpus, for editors that read them.
        directory: for untrained weights, as long as the editor is made anew.
    """
    keys = _key_size(lm)
    resources = Resources(
        encoder=sources.encoder,
        covariance=lambda _: _moment(keys),
        templates=(BARE, *(_prefix(lm, length) for length in hparams.template_lengths)),
        corpus=None if sources.corpus is None else sources.corpus.texts,
        training=None if sources.training is None else sources.training.samples,
        seed=SEED,
    )
    if not issubclass(cls, TrainableEditor):
        return resources
    return replace(resources, artefact=cls.untrained(lm, hparams, resources, out=directory))


def _moment(size: int) -> torch.Tensor:
    """Ones, and from the middle on what AlphaEdit takes for no energy."""
    values = torch.ones(size)
    values[size // 2 :] = EMPTY
    return torch.diag(values)


def _key_size(lm: LanguageModel) -> int:
    weight = lm.module(lm.architecture.mlp_out, 0).get_parameter("weight")
    return lm.architecture.as_out_in(weight).shape[1]


def _prefix(lm: LanguageModel, length: int) -> str:
    """A context template whose prefix has about `length` tokens, special ones included."""
    ids = prompt_ids(lm.tokenizer, " ".join([WORDS] * length))[:length]
    return f"{lm.tokenizer.decode(ids, skip_special_tokens=True)}. {BARE}"
