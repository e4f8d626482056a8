"""Sources of what editors need: which files are taken, their digests, and how they are loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench.checks.contract.tiny import CONTEXT, tiny_llama, write_encoder
from bench.core.config import RunConfig
from bench.core.names import ENCODER
from bench.models import key_statistics, resources
from bench.models.key_statistics import open_corpus
from bench.models.resources import (
    Sources,
    TrainingEdits,
    encoder_directory,
    encoder_named,
    resources_for,
    sources_for,
)
from editors import registry
from editors.parts.artefact import write_artefact
from editors.parts.covariance import second_moments
from editors.recipe import RecipeEditor
from editors.rome import RomeHparams
from tests.datasets.other_rows import uniedit_row
from tests.support.odd_models import POINTER, Damage, beside, content, entry

LINES = ["The first document.", "", "The second one is longer than that.", "A third."] * 4
ROME = RomeHparams(layer=1, context_lengths=(4, 5))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache" / "statistics"


def of_rome(model: str, config: RunConfig) -> Sources:
    return sources_for("rome", model, ROME, dataset="cf", config=config)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "corpus.txt"
    path.parent.mkdir()
    path.write_text("\n".join(LINES), encoding="utf-8")
    return path


def test_rome_gets_the_covariance_of_its_layer_and_its_templates(corpus: Path) -> None:
    lm = tiny_llama()
    loaded = resources_for(lm, ROME, Sources(corpus=open_corpus(str(corpus))), seed=5)
    texts = [line for line in LINES if line]
    (moment,) = second_moments(tiny_llama(), texts, (1,), max_length=CONTEXT).values()
    assert loaded.covariance is not None
    assert torch.equal(loaded.covariance(1), moment.matrix.float())
    assert len(loaded.templates) == 3
    assert loaded.seed == 5


def test_an_editor_that_needs_nothing_gets_nothing(cache: Path) -> None:
    hparams = registry.hparams_for("ft", "mini-llama")
    sources = sources_for("ft", "mini-llama", hparams, dataset="zsre")
    assert sources == Sources()
    loaded = resources_for(tiny_llama(), hparams, sources)
    assert (loaded.covariance, loaded.templates) == (None, ("{}",))
    assert not cache.exists()


def test_training_edits_are_beside_the_test_split(tmp_path: Path) -> None:
    row = {"subject": "S", "prompt": "S is", "target_new": "new", "rephrase_prompt": "So S is"}
    rows = [row | {"locality_prompt": "It is", "locality_ground_truth": "old"}]
    content = json.dumps(rows)
    for name in ("counterfact-train.json", "counterfact-edit.json"):
        (tmp_path / name).write_text(content, encoding="utf-8")
    config = RunConfig(data_dir=tmp_path)
    wise = registry.hparams_for("wise", "mini-llama")
    sources = sources_for("wise", "mini-llama", wise, dataset="cf", config=config)
    assert sources.training is not None
    assert set(sources.digests()) == {"training"}
    loaded = resources_for(tiny_llama(), RomeHparams(layer=1, mode="easyedit"), sources)
    assert loaded.training is not None
    (sample,) = loaded.training()
    assert sample.request.target == "new"
    with pytest.raises(FileNotFoundError, match="zsre"):
        sources_for("wise", "mini-llama", wise, dataset="zsre", config=config)


def test_templates_that_were_planned_are_read(tmp_path: Path) -> None:
    path = tmp_path / "templates.json"
    path.write_text('["{}", "So. {}"]', encoding="utf-8")
    hparams = RomeHparams(layer=1, mode="easyedit")
    loaded = resources_for(tiny_llama(), hparams, Sources(templates=path))
    assert loaded.templates == ("{}", "So. {}")
    assert set(Sources(templates=path).digests()) == {"templates"}


def test_a_named_corpus_comes_first_then_one_beside_the_data(corpus: Path, tmp_path: Path) -> None:
    other = tmp_path / "mine.txt"
    other.write_text("My own.", encoding="utf-8")
    config = RunConfig(data_dir=corpus.parent, corpus=str(other), documents=7)
    assert of_rome("gpt-j-6b", config).corpus == open_corpus(str(other), documents=7)
    config = RunConfig(data_dir=corpus.parent)
    sources = of_rome("my-model", config)
    assert sources.corpus == open_corpus(str(corpus))
    assert set(sources.digests()) == {"corpus"}
    before = sources.digests()
    corpus.write_text("Another corpus altogether.", encoding="utf-8")
    assert of_rome("my-model", config).digests() != before


def test_a_named_large_model_reads_wikipedia_and_an_embedded_one_some_of_its_worlds_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = tmp_path / "3" / "corpus.txt"
    embedded.parent.mkdir()
    embedded.write_text("A text.", encoding="utf-8")
    monkeypatch.setattr(key_statistics, "data_dir", lambda seed: tmp_path / str(seed))
    config = RunConfig(data_dir=tmp_path, world_seed=3)
    expected = open_corpus(str(embedded), tokens=key_statistics.EMBEDDED_TOKENS)
    assert of_rome("mini-gpt2", config).corpus == expected
    large = of_rome("gpt2-xl", config).corpus  # what the originals read
    assert large is not None
    assert (large.place, large.documents) == ("wikipedia", 100_000)


def test_encoders_by_name_and_by_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = write_encoder(tmp_path / "encoder")
    assert encoder_directory(str(mine)) == mine
    monkeypatch.setattr(resources, "require_assets", lambda seed, name: tmp_path / str(seed) / name)
    monkeypatch.setattr(resources, "snapshot", lambda name, *_, **__: Path("hub") / name)
    assert encoder_directory("mini-roberta", world_seed=2) == tmp_path / "2" / "mini-roberta"
    assert encoder_directory("mini-roberta") == tmp_path / "0" / "mini-roberta"
    assert encoder_directory("roberta-base") == Path("hub/FacebookAI/roberta-base")
    with pytest.raises(ValueError, match="'robrta'"):
        encoder_directory("robrta")
    with pytest.raises(FileNotFoundError, match=r"no \*\.safetensors"):
        encoder_directory(str(tmp_path))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (beside("adapter_config.json"), "holds an adapter"),
        (entry("config.json", model_type="llama"), "model_type 'llama'; wanted one of bert"),
        (entry("config.json", quantization_config={"bits": 8}), "quantised weights"),
        (content(lambda _: POINTER), "is a git-lfs pointer"),
        (content(lambda whole: whole[:-9]), "is cut short"),
        (beside("modules.json"), None),
        (lambda d: (d / "modules.json").write_text("no"), "modules.json is not valid JSON"),
        (lambda d: (d / "tokenizer.json").unlink(), "tokenizer.json is missing"),
    ],
)
def test_directories_that_are_no_encoder_are_refused_before_any_cell(
    damage: Damage, sentence: str | None, tmp_path: Path
) -> None:
    directory = write_encoder(tmp_path / "encoder")
    damage(directory)
    if sentence is None:
        assert encoder_directory(str(directory)) == directory
        return
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        encoder_directory(str(directory))


def test_an_encoder_of_an_editor_has_a_name() -> None:
    with pytest.raises(ValueError, match="--encoder rag= needs some text, got none"):
        encoder_named("rag", "mini-llama", RunConfig(encoder=("rag=",)))


@pytest.mark.parametrize(
    ("backbone", "encoder"),
    [
        ("mini-llama", ENCODER),
        ("default", ENCODER),
        ("gpt2-xl", "roberta-base"),
        ("smollm2-135m", "all-minilm-l6-v2"),
    ],
)
def test_the_encoder_of_a_backbone_where_none_is_named(backbone: str, encoder: str) -> None:
    assert encoder_named("rag", backbone, RunConfig()) == encoder
    assert encoder_named("rag", backbone, RunConfig(encoder="other")) == "other"


# Of the shipped encoder, in all records of the reference.
SHIPPED = "1dd7891c800544e27bdab0de8e71155c4669f26850d84231ee708e74c7c36136"


@pytest.mark.parametrize(
    "name", ["1_Pooling/config.json", "2_Dense/model.safetensors", "spiece.model", "vocab.txt"]
)
def test_every_file_of_an_encoder_is_part_of_its_identity(name: str, tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "encoder")
    seen = {Sources(encoder=encoder).digests()["encoder"]}
    for text in ("mean", "cls"):
        (encoder / name).parent.mkdir(exist_ok=True)
        (encoder / name).write_text(text)
        seen.add(Sources(encoder=encoder).digests()["encoder"])
    assert len(seen) == 3
    (encoder / "README.md").write_text("read by nobody")
    assert Sources(encoder=encoder).digests()["encoder"] in seen


def test_the_shipped_encoder_is_the_one_of_earlier_records() -> None:
    digests = Sources(encoder=encoder_directory(ENCODER)).digests()
    assert digests == {"encoder": SHIPPED}


def test_an_editor_that_reads_text_gets_the_corpus(corpus: Path) -> None:
    hparams = registry.hparams_for("t_patcher", "gpt2-xl")
    config = RunConfig(data_dir=corpus.parent)
    sources = sources_for("t_patcher", "gpt2-xl", hparams, dataset="cf", config=config)
    assert sources.corpus is not None
    assert sources.corpus.place == str(corpus)
    assert set(sources.digests()) == {"corpus"}
    loaded = resources_for(tiny_llama(), hparams, sources)
    assert loaded.corpus is not None
    assert list(loaded.corpus()) == [line for line in LINES if line]
    assert loaded.covariance is None


def test_trained_weights_are_found_by_data_set_then_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "require_assets", lambda _, name: tmp_path / name)
    hparams = RecipeEditor.presets["default"]

    def artefact() -> Path | None:
        return sources_for("RECIPE", "some-model", hparams, dataset="zsre").artefact

    with pytest.raises(resources.UntrainedEditorError, match="--editor recipe"):
        artefact()
    directory = tmp_path / "artefacts"
    directory.mkdir()
    for name in ("recipe-some-model.safetensors", "recipe-some-model-zsre.safetensors"):
        (directory / name).write_bytes(b"weights")
        path = artefact()
        assert path is not None
        assert path.name == name


def test_weights_of_a_training_seed_are_in_a_folder_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resources, "require_assets", lambda _, name: tmp_path / name)
    hparams = RecipeEditor.presets["default"]
    first = tmp_path / "artefacts" / "recipe-some-model.safetensors"
    other = tmp_path / "artefacts" / "seed-2" / first.name
    for path, seed in ((first, 0), (other, 2)):
        path.parent.mkdir(exist_ok=True)
        write_artefact(path, {"w": torch.zeros(1)}, {"seed": seed, "hparams": {}})

    def artefact(seed: int | None) -> Path | None:
        path = sources_for("recipe", "some-model", hparams, dataset="zsre", seed=seed).artefact
        return path and tmp_path / path

    assert [artefact(seed) for seed in (None, 0, 2)] == [first, first, other]
    with pytest.raises(resources.UntrainedEditorError, match=r"--backbone some-model --seed 3`"):
        artefact(3)
    first.unlink()
    with pytest.raises(resources.UntrainedEditorError):  # another seed's are no substitute
        artefact(None)


def test_files_that_changed_after_planning_are_refused(tmp_path: Path) -> None:
    path, encoder = tmp_path / "trained.safetensors", write_encoder(tmp_path / "encoder")
    path.write_bytes(b"first")
    sources = Sources(artefact=path, encoder=encoder)
    planned = sources.digests()
    assert set(planned) == {"artefact", "encoder"}
    sources.check(planned)
    sources.check({})  # sources that a plan does not name are not compared
    for kind, file in (("artefact", path), ("encoder", encoder / "config.json")):
        before = file.read_bytes()
        file.write_bytes(before + b" ")
        with pytest.raises(ValueError, match=f"{kind} has changed"):
            sources.check(planned)
        file.write_bytes(before)


def test_training_edits_in_parts_are_read_and_have_a_digest(tmp_path: Path) -> None:
    def digest() -> str:
        return Sources(training=edits).digests()["training"]

    edits = TrainingEdits(dataset="uniedit", path=tmp_path)
    (tmp_path / "agronomy.json").write_text(json.dumps({"id0": uniedit_row()}), encoding="utf-8")
    first = digest()
    assert len(edits.samples()) == 1
    (tmp_path / "art.json").write_text(json.dumps({"id0": uniedit_row()}), encoding="utf-8")
    assert digest() != first
