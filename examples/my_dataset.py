"""Your own data set: capitals that have moved. Its rows are in `capitals.json` in this folder.

    python -m bench run --datasets examples/my_dataset.py --editors ft,grace --edits 1,10

The file is a JSON list of objects. `row.text`, `row.texts` and `row.rows` read a field, and raise a
readable error if it is missing. The base class does the rest: it leaves out rows without text and
counts them, strips white space from targets, and spells the subject as the prompt does. With
`--data-dir DIR` the file is read from DIR instead. A trainable editor needs a `train` split too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from bench.datasets.base import EditDataset, PublishedFile, Split
from bench.datasets.rows import Row
from editors.base import EditRequest, EditSample, Probe


class Capitals(EditDataset):
    """Request `question` -> `answer`, with any number of rephrased and unrelated questions."""

    key = "capitals"  # its name in records
    label = "CAPITALS"  # as tables print it
    title = "Capitals that have moved"
    licence = "CC0"
    files: ClassVar[Mapping[Split, PublishedFile]] = {"test": PublishedFile(path="capitals.json")}

    def read(self, row: Row, sample_id: str) -> EditSample:
        """The sample of one row."""
        answer = row.text("answer")
        return EditSample(
            id=sample_id,
            request=EditRequest(
                prompt=row.text("question"), target=answer, subject=row.text("country")
            ),
            generality=tuple(
                Probe(kind="rephrase", prompt=text, target=answer)
                for text in row.texts("rephrased")
            ),
            locality=tuple(
                Probe(kind="unrelated", prompt=other.text("question"), target=other.text("answer"))
                for other in row.rows("unrelated")
            ),
        )
