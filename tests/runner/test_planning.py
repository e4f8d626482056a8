"""What a plan pins down, and what it refuses before anything runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.checksums import seal_beside
from bench.core.grids import Selection, get_table
from bench.datasets import get_dataset
from bench.datasets.base import PublishedFile, git_blob_id
from bench.evaluation.edit_job import EditJob
from bench.models import resources
from bench.models.key_statistics import read_templates
from bench.runner.planning import Settings, plan, points, trained_points
from bench.runner.worker import Worker
from bench.store.results import ResultStore
from bench.tables.table import caption_of
from editors import registry
from tests.datasets.example_rows import counterfact_row, write
from tests.support.tiny_files import save_tiny


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("gpt2", tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "data", "counterfact", "test", [counterfact_row()] * 3)


def jobs(backbone: Path, data: Path, *editors: str) -> list[EditJob]:
    selection = Selection(
        backbone=str(backbone), editors=editors, datasets=("cf",), edits=(1,), limit=2
    )
    return plan(points(get_table(1), selection), Settings(data_dir=data.parent, generation="none"))


def test_a_cell_names_the_contents_it_depends_on(backbone: Path, data: Path) -> None:
    (job,) = jobs(backbone, data, "ft")
    cell = job.cell
    assert cell.dataset_digest == git_blob_id(data.read_bytes())
    assert cell.backbone_digest == job.backbone.digest
    assert cell.hparams == registry.hparams_for("ft", "tiny").to_dict()
    assert cell.editor_version == registry.editor_class("ft").version
    assert cell.inputs == {}


def test_the_published_revision_is_claimed_for_the_published_file_only(
    backbone: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = jobs(backbone, data, "ft")
    digest = job.cell.dataset_digest
    assert job.cell.dataset_revision == f"local file {digest[:8]}"
    cf = get_dataset("cf")
    file = PublishedFile(path=data.name, variants=(), rows=3, git_blob=digest)
    monkeypatch.setattr(type(cf), "files", {**cf.files, "test": file})
    (job,) = jobs(backbone, data, "ft")
    assert job.cell.dataset_revision == f"published {cf.revision[:8]}"


def test_the_corpus_of_a_covariance_is_part_of_the_cell(backbone: Path, data: Path) -> None:
    corpus = data.parent / "corpus.txt"
    corpus.write_text("The sky above the sea is blue.\n")
    (before,) = jobs(backbone, data, "rome")
    corpus.write_text("The sky above the sea is grey.\n")
    (after,) = jobs(backbone, data, "rome")
    assert set(before.cell.inputs) == {"corpus", "templates"}
    assert before.cell.key() != after.cell.key()


def test_the_models_own_templates_are_part_of_the_cell(backbone: Path, data: Path) -> None:
    (data.parent / "corpus.txt").write_text("The sky above the sea is blue.\n")
    (before,) = jobs(backbone, data, "rome")
    assert before.sources.templates is not None
    assert read_templates(before.sources.templates)[0] == "{}"
    (again,) = jobs(backbone, data, "rome")
    assert again.cell.key() == before.cell.key()
    others = '["{}", "Other. {}"]'
    seal_beside(before.sources.templates, others.encode())
    before.sources.templates.write_text(others)
    (after,) = jobs(backbone, data, "rome")
    assert after.cell.key() != before.cell.key()


def test_an_editor_without_its_trained_weights_is_refused(
    backbone: Path, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, OSError), match=r"mini-roberta|RECIPE") as error:
        jobs(backbone, data, "recipe")
    assert "\n" not in str(error.value)


def test_data_that_changes_after_planning_fails_the_cell(
    backbone: Path, data: Path, tmp_path: Path
) -> None:
    (job,) = jobs(backbone, data, "ft")
    write(data.parent, "counterfact", "test", [counterfact_row(target_new="other")] * 3)
    store = ResultStore(tmp_path / "out")
    finished = Worker(store).run(job)
    assert finished.error is not None
    assert "has changed since the run was planned" in finished.error
    assert store.lookup(job.cell) is None
    assert store.read(job.cell.key()) is not None


def test_untrained_editors_are_left_out_of_grids_that_nobody_named(
    backbone: Path, data: Path
) -> None:
    selection = Selection(
        backbone=str(backbone), editors=("ft", "recipe"), datasets=("cf",), edits=(1,), limit=2
    )
    settings = Settings(data_dir=data.parent, generation="none")
    kept, reasons = trained_points(points(get_table(1), selection), settings, named=False)
    assert [point.editor for point in kept] == ["ft"]
    assert len(reasons) == 1
    assert "RECIPE has no trained weights" in reasons[0]


def test_a_hyper_parameter_of_the_user_is_part_of_the_cell(backbone: Path, data: Path) -> None:
    selection = Selection(
        backbone=str(backbone), editors=("grace",), datasets=("cf",), edits=(1,), limit=2
    )
    changes = {"grace": {"mode": "easyedit", "n_iter": 3}}
    settings = Settings(data_dir=data.parent, generation="none", hparams=changes)
    (job,) = plan(points(get_table(1), selection), settings)
    assert (job.cell.hparams["mode"], job.cell.hparams["n_iter"]) == ("easyedit", 3)
    assert caption_of(get_table(1), [job.cell], seeds=(0,)).changes == (
        "GRACE with mode=easyedit, n_iter=3."
    )
    (before,) = plan(points(get_table(1), selection), replace(settings, hparams={}))
    assert before.cell.key() != job.cell.key()
    assert caption_of(get_table(1), [before.cell], seeds=(0,)).changes == ""
    with pytest.raises(ValueError, match="changes FT, which is not among the editors"):
        plan(points(get_table(1), selection), replace(settings, hparams={"ft": {"lr": 1.0}}))


def test_a_variant_without_weights_is_left_out_even_where_its_editor_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resources, "variants_dir", lambda _: tmp_path)  # a user may have them
    selection = Selection(editors=("recipe",), datasets=("cf",), edits=(1,))
    found = points(get_table(5), selection)
    assert [point.variant for point in found] == [None, "gptj-ln1"]
    kept, (reason,) = trained_points(found, Settings(), named=True)
    assert kept == [found[0]]
    assert "bench train --variant gptj-ln1 --backbone mini-gptj" in reason
