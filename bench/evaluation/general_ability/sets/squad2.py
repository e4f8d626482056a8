"""SQuAD 2.0, validation split: passages with questions that they answer, or do not."""

from __future__ import annotations

from bench.datasets.rows import Row
from bench.evaluation.general_ability.sets.base import AbilityItem, AbilitySet, HubPart
from bench.world.ability_items import Reading

ANSWERABLE, UNANSWERABLE = "answerable", "unanswerable"


class Squad2(AbilitySet):
    """Answered in words; a question without an answer is answered `N/A`."""

    key = "squad2"
    label = "SQUAD-2"
    measure = "1/PPL"
    hub = HubPart(path="rajpurkar/squad_v2", splits=("validation",))
    patterns = ("squad_v2_validation*.jsonl", "*squad_v2/**/validation-*.parquet")

    def read(self, row: Row, part: str) -> AbilityItem:
        """The item of one row; see the base class."""
        title, context, question = row.text("title"), row.text("context"), row.text("question")
        answers = row.row("answers").texts("text")
        if not all(answer.strip() for answer in answers):
            raise row.refusal("answers", "answers that are not empty", "an empty one")
        golds = tuple(dict.fromkeys(answers))
        return AbilityItem(
            group=ANSWERABLE if golds else UNANSWERABLE,
            prompt=Reading(title, context, question, None).prompt(),
            golds=golds,
            document={
                "title": title, "context": context, "question": question, "answers": list(golds),
            },
        )  # fmt: skip
