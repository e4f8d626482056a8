"""WikiBigEdit: half a million facts that were new or changed in Wikidata, in order of time."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

from bench.datasets.base import UNSTATED, EditDataset, PublishedFile, Split
from bench.datasets.rows import Row
from editors.base import EditRequest, EditSample, Probe

# Between two of these a file has the changes.
DATES = (
    "20240201", "20240220", "20240301", "20240320", "20240401", "20240501", "20240601", "20240620",
    "20240701",
)  # fmt: skip


class WikiBigEdit(EditDataset):
    """Request `update` -> `ans`; generality `rephrase` and `personas`; portability `mhop`.

    The other facts of a multi-hop question, which few rows have, are not in the files. The locality
    question `loc` is of the nearest unchanged fact, mostly of the same relation.
    """

    key = "wikibigedit"
    label = "WikiBigEdit"
    title = "WikiBigEdit, changes of Wikidata from February to July 2024"
    source = "https://huggingface.co/datasets/lukasthede/WikiBigEdit"
    revision = UNSTATED
    licence = "Apache-2.0"
    citation = (
        "Thede et al., Understanding the Limits of Lifelong Knowledge Editing in LLMs, ICML 2025"
    )
    files: ClassVar[Mapping[Split, PublishedFile]] = {
        "test": PublishedFile(
            path="",
            parts=tuple(f"wiki_big_edit_{old}_{new}.json" for old, new in pairwise(DATES)),
            rows=502_382,
        ),
    }

    def read(self, row: Row, sample_id: str) -> EditSample:
        target = row.text("ans")
        asked, answer = row.text("mhop"), row.text("mhop_ans")
        chained = Probe(kind="multi_hop", prompt=asked, target=answer)
        return EditSample(
            id=sample_id,
            request=EditRequest(
                prompt=row.text("update"), target=target, subject=row.text("subject")
            ),
            generality=tuple(
                Probe(kind=kind, prompt=row.text(field), target=target)
                for kind, field in (("rephrase", "rephrase"), ("persona", "personas"))
            ),
            locality=(Probe(kind="neighbour", prompt=row.text("loc"), target=row.text("loc_ans")),),
            portability=(chained,) if asked and answer else (),
        )
