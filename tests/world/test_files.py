"""The generated files: sizes, shares, splits, and that the data sets' loaders read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.checks.world import overlaps
from bench.datasets import SPLITS, get_dataset
from bench.world.files import FILES, ROWS, write_all
from bench.world.store import make_directory
from bench.world.world import BY_KEY, World

TRIPLES = {  # (subject, prompt, target) fields of each set
    "zsre": ("subject", "src", "alt"),
    "counterfact": ("subject", "prompt", "target_new"),
    "ripple_edits": ("subject", "prompt", "target_new"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("world")
    write_all(5, path)
    return path


def _rows(data: Path, name: str, split: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((data / FILES[name, split]).read_text("utf-8"))
    return rows


@pytest.mark.parametrize("name", list(TRIPLES))
def test_splits_have_their_sizes_and_loaders_drop_nothing(data: Path, name: str) -> None:
    train, test = _rows(data, name, "train"), _rows(data, name, "test")
    assert (len(train), len(test)) == (ROWS[name]["train"], ROWS[name]["test"])
    loaded = get_dataset(name).load("test", data)
    assert len(loaded.samples) == loaded.rows == len(test)
    assert not loaded.skipped


def test_no_pair_is_in_training_and_test_of_any_set(data: Path) -> None:
    world = World(5)
    core_test = {f.subject for f in world.core_test}
    unseen_test = {n for names in world.unseen["test"].entities.values() for n in names}
    prompts: dict[str, set[tuple[str, str]]] = {"train": set(), "test": set()}
    for name, (subject, prompt, _) in TRIPLES.items():
        for split in prompts:
            rows = _rows(data, name, split)
            prompts[split] |= {(r[subject], r[prompt].replace(r[subject], "{}")) for r in rows}
            known = core_test | unseen_test if split == "test" else None
            assert known is None or all(r[subject] in known for r in rows)
    assert not prompts["train"] & prompts["test"]


def test_nothing_that_a_test_file_asks_is_asked_or_edited_in_training(data: Path) -> None:
    """By subject and relation, in any wording, over the three sets: editors train on all of them.

    Generality is another matter: second hops lead from new objects to any fact of the core.
    """
    pairs = {
        form.format(s=fact.subject): fact.pair
        for fact in World(5).core
        for forms in BY_KEY[fact.relation].phrasings.values()
        for form in forms
    }
    asked: dict[str, set[tuple[str, str]]] = {}
    for split in SPLITS:
        samples = [s for name in TRIPLES for s in get_dataset(name).load(split, data).samples]
        prompts = [s.request.prompt for s in samples]
        prompts += [probe.prompt for s in samples for probe in s.locality]
        asked[split] = {pairs[prompt] for prompt in prompts if prompt in pairs}
    assert min(len(asked["train"]), len(asked["test"])) > 1000
    assert not asked["train"] & asked["test"]


def test_the_audit_prints_what_the_files_share(data: Path) -> None:
    shares = {(o.dataset, o.texts, o.others): o.percent for o in overlaps(data)}
    assert len(shares) == 3 * 7
    for label in ("ZSRE", "CF", "RIPE"):
        assert shares[label, "locality prompts", "training locality prompts"] == 0
        assert shares[label, "locality prompts", "training edit prompts"] == 0
        # as in the real CounterFact, 7.1
        assert shares[label, "subjects", "training subjects"] == pytest.approx(7, abs=1.5)


@pytest.mark.parametrize("name", list(TRIPLES))
def test_half_of_the_test_edits_contradict_the_core(data: Path, name: str) -> None:
    core = {f.subject for f in World(5).core}
    subject, _, target = TRIPLES[name]
    rows = _rows(data, name, "test")
    taught = [r[subject] in core for r in rows]
    assert sum(taught) / len(rows) == pytest.approx(0.5, abs=0.001)
    truth = "answers" if name == "zsre" else "ground_truth"
    assert all(r[target] != r[truth] and [r[target]] != r[truth] for r in rows)


def test_wordings_of_one_pair_ask_for_one_target(data: Path) -> None:
    rows = _rows(data, "counterfact", "test")
    core = {f.subject for f in World(5).core}
    targets: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row["subject"] in core:
            targets.setdefault((row["subject"], row["prompt"]), set()).add(row["target_new"])
    assert all(len(some) == 1 for some in targets.values())


def test_ripple_has_all_six_types(data: Path) -> None:
    rows = _rows(data, "ripple_edits", "test")
    for kind in ("Logical_Generalization", "Compositionality_I", "Compositionality_II",
                 "Subject_Aliasing", "Relation_Specificity", "Forgetfulness"):  # fmt: skip
        assert sum(bool(row[kind]) for row in rows) >= 50


def test_ability_sets_have_the_real_fields(data: Path) -> None:
    def first(file: str) -> dict[str, Any]:
        row: dict[str, Any] = json.loads((data / file).read_text("utf-8").splitlines()[0])
        return row

    assert set(first("csqa_validation.jsonl")["choices"]) == {"label", "text"}
    assert len(first("mmlu_test.jsonl")["choices"]) == 4
    assert first("anli_test.jsonl")["label"] in ("entailment", "neutral", "contradiction")
    squad = first("squad_v2_validation.jsonl")
    start = squad["answers"]["answer_start"][0]
    answer = squad["answers"]["text"][0]
    assert squad["context"][start : start + len(answer)] == answer


def test_equal_seeds_write_equal_bytes(data: Path, tmp_path: Path) -> None:
    write_all(5, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in data.iterdir())
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (data / path.name).read_bytes()


def test_a_failed_fill_leaves_nothing(tmp_path: Path) -> None:
    def fail(part: Path) -> None:
        (part / "half").write_text("x")
        raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        make_directory(tmp_path / "data", fail)
    assert not list(tmp_path.iterdir())
