"""Data sets by name: those of the package, users' own files, and entry points."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import datasets
from bench.cli.main import main
from bench.core.names import DATASETS
from bench.datasets import available, get_dataset, named_files, run_files
from editors.plugins import OwnCodeError
from tests.support.own_files import DATASET, forget_installed, install
from tests.support.plans import edit_jobs


@pytest.mark.parametrize(
    ("key", "names"),
    [("zsre", ["ZSRE"]), ("counterfact", ["CF", "cf"]), ("ripple_edits", ["RIPE", " ripe "])],
)
def test_key_label_and_alias_name_a_set(key: str, names: list[str]) -> None:
    assert [get_dataset(name).key for name in (key, *names)] == [key] * (1 + len(names))
    others = [get_dataset(other).names for other in available() if other != key]
    assert not set(get_dataset(key).names).intersection(*others)


@pytest.mark.parametrize(("name", "hint"), [("zrse", "mean 'zsre'"), ("wikidata5m", "Available")])
def test_an_unknown_name_suggests_the_nearest_if_it_is_near(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=f"Unknown data set '{name}'.*{hint}"):
        get_dataset(name)


@pytest.mark.parametrize("key", DATASETS)
def test_declared_metadata_is_complete(key: str) -> None:
    dataset = get_dataset(key)
    texts = (dataset.label, dataset.title, dataset.source, dataset.licence, dataset.citation)
    assert all(texts)
    assert len(dataset.revision) == 40
    assert set(dataset.files) == {"train", "test"}
    for file in dataset.files.values():
        assert len(file.git_blob) == 40
        assert file.rows > 0


SOURCE = DATASET.read_text(encoding="utf-8")
ROWS = (DATASET.parent / "capitals.json").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    forget_installed()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The example and its data, in another folder."""
    for name in ("my_dataset.py", "capitals.json"):
        shutil.copy(DATASET.parent / name, tmp_path)
    return tmp_path / "my_dataset.py"


def test_a_file_is_a_data_set_wherever_a_name_is_taken(copied: Path) -> None:
    dataset = get_dataset(str(copied))
    assert (dataset.key, dataset.home) == ("capitals", copied.parent)
    assert get_dataset("CAPITALS") is dataset
    with pytest.raises(ValueError, match="CAPITALS has no train split"):
        dataset.directory("train", copied)
    assert "capitals" in datasets.available()


def test_a_cell_has_the_digest_of_rows_and_of_code(copied: Path) -> None:
    def cell() -> tuple[str, str, str]:
        (job,) = edit_jobs(editors=("ft",), datasets=(str(copied),), edits=(1,), limit=2)
        return job.cell.key(), job.cell.dataset_digest, job.cell.inputs["dataset_source"]

    first = cell()
    copied.write_text(SOURCE + "\n")
    second = cell()
    assert [a == b for a, b in zip(first, second, strict=True)] == [False, True, False]
    (copied.parent / "capitals.json").write_text(ROWS + "\n")
    assert cell()[1] != second[1]


def test_the_data_may_lie_where_data_dir_says(copied: Path, tmp_path: Path) -> None:
    data = tmp_path.with_name(f"{tmp_path.name}-data")
    data.mkdir()
    shutil.move(tmp_path / "capitals.json", data)
    selection = {"editors": ("ft",), "datasets": (str(copied),), "edits": (1,), "limit": 2}
    (job,) = edit_jobs(**selection, data_dir=data)
    assert job.data_dir == data
    with pytest.raises(FileNotFoundError, match=r"No capitals\.json in "):
        edit_jobs(**selection)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("x = 1\n", "no data set"),
        (SOURCE.replace('key = "capitals"', 'key = "zsre"'), "'zsre'"),
        (SOURCE.replace('    label = "CAPITALS"', "    pass"), "label"),
        (SOURCE.replace('{"test": ', '{"train": '), "test split"),
        (SOURCE.replace('label = "CAPITALS"', "label = 3"), r"\('capitals', 3\)"),
        ("1 / 0\n", r"ZeroDivisionError: division by zero \(line 1\)"),
    ],
)
def test_unusable_files(source: str, named: str, copied: Path) -> None:
    copied.write_text(source)
    with pytest.raises(OwnCodeError, match=named):
        get_dataset(str(copied))


def test_a_worker_runs_the_file_again(copied: Path) -> None:
    get_dataset(str(copied))
    files = named_files()
    datasets._named.clear()
    run_files(files)
    assert get_dataset("capitals").home == copied.parent


def test_records_of_it_are_shown_without_it(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--editors", "ft", "--edits", "1", "--limit", "2", "--metrics", "teacher_forced"]
    rest += ["--out", str(tmp_path / "results")]
    assert main(["run", "--datasets", str(copied), *rest, "--jobs", "1"]) == 0
    assert "CAPITALS" in capsys.readouterr().out
    (path,) = (tmp_path / "results").glob("*.json")
    assert json.loads(path.read_text())["cell"]["dataset"] == "capitals"
    datasets._named.clear()
    assert main(["run", "--datasets", "/none/such.py"]) == 2
    assert "/none/such.py" in capsys.readouterr().err
    assert main(["tables", "--datasets", "capitals", *rest]) != 2
    assert "capitals" in capsys.readouterr().out
    assert main(["run", "--datasets", "capitals", *rest]) == 2
    assert "capitals" in capsys.readouterr().err


def test_an_installed_data_set_reads_the_data_of_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = "[bench.datasets]\ncapitals = tiny_data.sets:Capitals\nbad = tiny_data.none\n"
    modules = {
        "tiny_data/__init__.py": "",
        "tiny_data/sets.py": SOURCE,
        "tiny_data/capitals.json": ROWS,
    }
    install(tmp_path / "site", monkeypatch, entries, modules)
    dataset = get_dataset("capitals")
    assert dataset.home == tmp_path / "site" / "tiny_data"
    assert len(dataset.load("test", dataset.directory("test", tmp_path)).samples) == 12
    assert "cannot be found" in datasets.broken()["bad"]
