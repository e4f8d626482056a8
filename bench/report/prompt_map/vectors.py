"""What is mapped: embeddings of the names in edits, and the prompts that RECIPE makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bench.evaluation.edit_job import EditJob
from bench.models.resources import resources_for
from bench.report.prompt_map.nearness import Vectors
from editors.base import EditRequest
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import target_ids
from editors.recipe import RecipeEditor


@dataclass(frozen=True)
class Name:
    """The text of a subject, of an object (an edit's target), or of both."""

    text: str
    subject: bool
    object: bool


def names_in(requests: Sequence[EditRequest]) -> list[Name]:
    """Each name once, subjects first, in the order of the edits."""
    subjects = dict.fromkeys(request.subject for request in requests)
    objects = dict.fromkeys(request.target for request in requests)
    return [Name(text, text in subjects, text in objects) for text in {**subjects, **objects}]


@torch.no_grad()
def name_vectors(lm: LanguageModel, names: Sequence[Name]) -> Vectors:
    """Word embeddings [N, d]; a name of several tokens is the mean of its rows.

    Names are tokenised as inside a sentence, behind a space.
    """
    embed = lm.module(lm.architecture.embeddings)
    rows = [
        embed(torch.tensor(target_ids(lm.tokenizer, name.text), device=lm.device)).mean(dim=0)
        for name in names
    ]
    found: Vectors = torch.stack(rows).float().cpu().numpy()
    return found


@torch.no_grad()
def prompt_vectors(lm: LanguageModel, job: EditJob, requests: Sequence[EditRequest]) -> Vectors:
    """Continuous prompts [E, l, d] of edits, by the weights of a job of RECIPE."""
    hparams = RecipeEditor.hparams_class.from_dict(job.cell.hparams)
    editor = RecipeEditor(lm, hparams, resources_for(lm, hparams, job.sources))
    editor.edit(requests)
    prompts: Vectors = editor.repository.prompts[1:].float().cpu().numpy()  # row 0: the sentinel
    return np.ascontiguousarray(prompts)
