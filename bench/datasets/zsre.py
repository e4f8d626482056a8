"""ZSRE: questions about facts, in MEND's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from bench.datasets.base import EditDataset, PublishedFile, Split
from bench.datasets.rows import Row
from editors.base import EditRequest, EditSample, Probe


class ZSRE(EditDataset):
    """Request `src` -> `alt`; generality `rephrase`; locality an unrelated Natural Question.

    The locality prompts begin with "nq question: ", which stays: the published numbers were
    measured with it, and it makes these prompts easy to distinguish from edits.
    """

    key = "zsre"
    label = "ZSRE"
    title = "Zero-shot relation extraction, as question answering"
    licence = "not stated for the questions; the repositories of MEND and RECIPE are MIT"
    citation = (
        "Levy et al., Zero-Shot Relation Extraction via Reading Comprehension, CoNLL 2017; "
        "rephrasings and splits: De Cao et al., EMNLP 2021, and Mitchell et al., ICLR 2022"
    )
    files: ClassVar[Mapping[Split, PublishedFile]] = {
        "train": PublishedFile(
            path="data/meta-train/zsre/zsre_mend_train.json",
            variants=("zsre_mend_train_*.json",),
            rows=162_555,
            git_blob="b5113a1f2018f641e6350d097cf7c081f478fbb6",
        ),
        "test": PublishedFile(
            path="data/evaluation/zsre/zsre_mend_eval.json",
            variants=("zsre_mend_eval_*.json",),
            rows=19_009,
            git_blob="db17283afbb832185b7f0e2a9b6e95424576c914",
        ),
    }

    distances: ClassVar[Mapping[str, str]] = {"unrelated": "unrelated"}

    def read(self, row: Row, sample_id: str) -> EditSample:
        target = row.text("alt")
        return EditSample(
            id=sample_id,
            request=EditRequest(prompt=row.text("src"), target=target, subject=row.text("subject")),
            generality=(Probe(kind="rephrase", prompt=row.text("rephrase"), target=target),),
            locality=(Probe(kind="unrelated", prompt=row.text("loc"), target=row.text("loc_ans")),),
        )
