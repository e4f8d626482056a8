"""CommonsenseQA, validation split (the test split's answers are not published)."""

from __future__ import annotations

from bench.datasets.rows import Row
from bench.evaluation.general_ability.sets.base import AbilityItem, AbilitySet, HubPart
from bench.world.ability_items import LETTERS, Choice


class CommonsenseQA(AbilitySet):
    """Five options; read in the hub's form or in that of the authors' release."""

    key = "csqa"
    label = "CSQA"
    measure = "accuracy"
    hub = HubPart(path="tau/commonsense_qa", splits=("validation",))
    patterns = (
        "csqa_validation.jsonl",
        "dev_rand_split.jsonl",
        "*commonsense_qa/**/validation-*.parquet",
    )
    lm_eval_folder = "commonsense_qa"

    def read(self, row: Row, part: str) -> AbilityItem:
        """The item of one row; see the base class."""
        question, options = self._asked(row)
        if len(options) != len(LETTERS):
            wanted = f"{len(LETTERS)} options"
            raise row.refusal("choices", wanted, f"{len(options)}")
        answer = row.choice("answerKey", LETTERS)
        document = {
            "question": question,
            "choices": {"label": list(LETTERS), "text": list(options)},
            "answerKey": LETTERS[answer],
        }
        return AbilityItem(
            group="",
            prompt=Choice(question, options, answer).prompt(),
            options=tuple(LETTERS),
            answer=answer,
            document=document,
        )

    def lm_eval_task(self, item: AbilityItem) -> str:
        """The one task; see the base class."""
        return "commonsense_qa"

    def _asked(self, row: Row) -> tuple[str, tuple[str, ...]]:
        """Question and options of either form."""
        if isinstance(row.fields.get("question"), dict):
            inner = row.row("question")
            return inner.text("stem"), tuple(
                option.text("text") for option in inner.rows("choices")
            )
        return row.text("question"), row.row("choices").texts("text")
