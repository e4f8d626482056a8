"""`bench try` through the command line: scripted conversations and single commands."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from tests.support.own_files import EDITOR
from tests.support.saved_models import save_tiny
from tests.support.tiny import CONTEXT

HOSTILE = "\x1b[31mred\x07 \u202eevil <script>|[bold]x[/bold]"
DRIREL = "Where does Drirel Guxsen live?"
REPHRASED = "In which city does Drirel Guxsen live?"

Told = Callable[[Sequence[str], str], tuple[int, str, str]]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()
    monkeypatch.chdir(tmp_path)
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")


@pytest.fixture(autouse=True)
def quick_editors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps an edit; what the editors reach is not the matter here."""
    from editors.ft import FtEditor, FtHparams
    from editors.grace import GraceEditor, GraceHparams

    ft, grace = FtHparams(layer=None, num_steps=4), GraceHparams(layer=None, n_iter=4)
    monkeypatch.setattr(FtEditor, "presets", {"default": ft})
    monkeypatch.setattr(GraceEditor, "presets", {"default": grace})


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny("llama", tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    """What `try` with some arguments says to some lines: (exit code, output, errors)."""

    def run(arguments: Sequence[str], lines: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        code = main(["try", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def blocks(out: str) -> list[dict[str, str]]:
    """The answers that were printed, by label."""
    found: list[dict[str, str]] = []
    for line in out.splitlines():
        label, text = line[:9].strip(), line[10:]
        if label == "question":
            found.append({})
        if found and label:
            found[-1][label] = text
    return found


@pytest.mark.parametrize("editor", ["ft", "grace", "t_patcher"])
def test_a_conversation_edits_asks_and_undoes(editor: str, tiny: str, told: Told) -> None:
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
    code, out, err = told(["--editor", editor, "--backbone", tiny], "\n".join(lines))
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
    asked = blocks(out)
    assert [one["question"] for one in asked] == [
        *("Who is Ann?", "Ann works in", "Bob Lee works in"),
        *("Ann works in", "Bob Lee works in", "Ann works in"),
    ]
    assert asked[0]["after"] == asked[-1]["after"] == "no edits yet"
    assert asked[1]["before"] == asked[3]["before"] == asked[5]["before"]
    assert asked[2]["before"] == asked[4]["before"]
    assert "reset     1 edit undone" in out


def test_a_bad_line_in_a_pipe_costs_a_sentence(tiny: str, told: Told) -> None:
    lines = [
        *("edit no arrow here", "edit  => x", "edit Ann is => ", "edit", "undoo", "undo", "ask"),
        "word " * CONTEXT,
        *("", "list"),
    ]
    code, out, err = told(["--editor", "ft", "--backbone", tiny], "\n".join(lines))
    assert code == 0
    form = "error: An edit is typed as PROMPT => NEW ANSWER, or PROMPT => NEW ANSWER @ SUBJECT; "
    known = "ask, edit, examples, help, list, quit, reset, undo"
    undoo = f"error: Unknown command 'undoo'. Did you mean 'undo'? Commands: {known}; "
    undoo += "`ask undoo` asks the model for it."
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert errors[:-1] == [
        f"{form}got 'no arrow here'.",
        "error: An edit's prompt needs some text, got none.",
        "error: An edit's new answer needs some text, got none.",
        f"{form}got ''.",
        undoo,
        "error: There is no edit to undo.",
        "error: A question needs some text, got none.",
    ]
    assert "does not fit the context" in errors[-1]
    assert out == "edits     none\n"


def test_examples_and_help_can_be_typed(tiny: str, told: Told) -> None:
    arguments = ["--editor", "ft", "--backbone", tiny]
    code, out, _ = told(arguments, "help\nexamples\n")
    assert code == 0
    assert "edit PROMPT => NEW ANSWER @ SUBJECT" in out
    lines = [line.strip() for line in out.splitlines() if " @ " in line and "PROMPT" not in line]
    assert len(lines) == 4
    code, out, err = told(arguments, "\n".join(lines))
    assert code == 0
    assert "error" not in err
    assert out.count("question ") == 4


def test_hostile_lines_are_written_out(tiny: str, told: Told) -> None:
    lines = f"edit Ann says => {HOSTILE} @ Ann\nlist\nask {HOSTILE}\nundo\n{HOSTILE}\n"
    code, out, err = told(["--editor", "grace", "--backbone", tiny], lines)
    assert code == 0
    assert r"\x1b[31mred\x07 \u202eevil <script>|[bold]x[/bold]" in out
    assert not set("\x1b\x07\u202e") & set(out + err)


def test_one_command_says_it_as_json(tiny: str, told: Told) -> None:
    arguments = ["--editor", "grace", "--backbone", tiny, "--json"]
    arguments += ["--edit", "Ann works in", HOSTILE, "--subject", "Ann"]
    arguments += ["--edit", "Bob works in", "Rome", "--ask", "Ann works in", "--ask", "Who?"]
    code, out, _ = told(arguments, "")
    assert code == 0
    assert out.isascii()
    said = json.loads(out, parse_constant=refuse)
    assert list(said) == ["schema", "version", "backbone", "editor", "edits", "answers"]
    assert said["editor"] | {"hparams": None} == {
        "key": "grace", "label": "GRACE", "family": "RB", "hparams": None,
    }  # fmt: skip
    assert said["edits"] == [
        {"prompt": "Ann works in", "target": HOSTILE.strip(), "subject": "Ann"},
        {"prompt": "Bob works in", "target": "Rome", "subject": "Bob"},
    ]
    first, second = said["answers"]
    assert list(first) == ["question", "before", "after", "changed", "retrieved"]
    assert (first["question"], second["question"]) == ("Ann works in", "Who?")
    assert first["changed"] == (first["before"] != first["after"])
    assert first["retrieved"]["fired"]
    assert first["retrieved"]["used"] == 0
    assert first["retrieved"]["limit_is"] == "radius"
    rows = [candidate["row"] for candidate in first["retrieved"]["candidates"]]
    assert sorted(rows) == [0, 1]
    scores = [candidate["score"] for candidate in second["retrieved"]["candidates"]]
    assert scores == sorted(scores)


def refuse(constant: str) -> Any:
    raise AssertionError(f"JSON has no {constant}")


def test_without_questions_the_edits_are_asked(tiny: str, told: Told) -> None:
    arguments = ["--editor", "ft", "--backbone", tiny, "--json", "--edit", "Ann is in", "Bern"]
    code, out, _ = told(arguments, "")
    assert code == 0
    (answer,) = json.loads(out)["answers"]
    assert answer["question"] == "Ann is in"
    assert answer["retrieved"] is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--editor", "recpie"], "Unknown editor 'recpie'. Did you mean 'recipe'?"),
        (["--edit", "a", ""], "An edit's new answer needs some text, got none."),
        (["--ask", "  "], "A question needs some text, got none."),
        (["--editor", "rome", "--edit", "where is it?", "x"], "there is no name in"),
        (["--editor", "rome", "--edit", "Who is Al?", "x", "--subject", "Cy"], "'Cy' is not in"),
        (["--subject", "x"], "--subject belongs behind the --edit"),
        (["--edit", "a", "b", "--subject", "a", "--subject", "b"], "--subject belongs behind"),
        (["--json"], "--json needs --edit or --ask"),
        (["--edit", "a"], "expected 2 arguments"),
        (["--editor", "ft", "--hparam", "rome.layer=1"], "which is not among the editors"),
        (["--dataset", "zsr"], "Did you mean 'zsre'?"),
        (["--backbone", "mini-lama"], "Did you mean 'mini-llama'?"),
    ],
)
def test_a_bad_command_is_refused_in_a_sentence(
    arguments: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    monkeypatch.setattr("bench.cli.interactive.opening.load", refuse)
    try:
        code = main(["try", *arguments])
    except SystemExit as end:
        code = int(str(end.code))
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert sentence in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_an_editor_without_trained_weights_says_what_makes_them(
    tiny: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["try", "--editor", "mend", "--backbone", tiny]) == 2
    assert "bench train --editor mend" in capsys.readouterr().err


def test_an_editor_of_ones_own_says_only_what_it_knows(tiny: str, told: Told) -> None:
    asked = ["--edit", "Ann works in", "Bern", "--ask", "Ann works in"]
    code, out, _ = told(["--backbone", tiny, "--editor", str(EDITOR), *asked], "")
    assert code == 0
    (answer,) = blocks(out)
    assert answer["why"] == "AnswerMemory does not tell what it retrieves"


def test_an_interrupted_pipe_ends_with_its_code(
    tiny: str, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.cli.interactive.session import Session

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "ask", interrupted)
    code, _, err = told(["--editor", "ft", "--backbone", tiny], "A question?\nanother\n")
    assert code == 130
    assert "error" not in err


def test_recipe_on_the_shipped_model_answers_as_edited_and_says_why(told: Told) -> None:
    lines = [f"edit {DRIREL} => Port Traixport", REPHRASED, "Who is Seel Kendsen?", "undo", DRIREL]
    code, out, _ = told([], "\n".join(lines))
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
