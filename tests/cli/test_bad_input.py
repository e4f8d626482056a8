"""What commands refuse: in one sentence, with exit code 2, and nothing is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.commands import Refused
from tests.support.odd_models import FILES, LIBRARIES

BAD = [
    ("--editors ft,grce", "Unknown editor 'grce'. Did you mean 'grace'?"),
    ("--datasets zrse", "Unknown data set 'zrse'. Did you mean 'zsre'?"),
    ("--backbone mini-lama", "Unknown backbone 'mini-lama'. Did you mean 'mini-llama'?"),
    ("--backbone ./nowhere", "No model directory at ./nowhere."),
    ("--preset papr", "Unknown preset 'papr'. Did you mean 'paper'?"),
    ("--metrics al", "Unknown metrics 'al'. Did you mean 'all'?"),
    ("--dtype float12", "Unknown dtype 'float12'"),
    ("--device gpu", "Unknown device 'gpu'. Available: cpu, cuda, cuda:N."),
    ("--table 9", "Unknown table '9'."),
    ("--edits 0", "--edits: expected a whole number of at least 1, got 0."),
    ("--edits ten", "--edits: expected a whole number, got 'ten'."),
    ("--edits ,", "expected names separated by commas, got none"),
    ("--seeds 1.5", "--seeds: expected a whole number, got '1.5'."),
    ("--limit 1", "a limit of 1 for 2 edits"),
    ("--limit 0", "--limit: expected a whole number of at least 1, got 0."),
    ("--jobs 0", "--jobs: expected a whole number of at least 1, got 0."),
    ("--edits 6", "got a limit of 4 for 6 edits"),
    ("--edits 6 --limit 6", "has 5 samples in"),
    ("--data-dir missing", "missing"),
    ("--hparam mode=easyedit", "Unknown editor 'mode'."),
    ("--hparam ft.lr", "--hparam takes EDITOR.NAME=VALUE or EDITOR=PRESET, got 'ft.lr'."),
    ("--hparam ft.=1", "--hparam takes EDITOR.NAME=VALUE or EDITOR=PRESET, got 'ft.=1'."),
    ("--hparam ft=gpt-5", "FT has no preset 'gpt-5'. Available: "),
    ("--hparam grce.eps=1", "Unknown editor 'grce'. Did you mean 'grace'?"),
    ("--hparam ft.lr=1e999", "lr must be a number above 0, got inf."),
    ("--hparam ft.num_steps=ten", "num_steps must be a whole number, got 'ten'."),
    ("--hparam ft.num_steps=2.5", "num_steps must be a whole number, got 2.5."),
    ("--hparam ft.lrr=1", "'lrr' for FtHparams. Did you mean 'lr'"),
    ("--index fais", "Unknown index 'fais'. Did you mean 'faiss'?"),
    ("--index faiss", "--hparam changes RECIPE, which is not among the editors"),
    ("--hparam malmen.seed=1", "--hparam changes MALMEN, which is not among the editors"),
    ("--hparam ft.lr=1 --hparam ft.lr=2", "--hparam names ft.lr twice, with 1 and 2."),
    ("--hparam ft.lr=1 --hparam FT.lr=2", "--hparam names FT lr twice."),
    ("--measure retentoin", "Did you mean 'retention'"),
    ("--measure collapse", "--measure-text PATH"),
    ("--measure-text x.txt", "--measure-text is the text of --measure collapse alone."),
    ("--measure retention --measure-text x.txt", "of --measure collapse alone."),
    ("--editor-s ft", "unrecognized arguments: --editor-s"),
    ("--seeds 0 --n-seeds 2", "not allowed with argument"),
    ("--seeds=-1", "--seeds: expected a whole number of at least 0, got -1."),
    ("--datasets ripe --edits 10000 --limit 10000", "too few samples for 10,000 edits"),
    ("--log-json no/such/events", "No such file or directory: no/such/events"),
    ("--executor slrm", "Unknown executor 'slrm'. Did you mean 'slurm'?"),
    ("--ray-address auto", "--ray-address goes with --executor ray, got --executor local."),
    (
        "--executor ray --slurm-time 9",
        "--slurm-time goes with --executor slurm, got --executor ray.",
    ),
    ("--detach", "--detach goes with --executor slurm, got --executor local."),
    ("--executor slurm --jobs 2", "with slurm: --slurm-workers."),
    ("--executor ray --gpus-per-cell 1.5", "expected a fraction of one GPU or a whole"),
    ("--gpus-per-cell 0", "expected a fraction of one GPU or a whole number of them"),
    ("--slurm-workers 0", "--slurm-workers: expected a whole number of at least 1, got 0."),
    ("--slurm-option account", "--slurm-option takes NAME=VALUE, got 'account'."),
    ("--table 3 --executor ray", "would disturb the times that this table measures"),
]


@pytest.mark.parametrize(("options", "sentence"), BAD)
def test_bad_values_leave_nothing(
    run_arguments: list[str], options: str, sentence: str, refused: Refused, tmp_path: Path
) -> None:
    assert sentence in refused(*run_arguments, *options.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["", "  "])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        *(("run", name) for name in ("--out", "--data-dir", "--backbone", "--corpus", "--encoder",
                                     "--editors", "--log-json", "--slurm-folder", "--ability-dir")),
        ("tables", "--export"), ("plan", "--json"), ("report", "--from"), ("figures", "--out"),
        ("results list", "--out"), ("results import", "FILE"), ("data verify", "DIR"),
        ("import-weights", "FILE|DIR"), ("world write", "DIR"),
    ],
)  # fmt: skip
def test_an_empty_value_is_refused(
    command: str, option: str, value: str, refused: Refused, tmp_path: Path
) -> None:
    given = [option, value] if option.startswith("-") else [value]
    assert f"{option}: expected a value, got none." in refused(*command.split(), *given)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("rum", "Unknown command 'rum'. Did you mean 'run'?"),
        ("", "the following arguments are required: COMMAND"),
        ("run --table 4 --measure=retention", "Table 4 takes no --measure"),
        ("run --table 2 --measure=retention", "Table 2 takes no --measure: "),
        ("run --table 3 --measure=retention", "Table 3 takes no --measure: "),
        ("run --table 2 --measure-text=x.txt", "Table 2 takes no --measure-text: "),
        ("run --table 3 --measure-text=x.txt", "Table 3 takes no --measure-text: "),
        ("plan --table 1 --measure retention", "leave --measure out"),
        ("tables --measure retention --averages", "has tables of its own and takes no --averages."),
        ("tables --measure retention --out out", "No record in out belongs to this selection"),
        ("tables --reference --measure retention", "has no cell of this selection"),
        ("run --preset paper --backbone mini-llama --device cpu", "directory with --data-dir"),
        ("stats --preset paper --device cpu", "--backbone"),
        ("data verify nowhere", "nowhere"),
        ("data verify . --datasets=,", "Available: counterfact"),
        ("data show counterfct", "'counterfact'"),
        ("train --variant no-cpt", "those of RECIPE"),
        ("train --variant no-sk", "'no-ks'"),
        ("train --variant cpt=0", "'cpt=0'"),
        ("run --index faiss --hparam recipe.index=exact", "wanted the index once."),
    ],
)
def test_bad_command_lines(command: str, sentence: str, refused: Refused) -> None:
    assert sentence in refused(*command.split())


def test_an_optional_package_that_is_missing_is_named(
    run_arguments: list[str], monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    monkeypatch.setattr("editors.parts.recipe.hparams.find_spec", lambda _: None)
    sentence = refused(*run_arguments, "--editors", "recipe", "--index", "faiss")
    assert "pip install 'lifelong-edit-bench[faiss]'" in sentence
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("path", "content", "option", "sentence"),
    [
        ("bad/zsre_mend_eval.json", '[{"src": ', "--data-dir=bad", "bad/zsre_mend_eval.json"),
        ("bert/config.json", '{"model_type": "bert"}', "--backbone=bert", "no architecture row"),
        ("out", "mine", "--out=out", "out"),
    ],
)
def test_files_that_cannot_be_used(
    run_arguments: list[str], path: str, content: str, option: str, sentence: str, refused: Refused
) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(content)
    assert sentence in refused(*run_arguments, option)
    assert [str(file) for file in Path().rglob("*") if file.is_file()] == [path]


@pytest.mark.parametrize("name", FILES | LIBRARIES)
def test_models_that_cannot_be_used(
    backbone: Path, run_arguments: list[str], name: str, refused: Refused
) -> None:
    damage, sentence = (FILES | LIBRARIES)[name]
    damage(Path(shutil.copytree(backbone, "odd")))
    at = run_arguments.index("--backbone")
    arguments = [*run_arguments[:at], "--backbone", "odd", *run_arguments[at + 2 :]]
    assert sentence in refused(*arguments)
    assert not Path("out").exists()


def test_a_layer_that_the_model_lacks_is_refused_before_any_cell(
    run_arguments: list[str], refused: Refused
) -> None:
    sentence = refused(*run_arguments, "--editors", "ft,grace", "--hparam", "grace.layer=99")
    assert "GRACE's layer is to be among the blocks 0 to 2 of tiny, got 99" in sentence
    assert not Path("out").exists()
