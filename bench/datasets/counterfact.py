"""CounterFact (CF): counterfactual cloze statements, one rephrasing and one neighbour each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from bench.datasets.base import EditDataset, PublishedFile, Split
from bench.datasets.rows import Row
from editors.base import EditRequest, EditSample, Probe


class CounterFact(EditDataset):
    """Request `prompt` -> `target_new`; locality the same relation of another subject.

    Of the 10,000 test edits 64 prompts occur twice, 62 of them with conflicting targets, and 214
    locality prompts are another sample's edit: no editor can score 100 at 10,000 edits.
    """

    key = "counterfact"
    label = "CF"
    title = "CounterFact, the part used by RECIPE"
    licence = "MIT"
    citation = (
        "Meng et al., Locating and Editing Factual Associations in GPT, NeurIPS 2022; "
        "this selection: Chen et al., EMNLP 2024"
    )
    files: ClassVar[Mapping[Split, PublishedFile]] = {
        "train": PublishedFile(
            path="data/meta-train/cf/counterfact-train.json",
            variants=("counterfact-train[-_]*.json",),
            rows=10_000,
            git_blob="baa0cc50500d844c36c50805641f21cbe1cfede6",
        ),
        "test": PublishedFile(
            path="data/evaluation/cf/counterfact-edit.json",
            variants=("counterfact-edit[-_]*.json",),
            rows=10_000,
            git_blob="a24e5bb3b963d4d683ae032344ddce7566ba1ee7",
        ),
    }

    distances: ClassVar[Mapping[str, str]] = {"neighbour": "same_relation"}

    def read(self, row: Row, sample_id: str) -> EditSample:
        prompt, target = row.text("prompt"), row.text("target_new")
        neighbour = Probe(
            kind="neighbour",
            prompt=row.text("locality_prompt"),
            target=row.text("locality_ground_truth"),
        )
        return EditSample(
            id=sample_id,
            request=EditRequest(prompt=prompt, target=target, subject=row.text("subject")),
            generality=(Probe(kind="rephrase", prompt=row.text("rephrase_prompt"), target=target),),
            locality=(neighbour,),
            former=row.text("ground_truth") if "ground_truth" in row.fields else "",
        )
