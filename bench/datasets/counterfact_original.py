"""CounterFact as it was first published: with neighbours, attributes and beginnings of texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from bench.datasets.base import UNSTATED, EditDataset, PublishedFile, Split
from bench.datasets.rows import Row
from editors.base import EditRequest, EditSample, Probe


class CounterFactOriginal(EditDataset):
    """Request `requested_rewrite`; locality ten neighbours and ten subjects with the new object.

    `neighborhood_prompts` ask for subjects whose object is the edit's old one, `attribute_prompts`
    for subjects whose object is the edit's new one: the first are what other papers call
    specificity. CF is RECIPE's part of this set, with one rephrasing and one neighbour.
    """

    key = "counterfact_original"
    label = "CF-original"
    title = "CounterFact, the whole set with all its prompts"
    source = "https://rome.baulab.info/data/dsets/counterfact.json"
    revision = UNSTATED
    licence = "MIT"
    citation = "Meng et al., Locating and Editing Factual Associations in GPT, NeurIPS 2022"
    files: ClassVar[Mapping[Split, PublishedFile]] = {
        "test": PublishedFile(
            path="counterfact.json", variants=("counterfact[-_]original*.json",), rows=21_919
        ),
    }

    distances: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("neighbour", "attribute"), "same_relation"
    )

    def read(self, row: Row, sample_id: str) -> EditSample:
        edit = row.row("requested_rewrite")
        new, true = (edit.row(name).text("str") for name in ("target_new", "target_true"))

        def probes(kind: str, field: str, target: str) -> tuple[Probe, ...]:
            return tuple(Probe(kind=kind, prompt=text, target=target) for text in row.texts(field))

        return EditSample(
            id=sample_id,
            request=EditRequest(
                prompt=edit.text("prompt"), target=new, subject=edit.text("subject")
            ),
            generality=probes("rephrase", "paraphrase_prompts", new),
            locality=(
                *probes("neighbour", "neighborhood_prompts", true),
                *probes("attribute", "attribute_prompts", new),
            ),
            former=true,
        )
