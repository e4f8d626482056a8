"""`python -m bench figures`, end to end on records written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.core.config import RunConfig
from bench.core.published import tables_folder
from bench.store import reference
from bench.store.reference import reference_records
from bench.tables.figure_data import write_map
from tests.cli.commands import Refused
from tests.support.records import map_data, record, write_lines

# For every figure but Figure 4.
STORED = [record(editor, n_edits=n) for editor in ("ft", "recipe") for n in (10, 1000)]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands write where they are, and find no committed records."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reference, "tables_folder", lambda name: tmp_path / name)


def files() -> list[str]:
    return sorted(path.name for path in Path("figures").iterdir())


def test_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    write_lines(Path("records/table.jsonl"), STORED)
    write_map(map_data(), Path("map.json"))
    assert main(["figures", "--from", "records", "--map", "map.json"]) == 0
    stems = ("edits", "figure1", "figure3", "figure4", "retention", "time")
    assert files() == [f"{stem}.{kind}" for stem in stems for kind in ("csv", "png", "svg")]
    printed = capsys.readouterr()
    assert "written: figures/figure3.png, figures/figure3.svg, figures/figure3.csv" in printed.out
    assert "figure3: No record of all data sets for 1, 2, 4, 5, 8 CPTs." in printed.err


def test_what_can_be_drawn_is_and_the_rest_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    write_lines(Path("records/table.jsonl"), STORED)
    assert main(["figures", "--from", "records"]) == 1
    assert "no figure 4: No data of Figure 4 at" in capsys.readouterr().err
    assert "figure4.png" not in files()
    assert "figure3.png" in files()


def test_every_figure_is_drawn_from_committed_files_alone() -> None:
    write_lines(Path("reference/table1.jsonl"), STORED)
    five = record("recipe", n_edits=1000, hparams={"prompt_length": 5})
    write_lines(Path("reference/figure3.jsonl"), [five])
    bare = record("rome", n_edits=1000, hparams={"mode": "easyedit"})
    write_lines(Path("reference/covariance.jsonl"), [bare])
    write_map(map_data(), Path("reference/figure4.json"))
    write_lines(Path("results/other.jsonl"), [record("mend")])  # own results are not asked
    assert main(["figures"]) == 0
    lengths = Path("figures/figure3.csv").read_text("utf-8").splitlines()[1:]
    assert {line.split(",")[2] for line in lengths} == {"3", "5"}
    edits = Path("figures/edits.csv").read_text("utf-8")
    assert "measured,mini-llama,ZSRE,MP,FT" in edits
    assert "measured,mini-llama,ZSRE,MP,ROME" not in edits  # without covariance: another editor
    assert "MEND" not in edits


def test_the_records_of_figure_3_are_exported(capsys: pytest.CaptureFixture[str]) -> None:
    lengths = [record("recipe", n_edits=1000, hparams={"prompt_length": n}) for n in (1, 3, 5)]
    others = [record("ft", n_edits=1000), record("recipe", n_edits=10)]
    write_lines(Path("records/a.jsonl"), [*others, *lengths])
    command = ["figures", "--figure", "3", "--from", "records"]
    assert main([*command, "--export", "reference/figure3.jsonl"]) == 0
    assert capsys.readouterr().out == "written: reference/figure3.jsonl, 3 records\n"
    exported = [record["cell"]["hparams"] for record in reference_records("figure3")]
    assert sorted(hparams["prompt_length"] for hparams in exported) == [1, 3, 5]
    assert main(["figures", "--figure", "3"]) == 0
    drawn = Path("figures/figure3.csv").read_bytes()
    assert main(command) == 0
    assert Path("figures/figure3.csv").read_bytes() == drawn


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
        (["--figure", "4"], "--figure 4 --compute"),
        (["--figure", "edits", "--compute"], "--compute is for figure 4 alone"),
        (["--export", "a.jsonl"], "--export is for figure 3 alone"),
        (["--from", "nowhere"], "No figure can be drawn: No records at nowhere"),
        (["--edits", "0"], "expected a whole number of at least 1"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    arguments: list[str], sentence: str, refused: Refused
) -> None:
    write_lines(Path("records/table.jsonl"), STORED)
    assert sentence in refused("figures", "--from", "records", *arguments)
    assert not Path("figures").exists()


def test_data_of_figure_4_are_written_and_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import bench.report.prompt_map as computing

    asked = []

    def pretend(config: RunConfig, *, report_progress: Callable[[int], None]) -> object:
        report_progress(1)
        asked.append((config.backbone, config.world_seed, config.preset, config.device))
        return map_data()

    monkeypatch.setattr(computing, "compute", pretend)
    command = ["figures", "--figure", "4", "--map", "map.json"]
    assert main([*command, "--compute", "--world-seed", "2"]) == 0
    assert asked == [(None, 2, "embedded", "cpu")]
    printed = capsys.readouterr()
    assert printed.out == "written: map.json; figures --figure 4 --map map.json draws it\n"
    assert "python -m bench train --variant cpt=5" in printed.err
    assert main(command) == 0
    assert files() == ["figure4.csv", "figure4.png", "figure4.svg"]


def test_data_of_figure_4_are_of_any_backbone_and_of_real_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import bench.report.prompt_map as computing

    asked: list[RunConfig] = []

    def pretend(config: RunConfig, *, report_progress: Callable[[int], None]) -> object:
        asked.append(config)
        return map_data()

    monkeypatch.setattr(computing, "compute", pretend)
    real = ["--preset", "paper", "--backbone", "gpt2-xl", "--data-dir", "files", "--device", "cpu"]
    assert main(["figures", "--figure", "4", "--compute", *real, "--out", "drawn"]) == 0
    (config,) = asked
    assert (config.preset, config.backbone, config.device) == ("paper", "gpt2-xl", "cpu")
    assert (config.data_dir, config.generation) == (Path("files"), "none")
    assert Path("drawn/figure4.json").is_file()


def test_no_command_overwrites_data(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    """Neither the committed files of a fresh clone, nor what was computed before."""
    import bench.report.prompt_map as computing

    monkeypatch.setattr(computing, "compute", lambda *_, **__: pytest.fail("it was computed"))
    write_lines(Path("records/table.jsonl"), STORED)
    committed = Path(str(tables_folder("reference")))
    compute, place = ["figures", "--figure", "4", "--compute"], committed / "figure4.json"
    before = place.read_bytes()
    assert "figure4.json is there already" in refused(*compute, "--map", str(place))
    Path("figures").mkdir()
    Path("figures/figure4.json").write_text("mine", "utf-8")
    assert "is not overwritten: name a new file." in refused(*compute)
    export = ["figures", "--figure", "3", "--from", "records", "--export"]
    place_3 = committed / "table4.jsonl"
    before_3 = place_3.read_bytes()
    assert "table4.jsonl is there already" in refused(*export, str(place_3))
    assert Path("figures/figure4.json").read_text("utf-8") == "mine"
    assert (place.read_bytes(), place_3.read_bytes()) == (before, before_3)


def test_editors_of_later_papers_are_drawn_when_asked_for() -> None:
    write_lines(Path("records/table.jsonl"), [record("ft"), record("recipe"), record("wise")])
    asked = ["figures", "--figure", "edits", "--from", "records"]
    for more, there in (([], False), (["--with-recent"], True)):
        assert main([*asked, *more]) == 0
        assert ("WISE" in Path("figures/edits.csv").read_text("utf-8")) == there
