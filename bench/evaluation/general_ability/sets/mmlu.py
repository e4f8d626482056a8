"""MMLU, test split of all subjects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.datasets.rows import Row, read_csv
from bench.evaluation.general_ability.sets.base import AbilityItem, AbilitySet, HubPart
from bench.world.ability_items import LETTERS, Choice

_OPTIONS = 4
_COLUMNS = ("question", *(f"choice{number}" for number in range(_OPTIONS)), "answer")
_SUFFIX = "_test"  # of the authors' file names: one CSV file for each subject


class Mmlu(AbilitySet):
    """Four options; read in the hub's form or from the authors' CSV files, with a head or none."""

    key = "mmlu"
    label = "MMLU"
    measure = "accuracy"
    hub = HubPart(path="cais/mmlu", name="all", splits=("test",))
    patterns = ("mmlu_test.jsonl", f"test/*{_SUFFIX}.csv", "*mmlu/all/test-*.parquet")
    lm_eval_folder = "mmlu/default"

    def rows(self, path: Path) -> Iterator[Row]:
        """Rows of one local file; see the base class."""
        if path.suffix == ".csv":
            return read_csv(path, path.read_bytes(), _COLUMNS)
        return super().rows(path)

    def read(self, row: Row, part: str) -> AbilityItem:
        """The item of one row; see the base class."""
        options = self._options(row)
        if len(options) != _OPTIONS:
            raise row.refusal("choices", f"{_OPTIONS} options", f"{len(options)}")
        letters = LETTERS[:_OPTIONS]
        answer, question = row.choice("answer", letters), row.text("question")
        subject = part.removesuffix(_SUFFIX) if _in_columns(row) else row.text("subject")
        document = {
            "question": question, "subject": subject, "choices": list(options), "answer": answer,
        }  # fmt: skip
        return AbilityItem(
            group=subject,
            prompt=Choice(question, options, answer).prompt(),
            options=tuple(letters),
            answer=answer,
            document=document,
        )

    def lm_eval_task(self, item: AbilityItem) -> str:
        """One task for each subject; see the base class."""
        return f"mmlu_{item.group}"

    def _options(self, row: Row) -> tuple[str, ...]:
        if _in_columns(row):
            return tuple(row.text(name) for name in _COLUMNS[1:-1])
        return row.texts("choices")


def _in_columns(row: Row) -> bool:
    """Whether it is one of the authors' files, which are of one subject and do not name it."""
    return _COLUMNS[1] in row.fields and "choices" not in row.fields
