"""The documentation says what is so: its commands parse, links lead somewhere, examples work."""

from __future__ import annotations

import argparse
import csv
import importlib
import inspect
import itertools
import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import bench.datasets
import editors
from bench import cli
from bench.commands import arguments
from bench.commands.kinds import KINDS
from bench.datasets import get_dataset
from bench.grids import EDITOR_ORDER, get_table, points
from bench.planning import check_hparams
from bench.variants import variant
from editors import registry
from tests import test_contract
from tests.contract import Subject
from tests.tiny import TINY

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
EDITOR_PAGES = ROOT / "docs" / "editors"
DESCRIBED = sorted(page.stem for page in EDITOR_PAGES.glob("*.md"))

RUN = "<!-- run -->"  # in front of a block whose commands are run here: those that take seconds
_FENCE = re.compile(
    r"(?P<mark><!-- [^\n]* -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL
)
_COMMAND = re.compile(r"(?:^|/|\s)python3? -m bench (?P<arguments>.+)$")
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_PRESET = re.compile(r"`([^`]+)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def commands(page: Path, mark: str | None = None) -> Iterator[list[str]]:
    """Arguments of each call of the package in a page's fenced blocks, or in the marked ones."""
    for block in _FENCE.finditer(page.read_text("utf-8")):
        if block["language"] == "python" or (mark and (block["mark"] or "").strip() != mark):
            continue
        joined = block["text"].replace("\\\n", " ")
        for part in re.split(r"\n|&&", joined):
            if found := _COMMAND.search(part.strip()):
                yield shlex.split(found["arguments"], comments=True)


def numbered(found: Iterator[list[str]], page: Path) -> Iterator[Any]:
    where = page.relative_to(ROOT)
    yield from (pytest.param(one, id=f"{where}: {' '.join(one)[:90]}") for one in found)


def every_command(mark: str | None = None) -> list[Any]:
    return [one for page in PAGES for one in numbered(commands(page, mark), page)]


def check_cells(args: argparse.Namespace) -> None:
    """What `run` and `tables` refuse before they read a file."""
    table = get_table(args.table)
    KINDS[table.measures].check(args)
    check_hparams(points(table, arguments.selection(args)), arguments.settings(args))


def check_training(args: argparse.Namespace) -> None:
    """What `train` refuses before it reads a file."""
    from bench.artefacts import trainable

    named = "recipe" if args.variant else args.editor
    if args.variant:
        variant(args.variant)
    trainable(named)
    for name in args.datasets.split(","):
        get_dataset(name)
    hparams = registry.hparams_for(named, args.backbone or "mini-llama")
    type(hparams).from_dict(hparams.to_dict() | dict(map(arguments.assignment, args.hparam)))


CHECKS = {"run": check_cells, "tables": check_cells, "train": check_training}


@pytest.mark.parametrize("command", every_command())
def test_every_command_is_one_that_the_parser_and_the_selection_take(command: list[str]) -> None:
    args = cli._parser(command).parse_args(command)
    CHECKS.get(args.command, lambda _: None)(args)


def test_the_commands_are_found() -> None:
    assert len(every_command()) > 70
    assert {one.values[0][0] for one in every_command()} == set(cli.COMMANDS)


@pytest.mark.parametrize("command", every_command(RUN))
def test_marked_commands_run(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(command) == 0
    assert capsys.readouterr().out


def anchors(page: Path) -> set[str]:
    """Names of a page's headings in links, as GitHub makes them."""
    headings = _HEADING.findall(page.read_text("utf-8"))
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = _FENCE.sub("", page.read_text("utf-8"))
    for target in _LINK.findall(text):
        place, _, anchor = target.partition("#")
        if place.startswith(("https://", "http://")):
            continue
        file = (page.parent / place).resolve() if place else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_the_index_has_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link).resolve() for link in _LINK.findall(index.read_text("utf-8"))}
    wanted = {page for page in PAGES if page.is_relative_to(index.parent)} - {index}
    assert wanted <= linked


def table_under(page: Path, first: str) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of the page's table whose first column is called so."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in page.read_text("utf-8").split(f"| {first} |", 1)[1].split("\n\n")[0].split("\n")
    ]
    return [first, *(cell for cell in rows[0] if cell)], rows[2:]


