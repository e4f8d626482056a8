"""Accuracy lost from the printed metric to decoded answers, with numbers worked out by hand."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from bench.cli import main as cli
from bench.core.grids import get_table
from bench.evaluation import metrics
from bench.evaluation.inference import predict
from bench.evaluation.probing import Item
from bench.models.backbones import load, locate
from bench.store.reference import reference_records
from bench.store.results import Record
from bench.tables.metric_loss import EQUAL, by_step, losses, to_csv
from editors.parts.generation import Stop, greedy
from editors.parts.tokens import batch_of, text_of
from tests.support.records import record

TABLE = get_table(1)


def scored(editor: str, seed: int, *chain: float, retrieves: bool = True) -> Record:
    """A record with (tokens, exact, tokens by the prompt, exact by the prompt, decoded) as Rel."""
    new = record(editor, seed=seed)
    new["editor"]["retrieves_text"] = retrieves
    tokens, exact, honest_tokens, honest, decoded = ({"reliability": score} for score in chain)
    new["summary"]["scores"]["after"] = {
        "teacher_forced": {"token_accuracy": tokens, "exact": exact},
        "prompt_only": {"token_accuracy": honest_tokens, "exact": honest},
        "generated": {"generated_exact": decoded},
    }
    return new


def test_each_step_loses_what_it_takes_away() -> None:
    first = scored("recipe", 0, 0.90, 0.80, 0.85, 0.70, 0.60)
    loss, *absent = losses([first, scored("recipe", 1, 0.80, 0.60, 0.79, 0.56, 0.58)])
    assert (loss.row.label, loss.metric, loss.seeds) == ("RECIPE", "Rel", (0, 1))
    assert loss.row.n_edits == 10
    assert [(own.metric, own.numbers, own.seeds) for own in absent] == [
        (metric, {}, ()) for metric in ("Gen", "Loc", "Avg")
    ]
    assert {name: round(spread.mean, 6) for name, spread in loss.numbers.items()} == {
        "tokens": 85, "exact": 70, "prompt_only": 63, "generated": 59, "tokens_by_prompt": 82,
        "lost_exact": 15, "lost_leak": 7, "lost_stop": 4, "lost_total": 15 + 7 + 4,
        "lost_leak_of_tokens": 3,
    }  # fmt: skip
    assert loss.numbers["lost_exact"].std == pytest.approx(50**0.5)  # of 10 and 20
    assert loss.numbers["lost_stop"].std == pytest.approx(72**0.5)  # of 10 and -2: a little is won


def test_other_settings_are_another_line() -> None:
    usual = scored("ft", 0, 0.5, 0.5, 0.5, 0.5, 0.5, retrieves=False)
    changed = record("ft", hparams={"lr": 0.5})
    changed["summary"] = usual["summary"]
    settings = [loss.settings for loss in losses([usual, changed]) if loss.metric == "Rel"]
    assert settings == ["preset", "lr=0.5"]


def test_what_was_not_asked_is_not_there() -> None:
    bare = record("ft")  # token accuracy alone
    bare["cell"]["generation"] = "none"
    (rel, *_) = losses([bare])
    assert rel.numbers.keys() == {"tokens", "tokens_by_prompt", "lost_leak_of_tokens"}


def test_answers_to_another_prompt_take_no_part() -> None:
    guided = scored("ft", 0, 0.5, 0.5, 0.5, 0.5, 0.1)
    guided["cell"]["generation"] = "context_guided"
    loss, *_ = losses([guided])
    assert not {"generated", "lost_total"} & loss.numbers.keys()


def average(record: Record) -> Record:
    """The same with Rel as Avg, which is what the text shows."""
    for channel in record["summary"]["scores"]["after"].values():
        for values in channel.values():
            values["average"] = values["reliability"]
    return record


def test_the_text_marks_what_is_equal_by_construction() -> None:
    records = [
        average(scored("recipe", 0, 0.9, 0.8, 0.85, 0.7, 0.6)),
        average(scored("ft", 0, 0.9, 0.8, 0.9, 0.8, 0.8, retrieves=False)),
        average(scored("alphaedit", 0, 0.9, 0.8, 0.9, 0.8, 0.8, retrieves=False)),
    ]
    text = by_step(TABLE, losses(records))
    rows = {row[2]: row[3:] for row in text.rows}
    assert rows["RECIPE"] == ("90.00", "10.00", "10.00", "10.00", "60.00")
    assert rows["FT"] == ("90.00", "10.00", EQUAL, "0.00", "80.00")
    assert "AlphaEdit §" in rows
    assert text.caption[-1].startswith("§ ")


def test_the_csv_has_every_number() -> None:
    records = [average(scored("recipe", 0, 0.9, 0.8, 0.85, 0.7, 0.6))]
    rows = list(csv.DictReader(io.StringIO(to_csv(losses(records)))))
    assert [row["metric"] for row in rows] == ["Rel", "Gen", "Loc", "Avg"]
    assert [row["tokens"] for row in rows] == ["90.00", "", "", "90.00"]
    assert {name: rows[0][name] for name in ("tokens", "lost_leak", "lost_leak_of_tokens")} == {
        "tokens": "90.00", "lost_leak": "10.00", "lost_leak_of_tokens": "5.00"
    }  # fmt: skip
    assert (rows[0]["retrieves_text"], rows[0]["in_paper"], rows[0]["seeds"]) == ("yes", "yes", "1")


def test_no_record_of_editing_is_said() -> None:
    with pytest.raises(ValueError, match="record of editing"):
        by_step(TABLE, [])


def test_the_command_prints_and_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["tables", "--table", "6", "--reference", "--metric-loss", "--edits", "10"]
    assert cli.main([*command, "--out", str(tmp_path)]) == 0
    assert "lost from the printed metric" in capsys.readouterr().out
    path = tmp_path / "tables" / "table6_metric_loss.csv"
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1 + 33 * 4


def test_other_tables_refuse_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tables", "--table", "3", "--reference", "--metric-loss"]) == 2
    assert "Table 3 takes no --metric-loss" in capsys.readouterr().err


LENGTH = 8  # of decoded answers: at least that of any target


def test_all_forced_tokens_hit_exactly_where_the_decoded_answer_of_that_length_does() -> None:
    """On questions of a shipped model, with targets that are right, wrong, and right at first."""
    lm = load(locate("mini-llama"))
    worst = reference_records("table4")[0]["worst"]
    asked = [(item["prompt"], item["target"]) for sample in worst for item in sample["items"]]
    batch = batch_of(lm.tokenizer, [(prompt, "") for prompt, _ in asked], device=lm.device)
    free = greedy(lm, batch, max_new_tokens=LENGTH, stop=Stop())  # whatever is in them
    items, answers = [], []
    for (prompt, target), ids in zip(asked, free, strict=True):
        start = text_of(lm.tokenizer, ids[:3]).strip()
        for answer in (target, start, f"{start} {target}"):
            items.append(Item(aspect="reliability", kind="request", prompt=prompt, target=answer))
            answers.append(ids)
    hits = []
    for forced, ids in zip(predict(lm, items), answers, strict=True):
        assert len(forced.target_ids) <= LENGTH
        hits.append(metrics.exact(forced.predicted_ids, forced.target_ids) == 1.0)
        assert hits[-1] == (tuple(ids[: len(forced.target_ids)]) == forced.target_ids)
    assert hits.count(True) >= 10
    assert hits.count(False) >= 10
