"""What a plan pins down, and what it refuses before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from bench.core.config import RunConfig
from bench.core.files import seal_beside
from bench.core.grids import get_table
from bench.datasets import get_dataset
from bench.datasets.base import EditDataset, PublishedFile, git_blob_id
from bench.evaluation.jobs import EditJob
from bench.models import resources
from bench.models.backbones import locate
from bench.models.key_statistics import read_templates
from bench.runner import planning
from bench.runner.planning import Planner, plan, points
from bench.runner.run import run
from bench.runner.worker import Worker
from bench.store.results import ResultStore
from bench.tables.table import caption_of
from editors import registry
from tests.datasets.example_rows import counterfact_row, write
from tests.support.plans import edit_jobs
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
    return edit_jobs(**selected(backbone, data, editors=editors))


def selected(backbone: Path, data: Path, **changes: Any) -> dict[str, Any]:
    return {
        "backbone": str(backbone), "datasets": ("cf",), "edits": (1,), "limit": 2,
        "data_dir": data.parent, "metrics": "teacher_forced", **changes,
    }  # fmt: skip


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
    config = RunConfig(**selected(backbone, data, editors=("ft", "recipe")))
    jobs, reasons = Planner(config).edit_jobs(points(config), named=False)
    assert [job.cell.editor for job in jobs] == ["ft"]
    assert len(reasons) == 1
    assert "RECIPE has no trained weights" in reasons[0]


def test_a_hyper_parameter_of_the_user_is_part_of_the_cell(backbone: Path, data: Path) -> None:
    changes = {"grace.mode": "easyedit", "grace.n_iter": 3}
    chosen = selected(backbone, data, editors=("grace",))
    (job,) = edit_jobs(**chosen, hparams=changes)
    assert (job.cell.hparams["mode"], job.cell.hparams["n_iter"]) == ("easyedit", 3)
    assert caption_of(get_table(1), [job.cell], seeds=(0,)).changes == (
        "GRACE with mode=easyedit, n_iter=3."
    )
    (before,) = edit_jobs(**chosen)
    assert before.cell.key() != job.cell.key()
    assert caption_of(get_table(1), [before.cell], seeds=(0,)).changes == ""
    with pytest.raises(ValueError, match="changes FT, which is not among the editors"):
        edit_jobs(**chosen, hparams={"ft.lr": 1.0})


def test_files_are_read_once_for_planning_and_running(
    backbone: Path, data: Path, tmp_path: Path
) -> None:
    with (
        patch.object(planning, "locate", side_effect=locate) as located,
        patch.object(EditDataset, "load", autospec=True, side_effect=EditDataset.load) as loaded,
    ):
        chosen = selected(backbone, data, editors=("ft", "grace"), edits=(1, 2), seeds=(0, 1))
        assert len(run(RunConfig(**chosen, jobs=1, out=tmp_path / "out")).complete) == 8
    assert (located.call_count, loaded.call_count) == (1, 1)


def test_a_variant_without_weights_is_left_out_even_where_its_editor_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resources, "variants_dir", lambda _: tmp_path)  # a user may have them
    config = RunConfig(table=5, editors=("recipe",), datasets=("cf",), edits=(1,))
    assert [point.variant for point in points(config)] == [None, "gptj-ln1"]
    planned = plan(config)
    (reason,) = planned.left_out
    assert len(planned.jobs) == 1
    assert "bench train --variant gptj-ln1 --backbone mini-gptj" in reason
