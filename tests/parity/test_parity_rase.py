"""R-ROME's gate against the numbers of sev777/RASE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from editors.parts.r_rome.retrieval import TOP_K, Gate, rank
from tests.parity.loading import load_case, on_cases

# What the gate is given, and which fact each query is about (-1: none), which it does not see.
INPUTS = ("fact_keys", "edit_sentence_embeddings", "queries", "true_index")


@on_cases(["gate"], ["gate"])
def test_the_gate_fires_as_recorded(root: Path, name: str) -> None:
    case, gate = load_case(root, "rase", name), Gate()
    case.require("hard_gate", "two_gate", *INPUTS)
    settings = case.info
    assert (settings["t_max"], settings["t_diff"], settings["t_std"], settings["top_k"]) == (
        gate.maximum,
        gate.difference,
        gate.spread,
        TOP_K,
    )
    keys, sentences, queries = (case[name] for name in INPUTS[:3])
    hard, two_way = rank(queries, keys), rank(queries, keys, sentences)
    ours: dict[str, Any] = {name: case[name] for name in INPUTS}
    ours |= {
        "hard_gate": gate.fires(hard.scores),
        "hard_choice": hard.best,
        "two_gate": gate.fires(two_way.scores),
        "two_choice": two_way.best,
        "top6_scores": hard.scores,
        "top6_idx": hard.index,
        "max": hard.scores[:, 0],
        "diff": hard.scores[:, 0] - hard.scores[:, 1],
        "std": hard.scores.std(dim=1, correction=0),
    }
    case.compare(ours, atol=1e-9)
    by_maximum = hard.scores[:, 0] > gate.maximum
    fired = (int(by_maximum.sum()), int((gate.fires(hard.scores) & ~by_maximum).sum()))
    assert fired == (20, 13)  # both rules are at work in these numbers
