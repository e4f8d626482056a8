"""RippleEdits (RIPE): edits with probes for what follows from them and what must not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from bench.datasets.base import EditDataset, PublishedFile, Split
from bench.datasets.rows import Row
from editors.base import EditRequest, EditSample, Probe

# The six criteria of Cohen et al., sorted as the released RECIPE code does (utils/data.py).
GENERALITY_TYPES = (
    "Logical_Generalization",
    "Compositionality_I",
    "Compositionality_II",
    "Subject_Aliasing",
)
LOCALITY_TYPES = ("Relation_Specificity", "Forgetfulness")


class RippleEdits(EditDataset):
    """Request `prompt` -> `target_new`; any number of probes of six types, none is possible."""

    key = "ripple_edits"
    label = "RIPE"
    aliases = ("ripple_effect", "rippleedits")
    title = "RippleEdits, the part used by RECIPE"
    licence = "MIT"
    citation = (
        "Cohen et al., Evaluating the Ripple Effects of Knowledge Editing in Language Models, "
        "TACL 2024; this selection: Chen et al., EMNLP 2024"
    )
    files: ClassVar[Mapping[Split, PublishedFile]] = {
        "train": PublishedFile(
            path="data/meta-train/ripple_effect/ripe_train.json",
            variants=("ripe_*train*.json",),
            rows=3_000,
            git_blob="ca287aa8f23ad1e149f1b750292540292c7978c7",
        ),
        "test": PublishedFile(
            path="data/evaluation/ripple_effect/ripe_test.json",
            variants=("ripe_*test*.json",),
            rows=1_388,
            git_blob="3e3973253eab4fdb4818fca0a8a824b6af445725",
        ),
    }

    distances: ClassVar[Mapping[str, str]] = {
        "Relation_Specificity": "same_subject",
        "Forgetfulness": "same_pair",
    }

    def read(self, row: Row, sample_id: str) -> EditSample:
        return EditSample(
            id=sample_id,
            request=EditRequest(
                prompt=row.text("prompt"),
                target=row.text("target_new"),
                subject=row.text("subject"),
            ),
            generality=_probes(row, GENERALITY_TYPES),
            locality=_probes(row, LOCALITY_TYPES),
        )


def _probes(row: Row, kinds: tuple[str, ...]) -> tuple[Probe, ...]:
    """One probe an item: the first of its `targets` is forced, a decoded answer may be any."""
    return tuple(_probe(kind, item) for kind in kinds for item in row.rows(kind))


def _probe(kind: str, item: Row) -> Probe:
    """An item whose targets are all empty gets an empty target."""
    prompt, targets = item.text("prompt"), dict.fromkeys(item.texts("targets"))
    target, *aliases = [text for text in targets if text.strip()] or [""]
    return Probe(kind=kind, prompt=prompt, target=target, aliases=tuple(aliases))
