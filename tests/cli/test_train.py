"""The `train` command, from data files to an artefact with its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.checks.contract.tiny import tiny_llama, write_encoder
from bench.cli.main import main
from bench.core.config import RunConfig
from bench.models.resources import UntrainedEditorError, sources_for
from editors.parts.artefact import read_header
from editors.parts.recipe.hparams import RecipeHparams

SMALL = {
    "representation_width": 16,
    "sentinel_length": 2,
    "batch_size": 4,
    "checkpoint_interval": 2,
    "schedule": "joint",
    "ramp_start": 0,
    "ramp_end": 0,
    "held_out": 2,
}


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    """A backbone, an encoder, data files in the published forms, and an output directory."""
    lm = tiny_llama()
    backbone = tmp_path / "tiny-model"
    lm.model.save_pretrained(backbone)
    lm.tokenizer.save_pretrained(backbone)
    data = tmp_path / "data"
    data.mkdir()
    _write(data / "zsre_mend_train.json", [_zsre(number) for number in range(20)])
    _write(data / "counterfact-train.json", [_counterfact(number) for number in range(20)])
    encoder = write_encoder(tmp_path / "encoder")
    return {"backbone": backbone, "encoder": encoder, "data-dir": data, "out": tmp_path / "out"}


def _zsre(number: int) -> dict[str, Any]:
    return {
        "subject": f"Arl{number}",
        "src": f"Where is Arl{number}?",
        "alt": f"place {number}",
        "rephrase": f"Arl{number}, where is it?",
        "loc": f"nq question: what is {number}",
        "loc_ans": "a number",
    }


def _counterfact(number: int) -> dict[str, Any]:
    return {
        "case_id": number,
        "subject": f"Bem{number}",
        "prompt": f"Bem{number} speaks",
        "target_new": "Latin",
        "ground_truth": "Greek",
        "rephrase_prompt": f"The language of Bem{number} is",
        "locality_prompt": f"Cus{number} speaks",
        "locality_ground_truth": "Greek",
    }


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(rows), encoding="utf-8")


def command(paths: dict[str, Path], *more: str, **changes: Any) -> list[str]:
    hparams = [f"--hparam={name}={value}" for name, value in (SMALL | changes).items()]
    where = [f"--{name}={path}" for name, path in paths.items()]
    sets = "--datasets=zsre,cf"
    return ["train", "--editor", "recipe", sets, "--iterations", "4", *hparams, *where, *more]


def test_a_variant_is_trained_beside_the_preset_and_found_by_its_hyper_parameters(
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
        artefact(gate="threshold")


@pytest.mark.parametrize(
    ("name", "named"), [("no-cpt", "those of RECIPE"), ("no-sk", "'no-ks'"), ("cpt=0", "'cpt=0'")]
)
def test_variants_that_cannot_be_trained_are_refused(
    name: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--variant", name]) == 2
    assert named in capsys.readouterr().err


def test_an_artefact_and_a_report_are_written(
    paths: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(paths)) == 0
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
    shown = capsys.readouterr()
    assert "zsre, 2 held-out training edits at once: reliability" in shown.out
    assert "step" not in shown.err  # no progress line in a pipe


def test_an_editor_without_an_encoder_asks_for_none(
    paths: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    del paths["encoder"]
    small = {"rank": 4, "batch_size": 2, "held_out": 2, "checkpoint_interval": 2}
    arguments = [f"--hparam={name}={value}" for name, value in small.items()]
    where = [f"--{name}={path}" for name, path in paths.items()]
    command = ["train", "--editor", "mend", "--datasets=zsre,cf", "--iterations=2"]
    assert main([*command, *arguments, *where]) == 0
    header = read_header(paths["out"] / "mend-tiny-model.safetensors")
    assert header["selected_iteration"] == 2
    shown = capsys.readouterr()
    assert "zsre, 2 held-out training edits 1 at a time: reliability" in shown.out
    assert "2: running_loss" in shown.err  # a line at the checkpoint


def test_one_artefact_for_each_data_set(paths: dict[str, Path]) -> None:
    assert main(command(paths, "--train-on", "each")) == 0
    names = {path.name for path in paths["out"].glob("*.safetensors")}
    assert names == {f"recipe-tiny-model-{key}.safetensors" for key in ("zsre", "counterfact")}


def test_the_same_command_changes_nothing_and_overwrite_trains_again(
    paths: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(paths)) == 0
    artefact = paths["out"] / "recipe-tiny-model.safetensors"
    written = artefact.stat().st_mtime_ns
    assert main(command(paths)) == 0
    assert artefact.stat().st_mtime_ns == written
    assert "--overwrite" in capsys.readouterr().err
    assert main(command(paths, learning_rate=0.1)) == 2
    assert "belongs to another training run" in capsys.readouterr().err
    assert main(command(paths, "--overwrite", learning_rate=0.1)) == 0
    assert read_header(artefact)["hparams"]["learning_rate"] == 0.1


def test_a_follower_is_trained_by_the_same_command(
    paths: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    where = [f"--{name}={path}" for name, path in paths.items()]
    small = ("batch_size=4", "checkpoint_interval=1", "held_out=2", "calibration=10")
    hparams = [f"--hparam={assignment}" for assignment in small]
    command = ["train", "--editor", "LTE", "--datasets=zsre,cf", "--iterations=2"]
    assert main([*command, *hparams, *where]) == 0
    artefact = paths["out"] / "lte-tiny-model.safetensors"
    header = read_header(artefact)
    assert header["editor"] == "lte"
    assert artefact.with_suffix(".report.json").is_file()
    shown = capsys.readouterr()
    assert "counterfact, 2 held-out training edits at once: reliability" in shown.out


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
    paths: dict[str, Path], capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    try:
        code = main([*command(paths), *arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    shown = capsys.readouterr()
    assert code == 2
    assert named in shown.err
    assert shown.err.count("\n") == 1
    assert not paths["out"].exists()
