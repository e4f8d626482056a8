"""The numbers of the documentation are those of presets, published tables and the reference."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from bench.cli.main import main
from bench.core.names import in_paper
from bench.core.published import PublishedCell, numbers
from bench.datasets import get_dataset
from bench.store.reference import reference_folder, table_records
from bench.tables.table import METRICS
from editors import registry
from tests.support.pages import DESCRIBED, EDITOR_PAGES, ROOT, table_under

ARTIFACT = ROOT / "ARTIFACT.md"
README = (ROOT / "README.md").read_text("utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text("utf-8")
_PRESET = re.compile(r"`([^`]+)`")


def shown(value: object) -> str:
    """A hyper-parameter's value as the pages print it."""
    if not isinstance(value, tuple):
        return str(value)
    if not value:
        return "none"
    runs = ((item, len(list(group))) for item, group in itertools.groupby(value))
    return ", ".join(str(item) if count == 1 else f"{count} times {item}" for item, count in runs)


def test_there_is_a_page_for_every_editor_of_this_package() -> None:
    assert set(DESCRIBED) == set(registry.shipped())


@pytest.mark.parametrize("key", DESCRIBED)
def test_hyper_parameter_tables_are_those_of_the_presets(key: str) -> None:
    cls = registry.editor_class(key)
    header, rows = table_under(EDITOR_PAGES / f"{key}.md", "name")
    names = [row[0].strip("`") for row in rows]
    assert names == [field.name for field in fields(cls.hparams_class)]
    columns = [_PRESET.findall(cell) for cell in header[1:-1]]
    backbones = {"llama-2-7b", "gpt-j-6b", "gpt2-xl", "mini-llama", "mini-gptj", "mini-gpt2"}
    named = {preset for column in columns for preset in column}
    assert named - {"smollm2-135m"} == backbones | {"default"}
    for number, column in enumerate(columns, start=1):
        for preset, (row, name) in itertools.product(column, zip(rows, names, strict=True)):
            assert row[number] == shown(vars(cls.presets[preset])[name]), (preset, name)


def published_times(metric: str) -> dict[str, float]:
    return {at.editor: own.value for at, own in numbers(3).items() if at.metric == metric}


@pytest.mark.parametrize("key", DESCRIBED)
def test_published_times_are_those_of_table_3(key: str) -> None:
    _, rows = table_under(EDITOR_PAGES / f"{key}.md", "cost")
    label = registry.describe(key).label
    named = ("published edit time", "edit_time_s"), ("published inference time", "infer_time_s")
    for row, (name, metric) in zip(rows[:2], named, strict=True):
        assert row[0] == name
        times = published_times(metric)
        assert (label in times) == in_paper(key)
        if in_paper(key):
            assert float(row[1].removesuffix(" s")) == times[label]
        else:
            assert row[1].startswith("none: ")


SECTIONS = ("Modes", "Hyper-parameters", "Where papers and code differ", "Costs", "Where it fails",
            "Citation", "Run it")  # fmt: skip


