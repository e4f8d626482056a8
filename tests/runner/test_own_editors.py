"""Editors of the user's own: files that are named, and entry points of installed distributions."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.datasets import named_files, run_files
from editors import registry
from editors.plugins import OwnCodeError
from tests.cli.commands import Cli, Refused
from tests.support.own_files import EDITOR, SMALL, forget_installed, install, write_editor
from tests.support.plans import edit_jobs

POINTS = "[bench.editors]\n"
RUN = ["--datasets", "zsre", "--edits", "1", "--limit", "2", "--metrics", "teacher_forced"]


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    forget_installed()


def key_of(editor: str) -> str:
    (job,) = edit_jobs(editors=(editor,), datasets=("zsre",), edits=(1,), limit=2)
    return job.cell.key()


def test_a_file_is_an_editor_wherever_a_name_is_taken(tmp_path: Path) -> None:
    path = str(write_editor(tmp_path))
    assert registry.resolve(path) == "small"
    assert registry.describe(path).label == "Small"
    assert registry.editor_class("SMALL").__name__ == "SmallEditor"
    assert "small" in registry.available()
    assert "small" not in registry.shipped()
    assert not registry.describe("small").in_paper
    source = SMALL.replace('"Small"', '"Twice"') + "\n\nTwin = SmallEditor\n"
    twice = str(write_editor(tmp_path, "twice", source))
    assert registry.editor_class(twice).__name__ == "SmallEditor"  # of two names


def test_a_changed_file_is_another_cell(tmp_path: Path) -> None:
    path = write_editor(tmp_path)
    before = key_of(str(path))
    assert key_of(str(path)) == before
    write_editor(tmp_path, source=SMALL + "\n# another\n")
    assert key_of(str(path)) != before
    write_editor(tmp_path)
    assert key_of(str(path)) == before


ABSTRACT = SMALL.replace("    def edit(self, requests):\n        pass\n", "")
TWO = SMALL + SMALL.replace("class SmallEditor", "class Other")

BAD = [
    ("small", "import numbers\n", r"small\.py defines no editor: one class that derives from "),
    ("small", ABSTRACT, r"small\.py defines no editor: SmallEditor lacks edit\."),
    ("small", TWO, r"small\.py defines 2 editors, SmallEditor, Other: one class"),
    ("ft", SMALL, r"ft\.py calls its editor 'ft', as another editor is called"),
    ("mine", SMALL.replace('"Small"', '"ROME"'), r"mine\.py calls its editor 'rome'"),
    ("small", "import no_such_module\n", r"cannot be run: ModuleNotFoundError: .* \(line 1\)\."),
    ("small", "x = 1\n\n1 / 0\n", r"cannot be run: ZeroDivisionError: .* \(line 3\)\."),
    ("small", "x = 1\ndef f(:\n", r"cannot be run: SyntaxError: .* \(line 2\)\."),
    ("small", "raise SystemExit('bye')\n", r"cannot be run: SystemExit: bye \(line 1\)\."),
    ("my-editor", SMALL, r"my-editor\.py gives its editor no name: letters"),
    ("small", SMALL.replace('    label = "Small"\n', ""), r"of small\.py lacks label\."),
    ("small", SMALL.replace('"MP"', '"XX"'), r"is of family 'XX'; wanted MP, AP, RB"),
    ("small", SMALL.replace('"Small"', "3"), r"small\.py has a label of another kind: 3\."),
    ("small", SMALL + "    aliases = 'abc'\n", r"has a aliases of another kind: 'abc'\."),
    ("small", SMALL + "    version = 'a'\n", r"has a version of another kind: 'a'\."),
    ("small", SMALL.replace("= SmallHparams\n", "= 3\n"), r"has a hparams_class of another kind"),
    ("small", SMALL + "    presets = [1]\n", r"has a presets of another kind: \[1\]\."),
    ("small", SMALL.replace("{\"default\": SmallHparams()}", "{}"), r"no presets of SmallHparams"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "source", "said"), BAD)
def test_what_is_wrong_with_a_file_is_one_sentence(
    name: str, source: str, said: str, tmp_path: Path
) -> None:
    path = write_editor(tmp_path, name, source)
    with pytest.raises(OwnCodeError, match=said) as error:
        registry.resolve(str(path))
    assert "\n" not in str(error.value)
    assert name not in registry.available() or name in registry.shipped()


@pytest.mark.parametrize(
    "command", ["run --editors", "plan --editors", "contract", "train --editor"]
)
def test_every_command_reports_a_file_that_is_not_there(
    command: str, tmp_path: Path, refused: Refused
) -> None:
    path = tmp_path / "none.py"
    sentence = refused(*command.split(), path)
    assert sentence.endswith(f"No editor at {path}: there is no such file.\n")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    registry.resolve(str(write_editor(tmp_path)))
    with pytest.raises(OwnCodeError, match="both name the editor 'small'; rename one of them"):
        registry.resolve(str(write_editor(tmp_path / "other")))


def test_a_worker_runs_the_file_again_and_notices_a_change(tmp_path: Path) -> None:
    path = write_editor(tmp_path)
    registry.resolve(str(path))
    files = named_files()
    registry._named.clear()
    run_files(files)
    assert "small" in registry.available()
    write_editor(tmp_path, source=SMALL + "\n")
    with pytest.raises(ValueError, match="has changed since the run was planned"):
        run_files(files)


@pytest.mark.slow
def test_worker_processes_run_it_and_its_records_stay_in_tables_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.chdir(tmp_path)
    two = ["--datasets", "zsre", "--edits", "1,2", "--limit", "2", "--metrics", "teacher_forced"]
    two += ["--out", "out"]
    shown = cli("run", "--editors", f"ft,{EDITOR}", *two, "--jobs", "2")
    assert shown.code == 0
    assert "AnswerMemory \u00a7" in shown.out
    assert "Not in the paper's tables" in shown.out
    times = ["--table", "3", "--datasets", "cf", "--edits", "2", "--out", "times"]
    assert cli("run", "--editors", EDITOR, *times).code == 0
    registry._named.clear()  # as in another process
    for chosen in ([], ["--editors", "ft,my_editor"], ["--editors", "AnswerMemory"]):
        shown = cli("tables", *chosen, *two)
        assert shown.code == 0
        assert shown.out.count("AnswerMemory \u00a7") == 2
        assert "stale" not in shown.err
    assert cli("results", "list", "--out", "out").out.count("complete") == 4
    shown = cli("run", "--editors", "my_editor", *two)
    assert shown.code == 2
    assert "is known from records alone; name its file" in shown.err
    assert cli("tables", *times).out.count("AnswerMemory \u00a7") == 1
    assert cli("figures", "--figure", "edits", "--from", "out", "--out", "figs").code == 0
    assert "AnswerMemory" in Path("figs/edits.csv").read_text()


def test_records_of_changed_code_are_stale(tmp_path: Path, cli: Cli) -> None:
    path, out = write_editor(tmp_path), ["--out", tmp_path / "results"]
    assert cli("run", "--editors", path, *RUN, *out, "--jobs", "1").code == 0
    write_editor(tmp_path, source=SMALL + "\n")
    shown = cli("tables", "--editors", path, *RUN, *out)
    assert shown.code == 2
    assert "No record in" in shown.err


def test_an_installed_editor_is_listed_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    entries = f"{POINTS}small = tiny_editors.small:SmallEditor\n"
    modules = {"tiny_editors/__init__.py": "", "tiny_editors/small.py": SMALL}
    install(tmp_path / "site", monkeypatch, entries, modules)
    (line,) = [row for row in cli("list").out.splitlines() if "Small" in row]
    assert line.split() == ["small", "Small", "MP", "not", "in", "the", "paper's", "tables"]
    assert "tiny_editors.small" not in sys.modules
    assert registry.editor_class("small").label == "Small"


def test_an_installed_editor_runs_and_its_package_is_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    site, out = tmp_path / "site", tmp_path / "out"
    names = ("__init__", "small", "helper")
    modules = {f"tiny_editors/{name}.py": SMALL if name == "small" else "" for name in names}
    install(site, monkeypatch, f"{POINTS}small = tiny_editors.small\n", modules)
    before = registry.source_of("small")
    assert cli("run", "--editors", "small", *RUN, "--jobs", "1", "--out", out).code == 0
    (record,) = out.glob("*.json")
    cell = json.loads(record.read_text())["cell"]
    assert (cell["editor"], cell["inputs"]) == ("small", {"source": before})
    (site / "tiny_editors/helper.py").write_text("x = 1\n")
    registry._installed.cache_clear()
    assert registry.source_of("small") != before


BROKEN = [
    ("bad = tiny_bad:None_\n", {"tiny_bad.py": "1 / 0\n"}, r"cannot be imported: ZeroDivision"),
    ("bad = tiny_missing\n", {}, r"cannot be found: no module 'tiny_missing'"),
    ("ft = tiny_ok:SmallEditor\n", {"tiny_ok.py": SMALL}, r"'ft', as another editor is called"),
    ("bad = tiny_no:x\n", {"tiny_no.py": "x = 1\n"}, r"is no class that derives from"),
]


@pytest.mark.parametrize(("entries", "modules", "said"), BROKEN)
def test_a_broken_entry_point_is_warned_of_and_breaks_nothing(
    entries: str,
    modules: dict[str, str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cli: Cli,
) -> None:
    install(tmp_path / "site", monkeypatch, POINTS + entries, modules)
    listed = cli("list")
    assert (listed.code, "  recipe" in listed.out) == (0, True)
    (warning,) = listed.err.splitlines()
    assert warning.startswith("left out: The entry point ")
    assert said.replace("\\", "") in warning
    if entries.startswith("bad "):
        with pytest.raises(ValueError, match="The entry point 'bad' of tiny-editors"):
            registry.resolve("bad")
