"""QAEdit: questions of Natural Questions, TriviaQA and SimpleQA with their true answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from bench.datasets.base import EditDataset, PublishedFile, Split
from bench.datasets.rows import Row
from editors.base import EditRequest, EditSample, Probe


class QAEdit(EditDataset):
    """Request `prompt` -> `target`; generality `rephrase`; locality all questions of `locality`.

    The released code asks the first of a row's locality questions alone.
    """

    key = "qaedit"
    label = "QAEdit"
    title = "QAEdit, questions of people as edits"
    source = "https://github.com/WanliYoung/Revisit-Editing-Evaluation"
    revision = "61ccca3c1ecdb3976c9c0924e9352f3e64cc7d48"
    licence = "not stated for the questions; the repository is Apache-2.0"
    citation = (
        "Yang et al., The Mirage of Model Editing: Revisiting Evaluation in the Wild, ACL 2025"
    )
    files: ClassVar[Mapping[Split, PublishedFile]] = {
        "test": PublishedFile(
            path="data/QAEdit.json",
            variants=("QAEdit[-_]*.json",),
            rows=19_249,
            git_blob="5f95260c4b14490eb44019f22253549ac866da1d",
        ),
    }

    distances: ClassVar[Mapping[str, str]] = {"unrelated": "unrelated"}

    def read(self, row: Row, sample_id: str) -> EditSample:
        target = row.text("target")
        return EditSample(
            id=sample_id,
            request=EditRequest(
                prompt=row.text("prompt"), target=target, subject=row.text("subject")
            ),
            generality=(Probe(kind="rephrase", prompt=row.text("rephrase"), target=target),),
            locality=tuple(
                Probe(kind="unrelated", prompt=other.text("loc"), target=other.text("loc_ans"))
                for other in row.rows("locality")
            ),
        )