def shown(value: object) -> str:
    """A hyper-parameter's value as the pages print it."""
    if not isinstance(value, tuple):
        return str(value)
    runs = ((item, len(list(group))) for item, group in itertools.groupby(value))
    return ", ".join(str(item) if count == 1 else f"{count} times {item}" for item, count in runs)


def test_there_is_a_page_for_every_editor_of_the_paper() -> None:
    """One that somebody adds needs none."""
    assert {registry.resolve(label) for label in EDITOR_ORDER} <= set(DESCRIBED)
    assert set(DESCRIBED) <= set(registry.available())


@pytest.mark.parametrize("key", DESCRIBED)
def test_hyper_parameter_tables_are_those_of_the_presets(key: str) -> None:
    cls = registry.editor_class(key)
    header, rows = table_under(EDITOR_PAGES / f"{key}.md", "name")
    names = [row[0].strip("`") for row in rows]
    assert names == [field.name for field in fields(cls.hparams_class)]
    columns = [_PRESET.findall(cell) for cell in header[1:-1]]
    backbones = {"llama-2-7b", "gpt-j-6b", "gpt2-xl", "mini-llama", "mini-gptj", "mini-gpt2"}
    assert {preset for column in columns for preset in column} == backbones | {"default"}
    for number, column in enumerate(columns, start=1):
        for preset, (row, name) in itertools.product(column, zip(rows, names, strict=True)):
            assert row[number] == shown(vars(cls.presets[preset])[name]), (preset, name)


def published_times(metric: str) -> dict[str, float]:
    with (ROOT / "tables/published/table3.csv").open(encoding="utf-8") as file:
        return {
            r["editor"]: float(r["value"]) for r in csv.DictReader(file) if r["metric"] == metric
        }


@pytest.mark.parametrize("key", DESCRIBED)
def test_published_times_are_those_of_table_3(key: str) -> None:
    _, rows = table_under(EDITOR_PAGES / f"{key}.md", "cost")
    label = registry.describe(key).label
    for row, metric in zip(rows[:2], ("edit_time_s", "infer_time_s"), strict=True):
        assert float(row[1].removesuffix(" s")) == published_times(metric)[label]


def edits_of_a_seed() -> int:
    """How many edits the paper's Table 1 makes with each editor, all data sets together."""
    sizes = {name: get_dataset(name).files["test"].rows for name in ("zsre", "cf", "ripe")}
    counts = (1, 10, 100, 1_000, 10_000)
    return sum(size // n * n for size in sizes.values() for n in counts)


def test_days_are_the_published_seconds_times_the_edits() -> None:
    page = ROOT / "docs" / "reproduce_the_paper.md"
    assert f"{edits_of_a_seed():,} edits" in " ".join(page.read_text("utf-8").split())
    _, rows = table_under(page, "editor | seconds an edit")
    times = published_times("edit_time_s")
    assert {row[0]: float(row[1]) for row in rows} == times
    for label, seconds, days in rows:
        whole = float(seconds) * edits_of_a_seed() / 86_400
        assert float(days) == pytest.approx(whole, abs=0.005), label


def test_published_scores_of_the_first_run_are_those_of_table_1() -> None:
    with (ROOT / "tables/published/table1.csv").open(encoding="utf-8") as file:
        values = {
            (row["editor"], row["metric"]): float(row["value"])
            for row in csv.DictReader(file)
            if (row["n_edits"], row["dataset"]) == ("100", "CF")
        }
    _, rows = table_under(ROOT / "docs" / "first_real_run.md", "editor | published Rel")
    assert len(rows) == 6
    for label, *scores in rows:
        wanted = [values[label, metric] for metric in ("Rel", "Gen", "Loc", "Avg")]
        assert list(map(float, scores)) == wanted


def example(page: str, name: str) -> str:
    """The code of a marked block."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    blocks = [b for b in _FENCE.finditer(text) if b["mark"] == f"<!-- example: {name} -->\n"]
    (block,) = blocks
    return block["text"]


@pytest.fixture
def nudge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The key of the worked example, which lies among the editors for the while."""
    (tmp_path / "nudge.py").write_text(example("add_your_own.md", "nudge"), encoding="utf-8")
    monkeypatch.setattr(editors, "__path__", [*editors.__path__, str(tmp_path)])
    registry._entries.cache_clear()
    yield "nudge"
    registry._entries.cache_clear()
    sys.modules.pop("editors.nudge", None)


@pytest.mark.parametrize("architecture", TINY)
def test_the_example_of_an_editor_holds_the_contract(
    nudge: str, architecture: str, tmp_path: Path
) -> None:
    subject = Subject(key=nudge, architecture=architecture, directory=tmp_path)
    checks = [
        check
        for name, check in vars(test_contract).items()
        if name.startswith("test_") and list(inspect.signature(check).parameters) == ["subject"]
    ]
    assert len(checks) >= 8
    for check in checks:
        check(subject)


def test_the_example_of_a_data_set_reads_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "places.py").write_text(example("add_your_own.md", "places"), encoding="utf-8")
    monkeypatch.setattr(bench.datasets, "__path__", [*bench.datasets.__path__, str(package)])
    row = {
        "question": "Where is Brenn?",
        "answer": " in Veltria",
        "subject": "brenn",
        "rephrased": ["In which land is Brenn?"],
        "unrelated": [{"question": "Where is Rome?", "answer": "in Italy"}],
    }
    (tmp_path / "places-test.json").write_text(json.dumps([row]), encoding="utf-8")
    try:
        module = importlib.import_module("bench.datasets.places")
        loaded = module.Places().load("test", tmp_path)
    finally:
        sys.modules.pop("bench.datasets.places", None)
    (sample,) = loaded.samples
    assert (sample.request.target, sample.request.subject) == ("in Veltria", "Brenn")
    assert [probe.target for probe in (*sample.generality, *sample.locality)] == [
        "in Veltria",
        "in Italy",
    ]


