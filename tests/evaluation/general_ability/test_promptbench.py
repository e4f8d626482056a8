"""The PromptBench adapter; most of it needs that library, which has an environment of its own."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from bench.checks.contract.tiny import tiny_llama
from bench.cli.main import main
from bench.evaluation.general_ability import promptbench_harness
from bench.evaluation.general_ability.scoring import Numbered
from bench.evaluation.inference import unsteered
from tests.evaluation.general_ability.tiny_items import tiny_sets
from tests.support.fake_editors import DoNothing


def test_without_the_library_one_sentence_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    arguments = ["run", "--table", "2", "--editors", "grace", "--edits", "1"]
    assert main([*arguments, "--harness", "promptbench", "--out", "out"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: promptbench is not installed; `pip install")
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, Numbered]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its sources hold escapes that Python warns of
        pytest.importorskip("promptbench", reason=f"{promptbench_harness.INSTALL} installs it")
    return tiny_sets(tmp_path)


def test_forms_of_each_set(sets: dict[str, Numbered]) -> None:
    assert {key: len(promptbench_harness.forms(key)) for key in sets} == {
        "csqa": 3,
        "mmlu": 20,
        "anli": 20,
        "squad2": 20,
    }
    (_, item), *_ = sets["mmlu"]
    first = promptbench_harness.forms("mmlu")[0].prompt(item)
    assert "multiple-choice question about sums" in first
    assert f"{item.document['question']}\nA: 0\nB: 1" in first
    (_, item), *_ = sets["csqa"]
    for form in promptbench_harness.forms("csqa"):
        assert "Answer Choices: (A) bank (B) library" in form.prompt(item)
        assert "##<your answer" in form.prompt(item)


@pytest.mark.parametrize(
    ("key", "form", "generated", "prediction"),
    [
        ("mmlu", 0, " The answer is C.", 2),
        ("mmlu", 0, " C) 2", None),
        ("mmlu", 0, " e", None),
        ("anli", 3, " Entailment", 0),
        ("anli", 3, " both", None),
        ("csqa", 0, " I say A. ##B", 1),
        ("csqa", 1, " D", 3),
        ("csqa", 2, " nothing", None),
        ("squad2", 0, " the sea", "the sea"),
        ("squad2", 0, " unanswerable", ""),
        ("squad2", 0, " ", None),
    ],
)
def test_generated_text_is_read(
    sets: dict[str, Numbered], key: str, form: int, generated: str, prediction: int | str | None
) -> None:
    (_, item), *_ = sets[key]
    mark = promptbench_harness.forms(key)[form].mark(item, generated)
    assert mark["prediction"] == prediction
    if key == "squad2":
        assert mark["score"] == mark["f1"] == float(prediction == "the sea")
    else:
        assert mark["score"] == float(prediction == item.answer)


def test_every_question_is_asked_with_every_prompt_and_steered(sets: dict[str, Numbered]) -> None:
    some = {key: part[:2] for key, part in sets.items()}
    editor = DoNothing(tiny_llama())
    rows = promptbench_harness.ask(editor.lm, some, editor.steering)
    assert len(rows) == 2 * (3 + 20 + 20 + 20)
    texts = [text for batch in editor.batches for text in batch.texts]
    assert len(texts) == len(rows)  # each decoded once, by its prompt, of which a tiny context cuts
    assert sum(text.rstrip().endswith("Answer:") for text in texts) >= 2 * 57
    assert rows == promptbench_harness.ask(editor.lm, some, unsteered, batch_size=1)
    assert all("prompt" in row for row in rows)
