"""`python -m bench figures`, end to end on made records."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import main
from bench.commands import figures as command
from bench.prompt_map.data import write_map
from tests.plots.made import map_data, record, write_lines


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands write where they are, and find no committed records."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_reference", lambda: tmp_path / "reference")


def stored() -> None:
    """Records for every figure but Figure 4."""
    cells = [("ft", 10), ("ft", 1000), ("recipe", 10), ("recipe", 1000)]
    write_lines(Path("records/table.jsonl"), [record(e, n_edits=n) for e, n in cells])


def files() -> list[str]:
    return sorted(path.name for path in Path("figures").iterdir())


def test_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    stored()
    write_map(map_data(), Path("map.json"))
    assert main(["figures", "--from", "records", "--map", "map.json"]) == 0
    stems = ("edits", "figure3", "figure4", "retention", "time")
    assert files() == [f"{stem}.{kind}" for stem in stems for kind in ("csv", "png", "svg")]
    printed = capsys.readouterr()
    assert "written: figures/figure3.png, figures/figure3.svg, figures/figure3.csv" in printed.out
    assert "figure3: No record of all data sets for 1, 2, 4, 5, 8 CPTs." in printed.err


def test_what_can_be_drawn_is_and_the_rest_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    stored()
    assert main(["figures", "--from", "records"]) == 1
    assert "no figure 4: No data of Figure 4 at" in capsys.readouterr().err
    assert "figure4.png" not in files()
    assert "figure3.png" in files()


def test_committed_records_are_the_default() -> None:
    write_lines(Path("reference/table1.jsonl"), [record("ft"), record("rome")])
    assert main(["figures", "--figure", "edits", "--out", "here"]) == 0
    assert len(list(Path("here").iterdir())) == 3


def test_the_same_command_writes_the_same_bytes() -> None:
    stored()
    arguments = ["figures", "--figure", "time", "--from", "records"]
    assert main(arguments) == 0
    first = {path.name: path.read_bytes() for path in Path("figures").iterdir()}
    assert main(arguments) == 0
    assert {path.name: path.read_bytes() for path in Path("figures").iterdir()} == first


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--figure", "5"], "Unknown figure '5'."),
        (["--figure", "retentoin"], "Did you mean 'retention'?"),
        (["--figure", "3", "--edits", "7"], "Figure 3 needs records at 7 edits, there are none."),
        (["--figure", "time", "--edits", "7"], "records of all data sets at 7 edits"),
        (["--figure", "retention", "--edits", "7"], "needs records at 7 edits on mini-llama"),
        (["--figure", "edits", "--backbone", "gpt2-xl"], "No record of any editor on gpt2-xl"),
        (["--figure", "edits", "--from", "nowhere"], "No records at nowhere"),
        (["--figure", "4"], "--figure 4 --compute makes it"),
        (["--figure", "edits", "--compute"], "--compute is for figure 4 alone"),
        (["--from", "nowhere"], "No figure can be drawn: No records at nowhere"),
        (["--edits", "0"], "expected a whole number of at least 1"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stored()
    try:
        code = main(["figures", "--from", "records", *arguments])
    except SystemExit as end:  # argparse exits by itself
        code = int(str(end.code))
    assert code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert not Path("figures").exists()


def test_data_of_figure_4_are_written_and_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import bench.prompt_map.compute as computing

    asked = []

    def pretend(backbone: str, settings: object) -> object:
        asked.append((backbone, vars(settings)["world_seed"]))
        return map_data()

    monkeypatch.setattr(computing, "compute", pretend)
    made = ["figures", "--figure", "4", "--map", "map.json"]
    assert main([*made, "--compute", "--world-seed", "2"]) == 0
    assert asked == [("mini-llama", 2)]
    printed = capsys.readouterr()
    assert printed.out == "written: map.json\n"
    assert "python -m bench train --variant cpt=5 makes them." in printed.err
    assert main(made) == 0
    assert files() == ["figure4.csv", "figure4.png", "figure4.svg"]