def test_the_example_in_python_edits_a_model() -> None:
    made: dict[str, Any] = {}
    exec(compile(example("faq.md", "python"), "faq.md", "exec"), made)  # noqa: S102 - our own page
    assert made["answer"].strip().startswith(made["fact"].target)


def marked(page: Path) -> Sequence[str]:
    return [b["mark"].strip() for b in _FENCE.finditer(page.read_text("utf-8")) if b["mark"]]


def test_marks_are_known_ones() -> None:
    known = re.compile(rf"{RUN}|<!-- example: (nudge|places|python) -->|<!-- table 1: begin -->")
    for page in PAGES:
        assert [mark for mark in marked(page) if not known.fullmatch(mark)] == []


@pytest.fixture
def deep_model(tmp_path: Path) -> Path:
    """A random model as deep as LLaMA-2-7B and very narrow, in a folder of its name."""
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    from bench.world.store import require_assets

    source, directory = require_assets(0, "mini-llama"), tmp_path / "models" / "llama-2-7b"
    config = AutoConfig.from_pretrained(
        source, hidden_size=16, intermediate_size=24, num_attention_heads=2, num_hidden_layers=32,
        num_key_value_heads=2, head_dim=8,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(directory)
    AutoTokenizer.from_pretrained(source).save_pretrained(directory)
    return directory


@pytest.mark.slow
def test_the_first_real_run_works_with_the_settings_of_the_real_model(
    deep_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from bench.world.store import data_dir

    (tmp_path / "RECIPE").symlink_to(data_dir())
    (tmp_path / "corpus.txt").symlink_to(data_dir() / "corpus.txt")
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "first_real_run.md"
    place = str(deep_model.relative_to(tmp_path))
    (command,) = [one for one in commands(page) if place in one]
    smaller = {"cuda": "cpu", "100": "1"}
    assert cli.main([*(smaller.get(word, word) for word in command), "--jobs", "1"]) == 0
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs/first").glob("*.json")]
    assert {record["cell"]["editor"] for record in records} == {
        "ft", "rome", "memit", "wilke", "t_patcher", "grace",
    }  # fmt: skip
    for record in records:
        preset = registry.preset_of(record["cell"]["editor"], "llama-2-7b")
        assert record["cell"]["hparams"] == json.loads(json.dumps(preset.to_dict()))
    assert "published value on LLAMA-2-7B" in capsys.readouterr().out
