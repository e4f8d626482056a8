"""`bench edit`: facts into a model, the edited model or the edits saved, loaded and asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.cli.commands import Cli, Refused

FACTS = Path(__file__).parents[2] / "examples" / "facts.json"
PROMPT = "The capital of Narnia is"


def answer(out: str, label: str) -> str:
    """The last answer that was printed."""
    lines = [line for line in out.splitlines() if line.startswith(label)]
    return lines[-1][10:].removesuffix("  (unchanged)").strip()


def test_an_edited_model_is_a_plain_directory(backbone: Path, tmp_path: Path, cli: Cli) -> None:
    edited = tmp_path / "edited"
    edit = ["edit", "--editor", "ft", "--backbone", backbone, "--hparam", "ft.num_steps=40"]
    said = cli(*edit, "--facts", FACTS, "--save", edited, "--ask", PROMPT)
    assert said.code == 0
    assert "edits: 2 in " in said.out
    assert f"saved: {edited}" in said.out
    model = AutoModelForCausalLM.from_pretrained(edited).eval()
    tokenizer = AutoTokenizer.from_pretrained(edited)
    ids = torch.tensor([tokenizer(PROMPT)["input_ids"]])
    new = model.generate(ids, max_new_tokens=1, do_sample=False)[0, ids.shape[1] :]
    assert answer(said.out, "after").startswith(str(tokenizer.decode(new)).strip())
    again = cli("try", "--editor", "ft", "--backbone", edited, "--ask", PROMPT)
    assert answer(again.out, "before") == answer(said.out, "after")
    assert answer(again.out, "before") != answer(said.out, "before")


def test_saved_edits_of_a_retrieving_editor_go_on(
    backbone: Path, tmp_path: Path, cli: Cli, refused: Refused
) -> None:
    named = ["--editor", "grace", "--hparam", "grace.n_iter=3", "--backbone", backbone]
    there = tmp_path / "edits"
    first = cli("edit", *named, "--facts", FACTS, "--save", there, "--ask", PROMPT)
    facts = json.loads((there / "edits.json").read_text("utf-8"))
    assert (facts["editor_key"], facts["kind"], len(facts["edits"])) == ("grace", "state", 2)
    second = cli("edit", "--load", there, "--ask", PROMPT)
    assert f"loaded: {there}, 2 edits" in second.out
    assert second.out.partition("question")[2] == first.out.partition("question")[2]
    more = cli("edit", "--load", there, "--facts", FACTS, "--save", tmp_path / "four")
    assert more.code == 0
    assert len(json.loads((tmp_path / "four" / "edits.json").read_text("utf-8"))["edits"]) == 4
    assert "is there already" in refused("edit", *named, "--facts", FACTS, "--save", there)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "edit wants --facts FILE, --load DIR, or both."),
        (["--facts", "none.json"], "there is no such file"),
        (["--load", "."], "No saved edits in ."),
    ],
)
def test_what_is_missing_is_one_sentence(
    arguments: list[str],
    said: str,
    refused: Refused,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused("edit", *arguments)


def test_an_edited_model_is_scored_against_its_base(
    backbone: Path, tmp_path: Path, cli: Cli, refused: Refused
) -> None:
    edited = tmp_path / "edited"
    options: list[str | Path] = [
        "--editor",
        "ft",
        "--hparam",
        "ft.num_steps=40",
        "--hparam",
        "ft.lr=0.01",
    ]
    options += ["--backbone", backbone]
    assert cli("edit", *options, "--facts", FACTS, "--save", edited).code == 0
    base, named = ["--base", backbone], ["--facts", FACTS, "--out", tmp_path / "scored"]
    printed = cli("score", "--model", edited, *base, *named)
    assert printed.code == 0
    assert "EXTERNAL" in printed.out
    (path,) = (tmp_path / "scored").glob("*.json")
    record = json.loads(path.read_text("utf-8"))
    assert (record["cell"]["editor"], record["cell"]["n_edits"]) == ("external", 2)
    assert record["health"][0]["effect"] > 0.1  # the edits show
    own = cli("score", "--model", edited, "--out", tmp_path / "own")  # the edits of edits.json
    assert "no generality and no locality question" in own.out
    assert "has the very weights of its base" in refused(
        "score", "--model", backbone, *base, *named
    )
    assert "score wants --facts FILE" in refused("score", "--model", backbone)
    assert "score wants --model DIR" in refused("score")
