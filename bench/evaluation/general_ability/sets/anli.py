"""Adversarial NLI, test splits of its three rounds."""

from __future__ import annotations

import re

from bench.datasets.rows import Row
from bench.evaluation.general_ability.sets.base import AbilityItem, AbilitySet, HubPart
from bench.world.ability_items import LABELS, Entailment


class Anli(AbilitySet):
    """Three labels; the round is that of the row's `tag`, else that of its file or split."""

    key = "anli"
    label = "ANLI"
    measure = "accuracy"
    hub = HubPart(path="facebook/anli", splits=("test_r1", "test_r2", "test_r3"))
    patterns = ("anli_test.jsonl", "anli/test.jsonl", "*anli/**/test_r?-*.parquet")
    lm_eval_folder = "anli"

    def read(self, row: Row, part: str) -> AbilityItem:
        """The item of one row; see the base class."""
        premise, hypothesis = row.text("premise"), row.text("hypothesis")
        answer = row.choice("label", LABELS)  # numbered as the hub numbers them
        return AbilityItem(
            group=self._round(row, part),
            prompt=Entailment(premise, hypothesis, LABELS[answer]).prompt(),
            # The prompt ends before the space, which belongs to the label's first token.
            options=tuple(f" {label}" for label in LABELS),
            answer=answer,
            document={"premise": premise, "hypothesis": hypothesis, "label": answer},
        )

    def lm_eval_task(self, item: AbilityItem) -> str:
        """One task for each round; see the base class."""
        return f"anli_{item.group}"

    def _round(self, row: Row, part: str) -> str:
        where = row.text("tag") if "tag" in row.fields else part
        match = re.search(r"r[123]", where)
        if match is None:
            raise row.refusal("tag", "the name of a round (r1, r2 or r3)", f"{where!r:.60}")
        return match.group()
