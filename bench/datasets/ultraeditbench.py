"""UltraEditBench: more than two million questions about triples of Wikidata5M."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from bench.datasets.base import UNSTATED, EditDataset, PublishedFile, Split
from bench.datasets.rows import Row
from editors.base import EditRequest, EditSample, Probe


class UltraEditBench(EditDataset):
    """Request `prompt` -> `ans`; generality `rephrase_prompt`; locality `loc`.

    A file of the first rows, such as `UltraEditBench_2M_first.json`, is accepted: the whole one
    needs gigabytes of memory.
    """

    key = "ultraeditbench"
    label = "UltraEditBench"
    title = "UltraEditBench, Wikidata5M as question answering"
    source = "https://huggingface.co/datasets/XiaojieGu/UltraEditBench"
    revision = UNSTATED
    citation = (
        "Gu et al., UltraEdit: Training-, Subject-, and Memory-Free Lifelong Editing in Language "
        "Models, TMLR 2026"
    )
    files: ClassVar[Mapping[Split, PublishedFile]] = {
        "test": PublishedFile(
            path="UltraEditBench_2M.json",  # as the released code names it
            variants=("UltraEditBench_2M[-_]*.json", "UltraEditBench.json"),
            rows=2_000_000,  # at least, by the paper
        ),
    }

    distances: ClassVar[Mapping[str, str]] = {"unrelated": "unrelated"}

    def read(self, row: Row, sample_id: str) -> EditSample:
        target = row.text("ans")
        rephrase = Probe(kind="rephrase", prompt=row.text("rephrase_prompt"), target=target)
        return EditSample(
            id=sample_id,
            request=EditRequest(
                prompt=row.text("prompt"), target=target, subject=row.text("subject")
            ),
            generality=(rephrase,),
            locality=(Probe(kind="unrelated", prompt=row.text("loc"), target=row.text("loc_ans")),),
        )
