"""What data hold does not steer terminals, tables or spreadsheets."""

from __future__ import annotations

import csv
import io

import pytest
from rich.text import Text

from bench.cli.main import main
from bench.core import console
from bench.core.console import csv_cell, markdown_cell, markdown_line, one_line, visible
from bench.tables.render import csv_of, latex, markdown, terminal
from bench.tables.table import TextTable

ATTACKS = ["\x1b[31mred", "\x1b]0;title\x07", "a\rb", "a\x08b", "\x9b2J", "\u202etxt"]
ATTACKS += ["\x00", "\x7f"]


def test_words_stay_as_they_are() -> None:
    for text in ("Sao Tomé, 東京\tnext\nline", "C:\\x1b", "±‡ naïve"):
        assert visible(text) == text
    assert one_line("a\n\n\tb") == "a b"


@pytest.mark.parametrize("attack", ATTACKS)
def test_hidden_characters_are_written_out(attack: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = visible(attack)
    assert all(character.isprintable() for character in shown)
    assert "\\x" in shown or "\\u" in shown
    console.say(attack)
    console.warn(attack)
    assert capsys.readouterr() == (f"{shown}\n", f"{shown}\n")


def test_errors_do_not_repeat_escape_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["\x1b[31mrun"]) == 2
    assert main(["data", "show", "\x1b[31mzsre"]) == 2
    with pytest.raises(SystemExit):
        main(["run", "--edits", "\x1b[31m1"])
    text = capsys.readouterr().err
    assert "\x1b" not in text
    assert "\\x1b[31m" in text


def table_of(text: str) -> TextTable:
    return TextTable(
        caption=(f"caption {text}",),
        groups=(("", ("Name",)), ("", ("Value",))),
        rows=((text, "1.00"),),
        breaks=(),
    )


def test_a_cell_is_one_cell_of_a_markdown_table() -> None:
    assert markdown_cell("a|b\nc\x1b") == r"a\|b c\x1b"
    assert markdown_cell("<script>x</script> p < 0.05") == "&lt;script>x&lt;/script> p < 0.05"
    assert markdown_line(["a|b", "c"]) == r"| a\|b | c |"
    text = markdown(table_of("x\n| y | z |\x1b[31m"))
    assert "\x1b" not in text
    assert len(text.splitlines()) == 5  # caption, nothing, head, rule, row


def test_rich_takes_no_markup_from_cells() -> None:
    (rich,) = terminal(table_of("[red]x[/red] [link=y]\x1b"))
    (cell,) = rich.columns[0].cells
    assert Text.from_markup(str(cell)).plain == "[red]x[/red] [link=y]\\x1b"


def test_latex_takes_no_commands_from_cells() -> None:
    text = latex(table_of("\\input{x} $y$ %z\n\x1b"))
    assert r"\textbackslash{}input\{x\} \$y\$ \%z \textbackslash{}x1b" in text


@pytest.mark.parametrize("formula", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "-"])
def test_no_formulas_in_csv(formula: str) -> None:
    assert csv_cell(formula) == f"'{formula}"
    rows = list(csv.reader(io.StringIO(csv_of(("a",), [(formula,)]))))
    assert rows == [["a"], [f"'{formula}"]]


@pytest.mark.parametrize("text", ["-0.25", "+0.44", "12", "-1e-3", "", "text = x", "-.5"])
def test_numbers_and_words_stay_in_csv(text: str) -> None:
    assert csv_cell(text) == text
    assert csv_of(("a", "b"), [(text, -3)]).splitlines()[1:] == [f"{text},-3"]
