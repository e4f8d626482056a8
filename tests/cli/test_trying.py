"""`bench try`: what can be typed, scripted conversations and single commands."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.checks.contract.tiny import CONTEXT
from bench.cli.conversation import names_in, parsed_edit, request_of
from bench.datasets import get_dataset
from bench.world.store import data_dir
from tests.cli.commands import Cli, Refused, Said
from tests.support.own_files import EDITOR

HOSTILE = "\x1b[31mred\x07 \u202eevil <script>|[bold]x[/bold]"
DRIREL = "Where does Drirel Guxsen live?"
REPHRASED = "In which city does Drirel Guxsen live?"

Tried = Callable[[Sequence[object], str], Said]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> Tried:
    """Runs `try` with arguments on typed lines."""

    def run(arguments: Sequence[object], lines: str) -> Said:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        return cli("try", *arguments)

    return run


def blocks(out: str) -> list[dict[str, str]]:
    """The answers that were printed, by label."""
    answers: list[dict[str, str]] = []
    for line in out.splitlines():
        label, text = line[:9].strip(), line[10:]
        if label == "question":
            answers.append({})
        if answers and label:
            answers[-1][label] = text
    return answers


@pytest.mark.parametrize("editor", ["ft", "grace", "t_patcher"])
def test_a_conversation_edits_asks_and_undoes(editor: str, backbone: Path, tried: Tried) -> None:
    lines = [
        "Who is Ann?",
        "edit Ann works in => Bern",
        "edit Bob Lee works in => Rome @ Bob Lee",
        "list",
        "ask Ann works in",
        "undo",
        "list",
        "Bob Lee works in",
        "reset",
        "list",
        "Ann works in",
        "quit",
        "never read",
    ]
    Path("text.txt").write_text("A line of memory text, with some more words than twenty. " * 4)
    arguments = ["--editor", editor, "--backbone", backbone, "--corpus", "text.txt"]
    code, out, err = tried(arguments, "\n".join(lines))
    assert code == 0
    assert [line for line in err.splitlines() if not line.startswith(("loading", "tiny:"))] == []
    assert "try>" not in out
    assert "never read" not in out
    listed = [line for line in out.splitlines() if line.startswith(("edit ", "edits "))]
    assert listed[2:5] == [
        "edit 1    Ann works in => Bern @ Ann",
        "edit 2    Bob Lee works in => Rome @ Bob Lee",
        "edit 1    Ann works in => Bern @ Ann",
    ]
    assert listed[-1] == "edits     none"
    shown = blocks(out)
    assert [answer["question"] for answer in shown] == [
        *("Who is Ann?", "Ann works in", "Bob Lee works in"),
        *("Ann works in", "Bob Lee works in", "Ann works in"),
    ]
    assert shown[0]["after"] == shown[-1]["after"] == "no edits yet"
    assert shown[1]["before"] == shown[3]["before"] == shown[5]["before"]
    assert shown[2]["before"] == shown[4]["before"]
    assert "reset     1 edit undone" in out


def test_a_bad_line_in_a_pipe_costs_a_sentence(backbone: Path, tried: Tried) -> None:
    lines = [
        *("edit no arrow here", "edit  => x", "edit Ann is => ", "edit", "undoo", "undo", "ask"),
        "word " * CONTEXT,
        *("", "list"),
    ]
    code, out, err = tried(["--editor", "ft", "--backbone", backbone], "\n".join(lines))
    assert code == 0
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    named = [
        *("got 'no arrow here'", "prompt", "new answer", "got ''", "Did you mean 'undo'?"),
        *("no edit to undo", "question", "does not fit the context"),
    ]
    assert len(errors) == len(named)
    assert [name for name, line in zip(named, errors, strict=True) if name not in line] == []
    assert out == "edits     none\n"


def test_examples_and_help_can_be_typed(backbone: Path, tried: Tried) -> None:
    arguments = ["--editor", "ft", "--backbone", backbone]
    code, out, _ = tried(arguments, "help\nexamples\n")
    assert code == 0
    assert "edit PROMPT => NEW ANSWER @ SUBJECT" in out
    lines = [line.strip() for line in out.splitlines() if " @ " in line and "PROMPT" not in line]
    assert len(lines) == len({line.replace(line.partition(" @ ")[2], "") for line in lines}) == 4
    code, out, err = tried(arguments, "\n".join(lines))
    assert (code, out.count("question ")) == (0, 4)
    assert "error" not in err


def test_hostile_lines_are_written_out(backbone: Path, tried: Tried) -> None:
    lines = f"edit Ann says => {HOSTILE} @ Ann\nlist\nask {HOSTILE}\nundo\n{HOSTILE}\n"
    code, out, err = tried(["--editor", "grace", "--backbone", backbone], lines)
    assert code == 0
    assert r"\x1b[31mred\x07 \u202eevil <script>|[bold]x[/bold]" in out
    assert not set("\x1b\x07\u202e") & set(out + err)


def test_one_command_says_it_as_json(backbone: Path, tried: Tried) -> None:
    arguments = ["--editor", "grace", "--backbone", backbone, "--json"]
    arguments += ["--edit", "Ann works in", HOSTILE, "--subject", "Ann"]
    arguments += ["--edit", "Bob works in", "Rome", "--ask", "Ann works in", "--ask", "Who?"]
    code, out, _ = tried(arguments, "")
    assert code == 0
    assert out.isascii()
    session = json.loads(out, parse_constant=refuse)
    assert list(session) == ["schema", "version", "backbone", "editor", "edits", "answers"]
    assert list(session["editor"]) == ["key", "label", "family", "hparams"]
    assert list(session["editor"].values())[:3] == ["grace", "GRACE", "RB"]
    assert session["edits"] == [
        {"prompt": "Ann works in", "target": HOSTILE.strip(), "subject": "Ann"},
        {"prompt": "Bob works in", "target": "Rome", "subject": "Bob"},
    ]
    first, second = session["answers"]
    assert list(first) == ["question", "before", "after", "changed", "retrieved"]
    assert (first["question"], second["question"]) == ("Ann works in", "Who?")
    assert first["changed"] == (first["before"] != first["after"])
    facts = {name: first["retrieved"][name] for name in ("fired", "used", "limit_is")}
    assert facts == {"fired": True, "used": 0, "limit_is": "radius"}
    rows = [candidate["row"] for candidate in first["retrieved"]["candidates"]]
    assert sorted(rows) == [0, 1]
    scores = [candidate["score"] for candidate in second["retrieved"]["candidates"]]
    assert scores == sorted(scores)


def refuse(constant: str) -> Any:
    raise AssertionError(f"JSON has no {constant}")


def test_without_questions_the_edits_are_asked(backbone: Path, tried: Tried) -> None:
    arguments = ["--editor", "ft", "--backbone", backbone, "--json", "--edit", "Ann is in", "Bern"]
    code, out, _ = tried(arguments, "")
    assert code == 0
    (answer,) = json.loads(out)["answers"]
    assert answer["question"] == "Ann is in"
    assert answer["retrieved"] is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--editor", "recpie"], "Unknown editor 'recpie'. Did you mean 'recipe'?"),
        (["--edit", "a", ""], "An edit's new answer needs some text, got none."),
        (["--edit", "", "x"], "An edit's prompt needs some text, got none."),
        (["--edit", "x", "y", "--subject", " "], "A subject needs some text, got none."),
        (["--ask", "  "], "A question needs some text, got none."),
        (["--ask", "what \udc80"], "has to be Unicode"),
        (["--editor", "rome", "--edit", "where is it?", "x"], "there is no name in"),
        (["--editor", "rome", "--edit", "Who is Al?", "x", "--subject", "Cy"], "'Cy' is not in"),
        (["--subject", "x"], "--subject has to follow"),
        (["--edit", "a", "b", "--subject", "a", "--subject", "b"], "--subject has to follow"),
        (["--json"], "--json needs --edit or --ask"),
        (["--edit", "a"], "expected 2 arguments"),
        (["--editor", "ft", "--hparam", "rome.layer=1"], "which is not among the editors"),
        (["--dataset", "zsr"], "Did you mean 'zsre'?"),
        (["--backbone", "mini-lama"], "Did you mean 'mini-llama'?"),
    ],
)
def test_a_bad_command_is_refused_in_a_sentence(
    arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    monkeypatch.setattr("bench.models.backbones.load", refuse)
    assert sentence in refused("try", *arguments)


def test_missing_weights_are_named_with_what_trains_them(backbone: Path, tried: Tried) -> None:
    said = tried(["--editor", "mend", "--backbone", backbone], "")
    assert said.code == 2
    assert "bench train --editor mend" in said.err


def test_an_editor_of_ones_own_says_only_what_it_knows(backbone: Path, tried: Tried) -> None:
    asked = ["--edit", "Ann works in", "Bern", "--ask", "Ann works in"]
    code, out, _ = tried(["--backbone", backbone, "--editor", str(EDITOR), *asked], "")
    assert code == 0
    (answer,) = blocks(out)
    assert answer["why"].startswith("AnswerMemory does not")


def test_an_interrupted_pipe_ends_with_its_code(
    backbone: Path, tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    from editors.by_hand import Session

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "ask", interrupted)
    code, _, err = tried(["--editor", "ft", "--backbone", backbone], "A question?\nanother\n")
    assert code == 130
    assert "error" not in err


def test_recipe_on_the_shipped_model_answers_as_edited_and_says_why(tried: Tried) -> None:
    lines = [f"edit {DRIREL} => Port Traixport", REPHRASED, "Who is Seel Kendsen?", "undo", DRIREL]
    code, out, _ = tried([], "\n".join(lines))
    assert code == 0
    own, other_words, unrelated, undone = blocks(out)
    assert own["after"].rstrip(".") == other_words["after"].rstrip(".") == "Port Traixport"
    assert own["before"].rstrip(".") != "Port Traixport"
    assert own["why"].startswith("an edit fired: best inner product ")
    assert " sentinel " in other_words["why"]
    assert unrelated["after"] == unrelated["before"] + "  (unchanged)"
    assert unrelated["why"].startswith("no edit fired")
    assert undone["before"] == own["before"]
    assert undone["after"] == "no edits yet"


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("Where does Drirel Guxsen live?", ["Drirel Guxsen"]),
        ("The genre of Plaikel Road is", ["Plaikel Road"]),
        ("Luktex is based in", ["Luktex"]),
        ("What is Ann Lee's job?", ["Ann Lee"]),
        ("Élodie Müller lives in", ["Élodie Müller"]),
        ("Is J. R. R. Tolkien an author?", ["J. R. R. Tolkien"]),
        ("Name the capital of France", ["France"]),
        ("Did Ann Lee meet Bob Ray?", ["Ann Lee", "Bob Ray"]),
        ("Who are you?", []),
        ("", []),
        # A part of a word is no name, and letters without case are no capitals.
        ("iPhone is made by", []),
        ("The maker of eBay is", []),
        ("3M is based in", []),
        ("AC/DC was formed in", ["AC/DC"]),
        ("The maker of AT&T is", ["AT&T"]),
        ("Did Paris, France, exist?", ["Paris", "France"]),
        ("Who wrote 'Tin Harp'?", ["Tin Harp"]),
        ("\u6771\u4eac\u306e\u5e02\u9577\u306f", []),
        ("\u0627\u0644\u0642\u0627\u0647\u0631\u0629 \u062a\u0642\u0639 \u0641\u064a", []),
        (
            "\u043c\u044d\u0440 \u041c\u043e\u0441\u043a\u0432\u0430 \u044d\u0442\u043e",
            ["\u041c\u043e\u0441\u043a\u0432\u0430"],
        ),
    ],
)
def test_names_are_known_by_their_capitals(prompt: str, names: list[str]) -> None:
    assert names_in(prompt) == names


@pytest.mark.parametrize("dataset", ["zsre", "counterfact", "ripple_edits"])
def test_the_name_in_a_generated_prompt_is_its_subject(dataset: str) -> None:
    samples = get_dataset(dataset).load("test", data_dir(0)).samples
    wrong = [s.id for s in samples if names_in(s.request.prompt) != [s.request.subject]]
    assert wrong == []


def test_the_subject_is_the_one_name_or_the_named_part() -> None:
    request = request_of("Where does Ann Lee live?", " Bern ", None, wanted=True)
    assert (request.target, request.subject) == ("Bern", "Ann Lee")
    assert request_of("where is ann lee?", "Bern", "Ann Lee", wanted=True).subject == "ann lee"
    assert request_of("where is it?", "Bern", None, wanted=False).subject == ""
    with pytest.raises(ValueError, match=r"2 names \('Ann Lee', 'Bob Ray'\)"):
        request_of("Did Ann Lee meet Bob Ray?", "yes", None, wanted=True)
    assert request_of("Where is Ann?", "Bern", "Cid", wanted=False).subject == "Cid"
    assert request_of("Is Annika Ann Lee?", "no", " ann  lee ", wanted=True).subject == "Ann Lee"
    with pytest.raises(ValueError, match="say which part of it is the subject"):
        request_of("iPhone is made by", "Sonora", None, wanted=True)


def test_an_edit_is_typed_with_an_arrow() -> None:
    assert parsed_edit("Where is A? => B C") == ("Where is A? ", " B C", None)
    assert parsed_edit("Where is A? => me @ home @ A") == ("Where is A? ", " me @ home", "A")
