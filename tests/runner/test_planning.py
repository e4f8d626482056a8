"""What a plan pins down and refuses before anything runs, and which stored cells belong to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from bench.core.cells import Cell
from bench.core.config import RunConfig
from bench.core.files import seal_beside
from bench.core.grids import GridPoint, get_table
from bench.datasets import get_dataset
from bench.datasets.base import EditDataset, PublishedFile, git_blob_id
from bench.evaluation.jobs import EditJob
from bench.models import resources
from bench.models.backbones import locate
from bench.models.key_statistics import read_templates
from bench.models.resources import UntrainedEditorError
from bench.runner import planning
from bench.runner.planning import Planner, plan, points
from bench.runner.run import run
from bench.runner.stored import missing_cells, other_protocols, stored_by_protocol, with_recorded
from bench.runner.worker import Worker
from bench.store.inventory import records_of_protocol
from bench.store.results import Record, ResultStore
from bench.tables.table import caption_of
from editors import registry
from tests.core.test_cells import CELL
from tests.datasets.example_rows import counterfact_row, write
from tests.support.plans import edit_jobs
from tests.support.records import record
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


def test_the_corpus_and_the_templates_of_a_covariance_are_part_of_the_cell(
    backbone: Path, data: Path
) -> None:
    corpus = data.parent / "corpus.txt"
    corpus.write_text("The sky above the sea is blue.\n")
    (before,) = jobs(backbone, data, "rome")
    assert set(before.cell.inputs) == {"corpus", "templates"}
    (again,) = jobs(backbone, data, "rome")
    assert again.cell.key() == before.cell.key()
    assert before.sources.templates is not None
    assert read_templates(before.sources.templates)[0] == "{}"
    others = '["{}", "Other. {}"]'
    seal_beside(before.sources.templates, others.encode())
    before.sources.templates.write_text(others)
    (with_others,) = jobs(backbone, data, "rome")
    corpus.write_text("The sky above the sea is grey.\n")
    (after,) = jobs(backbone, data, "rome")
    assert len({job.cell.key() for job in (before, with_others, after)}) == 3


def test_each_seed_has_samples_of_its_own(backbone: Path, tmp_path: Path) -> None:
    rows = [counterfact_row(subject=f"Ann {i}", prompt=f"Ann {i} is") for i in range(11)]
    data = write(tmp_path / "data", "counterfact", "test", rows)
    chosen = selected(backbone, data, editors=("ft",), seeds=(0, 1, 2, 5), limit=3)
    drawn = [job.cell.drawn(range(11)) for job in edit_jobs(**chosen)]
    assert [len(own) for own in drawn] == [3, 3, 3, 3]
    assert len({*drawn[0], *drawn[1], *drawn[2]}) == 9
    (job,) = edit_jobs(**chosen | {"seeds": (1,)})  # whichever seeds are run with it
    assert job.cell.drawn(range(11)) == drawn[1]
    (shuffled, again) = edit_jobs(**chosen | {"seeds": (0, 1), "limit": 11})
    assert sorted(again.cell.drawn(range(11))) == list(range(11))
    assert shuffled.cell.drawn(range(11)) != again.cell.drawn(range(11))


def test_training_seeds_draw_the_samples_of_seed_0_and_are_of_trained_editors(
    backbone: Path, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = selected(backbone, data, editors=("ft",), seeds=(0, 1), vary="training")
    (job,) = edit_jobs(**chosen)  # it has nothing to train
    assert job.cell.varies == "training"
    config = RunConfig(**chosen | {"editors": ("ft", "mend")})
    assert [(p.editor, p.seed) for p in points(config)] == [("ft", 0), ("mend", 0), ("mend", 1)]
    _, reasons = Planner(config).edit_jobs(points(config), named=False)
    assert "--editor mend --backbone" in reasons[0]
    assert reasons[1].endswith("--seed 1` trains them.")
    with pytest.raises(ValueError, match="Table 2 takes no --vary: its seeds draw"):
        points(RunConfig(table=2, vary="training"))


def test_untrained_editors_are_named_together_or_skipped(backbone: Path, data: Path) -> None:
    chosen = selected(backbone, data, editors=("mend", "ft", "malmen"))
    with pytest.raises(UntrainedEditorError) as raised:
        plan(RunConfig(**chosen))
    said = str(raised.value)
    assert said.index("train --editor mend") < said.index("train --editor malmen")
    assert said.endswith("trains them. --skip-untrained leaves them out.")
    skipped = plan(RunConfig(**chosen, skip_untrained=True))
    assert len(skipped.jobs) == 1
    assert len(skipped.left_out) == 2


def test_batches_are_of_editors_that_write_several_edits_together(
    backbone: Path, data: Path
) -> None:
    chosen = selected(
        backbone, data, editors=("memit", "mend"), batch_per_step=4, edits=(8,), limit=8
    )
    assert {point.editor for point in points(RunConfig(**chosen))} == {"memit", "mend"}
    with pytest.raises(ValueError, match="--batch-per-step 4: rome would write one edit after"):
        points(RunConfig(**chosen | {"editors": ("memit", "rome")}))
    with pytest.raises(ValueError, match="looks at the model after 1 edits, which is inside"):
        points(RunConfig(**chosen | {"measure": ("retention",)}))
    with pytest.raises(ValueError, match="Table 3 takes no --batch-per-step: it makes single"):
        points(RunConfig(table=3, batch_per_step=4))


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


def test_untrained_editors_are_refused_and_left_out_of_grids_that_nobody_named(
    backbone: Path, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, OSError), match=r"mini-roberta|RECIPE") as error:
        jobs(backbone, data, "recipe")
    assert "\n" not in str(error.value)
    config = RunConfig(**selected(backbone, data, editors=("ft", "recipe")))
    planned, (reason,) = Planner(config).edit_jobs(points(config), named=False)
    assert [job.cell.editor for job in planned] == ["ft"]
    assert "RECIPE has no trained weights" in reason


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


def test_a_bundle_is_part_of_the_cell_and_of_the_caption(backbone: Path, data: Path) -> None:
    chosen = selected(backbone, data, editors=("ft", "grace"), bundle="paper")
    fine_tuned, codebook = edit_jobs(**chosen)
    assert fine_tuned.cell.hparams["objective"] == "bos_label"
    assert codebook.cell.hparams["mode"] == "easyedit"
    caption = caption_of(get_table(1), [fine_tuned.cell, codebook.cell], seeds=(0,)).changes
    assert caption == "FT with objective=bos_label. GRACE with mode=easyedit."
    (changed, _) = edit_jobs(**chosen, hparams={"ft.objective": "target_new"})
    assert changed.cell.hparams["objective"] == "target_new"
    with pytest.raises(ValueError, match=r"Unknown bundle 'papr'\. Did you mean 'paper'"):
        edit_jobs(**selected(backbone, data, editors=("ft",), bundle="papr"))


@pytest.mark.parametrize("editor", ["rome", "memit", "wilke", "alphaedit"])
def test_too_little_text_of_key_covariances_is_refused_before_any_cell(
    backbone: Path, data: Path, tmp_path: Path, editor: str
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("Short.\n", encoding="utf-8")
    chosen = selected(backbone, data, editors=(editor,), corpus=str(corpus))
    wanted = r"corpus\.txt has \d tokens, fewer than the 24 dimensions of tiny's keys"
    with pytest.raises(ValueError, match=wanted):
        edit_jobs(**chosen)
    corpus.write_text("A document that is long enough.\n", encoding="utf-8")
    assert len(edit_jobs(**chosen)) == 1


def test_an_encoder_may_be_named_for_one_editor(
    backbone: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders = ("roberta-base", "LTE=mini-roberta", "r_rome=a=b")
    config = RunConfig(encoder=encoders)
    assert [config.encoder_for(key) for key in ("recipe", "lte", "r_rome")] == [
        "roberta-base",
        "mini-roberta",
        "a=b",
    ]
    assert RunConfig(encoder="mini-roberta").encoder_for("lte") == "mini-roberta"
    assert RunConfig().encoder_for("lte") is None
    monkeypatch.chdir(tmp_path)
    Path("lte=x").mkdir()  # a path that exists is a path
    assert RunConfig(encoder=("lte=x",)).encoder_for("recipe") == "lte=x"
    for named, editors in (("lte=mini-roberta", ("ft",)), ("ft=mini-roberta", ("ft",))):
        with pytest.raises(ValueError, match=r"--encoder names one for (LTE|FT), which is not"):
            edit_jobs(**selected(backbone, data, editors=editors, encoder=(named,)))
    with pytest.raises(ValueError, match=r"Unknown editor 'ltee'\. Did you mean 'lte'"):
        edit_jobs(**selected(backbone, data, editors=("ft",), encoder=("ltee=mini-roberta",)))


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


def cell_of(record: Record) -> Cell:
    return Cell.from_dict(record["cell"])


def test_records_of_planned_cells_in_other_protocols() -> None:
    plain, other = record("ft"), record("ft", metric_version=2)
    elsewhere = record("ft", metric_version=2, dtype="bfloat16")
    cells = [cell_of(plain)]
    assert other_protocols(cells, [plain]) == ""
    sentence = other_protocols(cells, [plain, other, elsewhere])
    assert sentence.startswith("1 record of these cells follows another protocol (zsre/blocks/v2)")
    assert stored_by_protocol(cells, [plain, other, elsewhere], "blocks/v2") == [cell_of(other)]
    quiet = record("ft", generation="none")  # the same numbers, and no others
    assert stored_by_protocol(cells, [quiet, plain], "blocks/v1") == cells
    assert records_of_protocol([plain, other], "zsre/blocks/v2") == [other]


FULL = [
    replace(CELL, editor=editor, n_edits=n, seed=seed)
    for editor in ("ft", "rome")
    for n in (1, 10)
    for seed in (0, 1)
]


OTHER_SET = [replace(cell, dataset="counterfact") for cell in FULL if cell.n_edits == 1]


@pytest.mark.parametrize(
    ("cells", "missing"),
    [
        (FULL[:-1], []),  # every editor has a seed
        ([*FULL, replace(FULL[0], n_edits=100, limit=100)], [("rome", "zsre", 100, 100)]),
        ([*FULL, *OTHER_SET], []),  # no editor was run at that number
        (
            [*FULL, *OTHER_SET, replace(OTHER_SET[0], n_edits=10)],
            [("rome", "counterfact", 10, CELL.limit)],
        ),
    ],
)
def test_an_editor_without_a_record_is_missing_with_the_limit_of_the_others(
    cells: list[Cell], missing: list[tuple[str, str, int, int]]
) -> None:
    named = [(cell.editor, cell.dataset, cell.n_edits, cell.limit) for cell in missing_cells(cells)]
    assert named == missing


SETS = {"retention": "v1", "distance": "v1"}


def point(record: Record) -> GridPoint:
    cell = cell_of(record)
    names = cell.backbone, cell.editor, cell.dataset, cell.n_edits, cell.seed
    return GridPoint(*names, limit=cell.limit)


def started(when: str, **changes: Any) -> Record:
    return record(**changes) | {"provenance": {"started": when}}


@pytest.mark.parametrize("newest", ["with sets", "without"])
def test_rows_of_records_alone_have_the_wanted_sets(newest: str) -> None:
    plain = started("2" if newest == "without" else "1")
    wide = started("1" if newest == "without" else "2", measures=SETS)

    def keys(*measures: str) -> list[str]:
        config = RunConfig(measure=measures)
        cells = with_recorded([], [point(plain)], [plain, wide], config)
        return [cell.key() for cell in cells]

    assert keys() == [plain["key"]]
    assert keys("retention") == [wide["key"]]
    assert keys("collapse") == []


def test_rows_of_records_alone_are_in_the_order_of_the_table() -> None:
    order = [(n, e, seed) for n in (1, 10) for e in ("ft", "grace", "recipe") for seed in (0, 1)]
    records = [record(editor, "zsre", n, seed=seed) for n, editor, seed in reversed(order)]
    cells = with_recorded([], map(point, records), records, RunConfig())
    listed = [(of.n_edits, of.editor, of.seed) for of in cells if isinstance(of, Cell)]
    assert listed == order


def test_the_small_preset_is_the_default_grid_of_a_real_model_with_three_seeds(
    backbone: Path, data: Path
) -> None:
    config = RunConfig(preset="small", editors=("ft",), datasets=("cf",))
    assert [(p.backbone, p.n_edits, p.limit, p.seed) for p in points(config)] == [
        ("smollm2-135m", n_edits, limit, seed)
        for n_edits, limit in ((1, 20), (10, 50), (100, 100))
        for seed in (0, 1, 2)
    ]
    assert config.device == "cpu"
    with pytest.raises(ValueError, match="The small preset needs the original data sets"):
        plan(RunConfig(preset="small", backbone=str(backbone), editors=("ft",)))
    with pytest.raises(FileNotFoundError, match="`python -m bench models fetch smollm2-135m`"):
        plan(RunConfig(preset="small", editors=("ft",), data_dir=data.parent))


def test_a_real_model_gets_no_invented_facts(backbone: Path, data: Path) -> None:
    given = selected(backbone, data, editors=("ft",))
    assert len(plan(RunConfig(**given)).jobs) == 1
    with pytest.raises(ValueError, match=r"^tiny is no model of the embedded world"):
        plan(RunConfig(**given | {"data_dir": None}))


@pytest.mark.parametrize("editor", registry.shipped())
def test_every_editor_has_settings_for_the_small_model(editor: str) -> None:
    preset = registry.hparams_for(editor, "smollm2-135m")
    assert preset is registry.editor_class(editor).presets["smollm2-135m"]
    for name in ("layer", "layers"):
        own = vars(preset).get(name)
        blocks = () if own is None else (own,) if isinstance(own, int) else own
        assert all(0 <= block < 30 for block in blocks)
