"""The commands `stats` and `train`: from texts and data files to what editors read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.checks.contract.tiny import write_encoder
from bench.cli.main import main
from bench.core.config import RunConfig
from bench.core.grids import variant
from bench.models.resources import UntrainedEditorError, sources_for
from bench.runner.planning import Planner, points
from editors.parts.artefact import read_header
from editors.parts.recipe.hparams import RecipeHparams
from editors.registry import Bundle
from tests.cli.commands import Cli, Refused
from tests.datasets.example_rows import counterfact_row, write, zsre_row
from tests.support.tiny_files import save_tiny

SMALL = (
    "representation_width=16 sentinel_length=2 batch_size=4 checkpoint_interval=2 "
    "schedule=joint ramp_start=0 ramp_end=0 held_out=2"
)


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    """A backbone, an encoder, data files in the published forms, and an output directory."""
    data, names = tmp_path / "data", [f"Arl{number}" for number in range(20)]
    zsre = [zsre_row(subject=name, src=f"Where is {name}?", alt=f"in {name}") for name in names]
    write(data, "zsre", "train", zsre)
    facts = [counterfact_row(subject=name, prompt=f"{name} speaks") for name in names]
    write(data, "counterfact", "train", facts)
    return {
        "backbone": save_tiny("llama", tmp_path / "tiny-model"),
        "encoder": write_encoder(tmp_path / "encoder"),
        "data-dir": data,
        "out": tmp_path / "out",
    }


def command(paths: dict[str, Path], *more: str) -> list[str]:
    hparams = [f"--hparam={pair}" for pair in SMALL.split()]
    where = [f"--{name}={path}" for name, path in paths.items()]
    sets = "--datasets=zsre,cf"
    return ["train", "--editor", "recipe", sets, "--iterations", "4", *hparams, *where, *more]


def test_a_variant_is_trained_beside_the_preset_and_chosen_by_its_hyper_parameters(
    paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(paths["out"].parent)
    del paths["out"]
    arguments = command(paths)
    arguments[1:3] = ["--variant", "cpt=4"]
    assert main(arguments) == 0
    path = Path("artefacts/cpt=4/recipe-tiny-model.safetensors")
    assert read_header(path)["hparams"]["prompt_length"] == 4

    def artefact(**changes: object) -> Path | None:
        hparams = RecipeHparams.from_dict(read_header(path)["hparams"] | changes)
        return sources_for(
            "recipe",
            "tiny-model",
            hparams,
            dataset="zsre",
            config=RunConfig(encoder=str(paths["encoder"])),
            changed=frozenset(changes),
        ).artefact

    assert artefact(prompt_length=4) == path
    assert artefact(prompt_length=4, prompts="words") == path  # the same weights
    for changes in ({"prompt_length": 3}, {"gate": "threshold"}, {"batch_size": 5}):
        with pytest.raises(UntrainedEditorError):
            artefact(**changes)
    shipped = Path("artefacts/recipe-tiny-model.safetensors")
    shipped.write_bytes(path.read_bytes())
    with pytest.raises(UntrainedEditorError, match="--variant no-ks"):
        artefact(**variant("no-ks").hparams)


def test_an_artefact_and_a_report_are_written(paths: dict[str, Path], cli: Cli) -> None:
    shown = cli(*command(paths))
    assert shown.code == 0
    artefact = paths["out"] / "recipe-tiny-model.safetensors"
    report = json.loads(artefact.with_suffix(".report.json").read_text("utf-8"))
    assert {path.name for path in paths["out"].iterdir()} == {
        artefact.name,
        "recipe-tiny-model.report.json",
    }
    header = read_header(artefact)
    assert report["hparams"] == header["hparams"]
    assert report["hparams"]["iterations"] == 4
    assert report["hparams"]["batch_size"] == 4
    assert header["data"].keys() == {"zsre", "counterfact"}
    assert report["provenance"]["seconds"]["train"] > 0
    assert len(report["artefact"]["sha256"]) == 64
    assert report["search_space"] == {"iteration": [2, 4]}
    assert "zsre, 2 held-out training edits at once: reliability" in shown.out
    assert "step" not in shown.err  # no progress line in a pipe


@pytest.mark.parametrize(
    ("editor", "hparams", "together"),
    [
        ("mend", {"rank": 4, "batch_size": 2, "checkpoint_interval": 2}, "1 at a time"),
        ("lte", {"batch_size": 4, "checkpoint_interval": 1, "calibration": 10}, "at once"),
    ],
)
def test_other_editors_are_trained_by_the_same_command(
    paths: dict[str, Path], cli: Cli, editor: str, hparams: dict[str, int], together: str
) -> None:
    if editor == "mend":  # it needs none
        del paths["encoder"]
    where = [f"--{name}={path}" for name, path in paths.items()]
    changes = [f"--hparam={name}={value}" for name, value in (hparams | {"held_out": 2}).items()]
    run = ["train", "--editor", editor.upper(), "--datasets=zsre,cf", "--iterations=2"]
    shown = cli(*run, *changes, *where)
    assert shown.code == 0
    artefact = paths["out"] / f"{editor}-tiny-model.safetensors"
    header = read_header(artefact)
    assert (header["editor"], header["selected_iteration"] in (1, 2)) == (editor, True)
    assert artefact.with_suffix(".report.json").is_file()
    assert f"counterfact, 2 held-out training edits {together}: reliability" in shown.out
    if editor == "mend":
        assert "2: running_loss" in shown.err  # a line at the checkpoint


def test_weights_of_one_bundle_are_not_taken_for_those_of_the_other(
    paths: dict[str, Path], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(paths["out"].parent)
    del paths["out"]
    path = Path("artefacts/lte-tiny-model.safetensors")
    where = [f"--{name}={given}" for name, given in paths.items()]
    train = ["train", "--editor=lte", "--datasets=zsre,cf", "--hparam=held_out=2", *where]

    def artefact(bundle: Bundle) -> Path | None:
        config = RunConfig(
            editors=("lte",),
            edits=(1,),
            bundle=bundle,
            encoder=f"lte={paths['encoder']}",
            backbone=str(paths["backbone"]),
            data_dir=paths["data-dir"],
        )
        return Planner(config).sources(points(config)[0]).artefact

    assert cli(*train, "--bundle=paper").code == 0
    header = read_header(path)["hparams"]
    assert (header["epochs"], header["iterations"], header["warmup"]) == (3, 1, 0.03)
    assert artefact("paper") == path
    with pytest.raises(UntrainedEditorError, match=r"learning_rate=5e-06, .*warmup=0\.0"):
        artefact("original")


def test_one_artefact_for_each_data_set(paths: dict[str, Path]) -> None:
    assert main(command(paths, "--train-on", "each")) == 0
    names = {path.name for path in paths["out"].glob("*.safetensors")}
    assert names == {f"recipe-tiny-model-{key}.safetensors" for key in ("zsre", "counterfact")}


def test_only_overwrite_trains_again(paths: dict[str, Path], cli: Cli) -> None:
    assert cli(*command(paths)).code == 0
    artefact = paths["out"] / "recipe-tiny-model.safetensors"
    written = artefact.stat().st_mtime_ns
    again = cli(*command(paths))
    assert (again.code, artefact.stat().st_mtime_ns) == (0, written)
    assert "--overwrite" in again.err
    other = cli(*command(paths, "--hparam=learning_rate=0.1"))
    assert other.code == 2
    assert "belongs to another training run" in other.err
    assert cli(*command(paths, "--overwrite", "--hparam=learning_rate=0.1")).code == 0
    assert read_header(artefact)["hparams"]["learning_rate"] == 0.1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--editor", "recpie"], "'recipe'"),
        (["--editor", "ft"], "FT has no weights to train"),
        (["--hparam", "batch_sise=3"], "'batch_size'"),
        (["--hparam", "batch_size"], "NAME=VALUE"),
        (["--iterations", "0"], "at least 1"),
        (["--datasets", "zsrf"], "'zsrf'"),
        (["--encoder", "nowhere"], "'nowhere'"),
        (["--backbone", "./nowhere"], "nowhere"),
        (["--preset", "paper", "--device", "cpu", "--backbone", "lama"], "lama"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_file(
    paths: dict[str, Path], refused: Refused, arguments: list[str], named: str
) -> None:
    assert named in refused(*command(paths), *arguments)
    assert not paths["out"].exists()


# ---- stats ---------------------------------------------------------------------------------------


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / "cache"))
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("The sky is blue.\nThe sea is wide.\n" * 20, encoding="utf-8")
    backbone = save_tiny("gpt2", tmp_path / "tiny")
    return ["--backbone", str(backbone), "--corpus", "texts", "--documents", "30"]


def test_it_prints_its_counts_and_computes_once(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    shown = cli("stats", *arguments, "--layers", "2,0")
    assert [line[:23] for line in shown.out.splitlines()] == [
        f"layer {layer}: 30 documents, " for layer in (0, 2)
    ]
    assert shown.err == ""
    monkeypatch.setattr(
        "editors.parts.covariance.KeyMoments", lambda *_, **__: pytest.fail("again")
    )
    assert cli("stats", *arguments, "--layers", "0,2") == shown


def test_a_run_reads_the_statistics_of_the_editors_own_layers(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    write(tmp_path / "data", "counterfact", "test", [counterfact_row()] * 2)
    assert cli("stats", *arguments).code == 0
    monkeypatch.setattr(
        "editors.parts.covariance.KeyMoments", lambda *_, **__: pytest.fail("again")
    )
    run = ["run", "--editors", "rome", "--datasets", "cf", "--edits", "1", "--limit", "1"]
    run += ["--data-dir", "data", "--jobs", "1", "--metrics", "teacher_forced", "--out", "out"]
    assert cli(*run, *arguments).code == 0


@pytest.mark.parametrize("layers", ["3", "-1", "one", ",", "0,3"])
def test_layers_that_are_not_there(arguments: list[str], layers: str, refused: Refused) -> None:
    assert "from 0 to 2" in refused("stats", *arguments, f"--layers={layers}")