@pytest.mark.parametrize("key", DESCRIBED)
def test_pages_have_the_same_sections(key: str) -> None:
    text = (EDITOR_PAGES / f"{key}.md").read_text("utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    usual = [h.replace("Where paper and code", "Where papers and code") for h in headings]
    assert tuple(usual) == SECTIONS
    assert ("It is not in the paper's tables." in text) == (not in_paper(key))


@pytest.mark.parametrize("key", [key for key in DESCRIBED if not in_paper(key)])
def test_further_presets_of_later_editors_are_named(key: str) -> None:
    text = (EDITOR_PAGES / f"{key}.md").read_text("utf-8")
    assert {p for p in registry.editor_class(key).presets if f"`{p}`" not in text} == set()


def edits_of_a_seed() -> int:
    """Edits of one seed of Table 1 in the paper preset with each editor, all data sets together."""
    sizes = {name: get_dataset(name).files["test"].rows for name in ("zsre", "cf", "ripe")}
    counts = (1, 10, 100, 1_000, 10_000)
    drawn = ((size // 5 if size // 5 >= n else size, n) for size in sizes.values() for n in counts)
    return sum(limit // n * n for limit, n in drawn)


def test_days_are_the_published_seconds_times_the_edits() -> None:
    page = ROOT / "docs" / "reproduce_the_paper.md"
    assert f"{edits_of_a_seed():,} edits" in " ".join(page.read_text("utf-8").split())
    _, rows = table_under(page, "editor | seconds an edit")
    times = published_times("edit_time_s")
    assert {row[0]: float(row[1]) for row in rows} == times
    for label, seconds, days in rows:
        whole = float(seconds) * edits_of_a_seed() / 86_400
        assert days == (f"{whole:.2f}" if whole >= 0.01 else "< 0.01"), label


def test_published_scores_of_the_first_run_are_those_of_table_1() -> None:
    _, rows = table_under(ROOT / "docs" / "first_real_run.md", "editor | published Rel")
    assert len(rows) == 6
    for label, *scores in rows:
        places = [PublishedCell(1, 100, label, "CF", metric) for metric in METRICS]
        assert list(map(float, scores)) == [numbers(1)[place].value for place in places]


def test_what_wise_forgets_is_what_the_reference_says() -> None:
    cells = [(record["cell"], record) for record in table_records(1)]
    asked = {"editor": "wise", "dataset": "zsre", "seed": 0}.items()
    records = {cell["n_edits"]: record for cell, record in cells if asked <= cell.items()}
    scores = {}
    for n_edits, record in records.items():
        accuracy = record["summary"]["scores"]["after"]["teacher_forced"]["token_accuracy"]
        scores[n_edits] = round(100 * accuracy["reliability"])
    youngest, *older = (100 * group["reliability"] for group in records[100]["by_age"])
    text = " ".join((EDITOR_PAGES / "wise.md").read_text("utf-8").split())
    assert f"is {scores[1]}, {scores[10]} and {scores[100]} at 1, 10 and 100 edits" in text
    assert f"{youngest:.0f} % is left, of the ninety older ones {fmean(older):.0f} %" in text


def printed(capsys: pytest.CaptureFixture[str], *view: str, table: int = 1) -> str:
    assert main(["tables", "--table", str(table), "--reference", *view]) == 0
    return capsys.readouterr().out


def correlations(capsys: pytest.CaptureFixture[str], table: int) -> list[list[str]]:
    """Cells of the rows of all data sets together, one for each number of edits."""
    lines = printed(capsys, "--correlate", table=table).splitlines()
    rows = [line.split("│")[1:-1] for line in lines if "│ all " in line]
    return [[text.strip() for text in row] for row in rows]


def test_its_averages_are_those_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--averages", "--markdown", "--edits", "100")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| 100")]
    means = [
        [editor, kind, *(re.findall(r"[\d.]+", cell)[0] for cell in cells)]
        for _, kind, editor, *cells in rows
    ]
    assert table_under(ROOT / "README.md", "editor | type")[1] == means


def test_table_1_is_that_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    block = re.search(r"<!-- table 1: begin -->\n(.*?)<!-- table 1: end -->", RESULTS, re.DOTALL)
    assert block is not None
    assert block[1].strip() == printed(capsys, "--averages", "--markdown").strip()


def test_the_correlations_are_those_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    rows = correlations(capsys, 1)
    assert [row[0] for row in rows] == ["1", "10", "100", "1,000", "10,000"]
    for n_edits, _, _, rho, interval, chance, _ in rows:
        assert f"| {n_edits} | {rho} | {interval} | {chance} |" in RESULTS


@pytest.mark.parametrize(("table", "lengths"), [(5, 3), (6, 3)])
def test_so_are_those_of_the_other_backbones(
    table: int, lengths: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rhos = [row[3] for row in correlations(capsys, table)]
    assert len(rhos) == lengths
    assert ", ".join(rhos) in " ".join(RESULTS.split())


def test_the_artifact_expects_what_the_reference_has(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = json.loads((reference_folder() / "claims.json").read_text("utf-8"))
    claims = table_under(ARTIFACT, "claim")[1]
    assert {claim.strip("`"): of for claim, *of in claims} == verdicts
    expected = {row[1].strip("`"): row[-1] for row in table_under(ARTIFACT, "what")[1]}
    averages = {
        row[0]: ", ".join(row[2:]) for row in table_under(ROOT / "README.md", "editor | type")[1]
    }
    of_table_1 = expected["python -m bench tables --table 1 --reference --averages"]
    assert f"RECIPE {averages['RECIPE']} and LTE {averages['LTE']}" in of_table_1
    means = re.compile(r"│ (?:100|1,000|0) .*?│ (unedited|RECIPE|GRACE|LTE|- KS) +│.*")
    for table, edits in ((2, "100"), (3, "100"), (4, "1000")):
        text = printed(capsys, "--edits", edits, table=table)
        shown = expected[next(command for command in expected if f"--table {table}" in command)]
        lines = [line for line in text.splitlines() if means.match(line)]
        numbers = set(re.findall(r"\d+\.\d+", " ".join(lines)))
        assert set(re.findall(r"\d+\.\d+", shown)) <= numbers, table


def test_the_committed_figures_are_shown() -> None:
    assert all(f"(../figures/reference/{name}.svg)" in RESULTS for name in ("edits", "retention"))


@pytest.mark.slow
def test_its_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert block is not None
    *steps, last = block[1].replace("edits=10", "edits=1, limit=2").strip().splitlines()
    names: dict[str, Any] = {}
    exec("\n".join([*steps, f"shown = {last}"]), names)  # noqa: S102 - our own page
    assert list(names["shown"].index) == ["FT", "GRACE", "RECIPE", "ROME"]
    assert "reliability" in names["shown"].columns
