"""The field's other data sets: invented rows in each one's form, and what they become."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench import datasets
from bench.cli.main import main
from bench.core.names import DATASETS
from bench.datasets import dataset_keys, get_dataset
from bench.datasets.base import NO_SUBJECT, UNSTATED, PublishedFile, Split
from bench.datasets.download import by_hand, is_fetchable, url_of
from editors.base import EditSample, Probe
from tests.cli.commands import Cli, Said
from tests.datasets.other_rows import (
    COIN,
    NATION,
    counterfact_row,
    double,
    hop,
    knowedit_row,
    mquake_row,
    qaedit_row,
    ultraeditbench_row,
    uniedit_row,
    wikibigedit_row,
)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*words: str) -> Said:
        code = main(list(words))
        return Said(code, *capsys.readouterr())

    return run


DOCS = Path(__file__).parents[2] / "docs" / "data_and_safety.md"


@dataclass(frozen=True)
class Case:
    """A data set, a row of it, and what comes of the row: `kind prompt -> target`."""

    key: str
    row: Callable[..., dict[str, Any]]
    request: str
    generality: tuple[str, ...]
    locality: tuple[str, ...]
    portability: tuple[str, ...]
    missing: str  # a field without which a row is not read
    wrong: tuple[str, object]  # a field with a value of another type


KNOWEDIT = (
    "The place of birth of Lumo Vand is -> Port Esk",
    ("rephrase Lumo Vand was born in -> Port Esk",),
    ("Relation_Specificity The mother of Lumo Vand is -> Ara Vand",),
    (
        "Reasoning Lumo Vand was born in the country -> Eskland",
        "Subject_Aliasing Lumo V. was born in -> Port Esk",
    ),
    "target_new",
    ("locality", ["none"]),
)
CASES = [
    Case(
        "uniedit",
        uniedit_row,
        "The country of Lumo Vand is -> Eskland",
        ("rephrase Lumo Vand belongs to -> Esk",),
        ("same_relation Sela Marr was born in -> Orrin",),
        ("multi_hop Vand pays in the -> esk",),
        "generality",
        ("edit", "none"),
    ),
    Case(
        "wikibigedit",
        wikibigedit_row,
        "Where does Lumo Vand live? -> Port Esk",
        (
            "rephrase In what town is Lumo Vand at home? -> Port Esk",
            "persona Hey, you know where Lumo Vand lives? -> Port Esk",
        ),
        ("neighbour Where does Sela Marr live? -> Orrin",),
        ("multi_hop In what country does Lumo Vand live? -> Eskland",),
        "mhop",
        ("ans", 5),
    ),
    Case(
        "ultraeditbench",
        ultraeditbench_row,
        "Who taught Lumo Vand? -> Ara Marr",
        ("rephrase Whose pupil was Lumo Vand? -> Ara Marr",),
        ("unrelated Where is Orrin? -> in Orria",),
        (),
        "rephrase_prompt",
        ("loc", ["where"]),
    ),
    Case(
        "qaedit",
        qaedit_row,
        "who wrote the tin harp -> Lumo Vand",
        ("rephrase Who is the author of the tin harp? -> Lumo Vand",),
        ("unrelated where is orrin -> Orria", "unrelated what do esks eat -> fish"),
        (),
        "subject",
        ("locality", "none"),
    ),
    Case(
        "mquake",
        mquake_row,
        "Lumo Vand is a citizen of -> Eskland",
        ("question Of what country is Lumo Vand? -> Eskland",),
        (),
        (
            "2_hops What is the capital of Vand's country? -> Port Esk",
            "2_hops Where does Vand's king live? -> Port Esk",
        ),
        "new_single_hops",
        ("questions", "one"),
    ),
    Case("knowedit_zsre", knowedit_row, *KNOWEDIT),
    Case("knowedit_wiki_recent", knowedit_row, *KNOWEDIT),
    Case("knowedit_wiki_counterfact", knowedit_row, *KNOWEDIT),
    Case(
        "counterfact_original",
        counterfact_row,
        "Lumo Vand speaks -> Eskish",
        (
            "rephrase It rained. Lumo Vand is fluent in -> Eskish",
            "rephrase Lumo Vand grew up with -> Eskish",
        ),
        (
            "neighbour Sela Marr speaks -> Orrish",
            "neighbour Ara Marr speaks -> Orrish",
            "attribute The king of Eskland speaks -> Eskish",
        ),
        (),
        "attribute_prompts",
        ("neighborhood_prompts", [1]),
    ),
]
every_set = pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)


def written(directory: Path, key: str, *rows: dict[str, Any], split: Split = "test") -> Path:
    """A file of a data set with these rows, by id if it is UniEdit; returns the directory."""
    file = get_dataset(key).files[split]
    path = directory / file.path / file.parts[0] if file.parts else directory / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    by_id = {f"id{number}": row for number, row in enumerate(rows)}
    path.write_text(json.dumps(by_id if key == "uniedit" else rows), encoding="utf-8")
    return directory


def read(directory: Path, key: str, *rows: dict[str, Any]) -> tuple[EditSample, ...]:
    return get_dataset(key).load("test", written(directory, key, *rows)).samples


def worded(probes: tuple[Probe, ...]) -> tuple[str, ...]:
    return tuple(f"{p.kind} {p.prompt} -> {p.target}" for p in probes)


@every_set
def test_a_row_becomes_a_request_with_its_questions(case: Case, tmp_path: Path) -> None:
    sample = read(tmp_path, case.key, case.row())[0]
    assert f"{sample.request.prompt} -> {sample.request.target}" == case.request
    assert sample.request.subject in sample.request.prompt
    assert worded(sample.generality) == case.generality
    assert worded(sample.locality) == case.locality
    assert worded(sample.portability) == case.portability


@every_set
def test_a_field_that_is_missing_or_of_another_type_is_named_with_its_row(
    case: Case, tmp_path: Path
) -> None:
    lacking = case.row()
    del lacking[case.missing]
    number = "id1" if case.key == "uniedit" else 1
    with pytest.raises(
        ValueError, match=f"row {number}, field '{case.missing}': wanted .* no such"
    ):
        read(tmp_path, case.key, case.row(), lacking)
    field, value = case.wrong
    with pytest.raises(ValueError, match=rf"row {number}, field '{field}'.*: wanted .*, got "):
        read(tmp_path, case.key, case.row(), case.row(**{field: value}))


@every_set
def test_it_is_declared_shown_and_documented(case: Case, cli: Cli) -> None:
    dataset = get_dataset(case.key)
    assert dataset.revision == UNSTATED or len(dataset.revision) == 40
    shown = cli("data", "show", case.key).out
    for text in (dataset.source, dataset.revision, dataset.licence, dataset.citation):
        assert text
        assert text in shown
    assert by_hand(dataset) in shown
    assert ("data fetch" in shown) == is_fetchable(dataset)
    rows = [f"{file.rows:,}" for file in dataset.files.values()]
    (line,) = (line for line in DOCS.read_text("utf-8").splitlines() if f"| `{case.key}` |" in line)
    for text in (dataset.source, dataset.licence, " / ".join(rows)):
        assert text in line


def test_none_is_there_unless_it_is_named(cli: Cli) -> None:
    keys = [case.key for case in CASES]
    assert set(datasets._shipped()) == {*DATASETS, *keys}
    assert dataset_keys() == DATASETS
    listed = cli("list").out
    assert all(get_dataset(key).label in listed for key in keys)
    spelt = {"mquake-cf-3k-v2": "mquake", "CF-original": "counterfact_original"}
    assert {name: get_dataset(name).key for name in spelt} == spelt


def test_uniedits_questions_of_several_facts_have_the_others_as_hops(tmp_path: Path) -> None:
    back = NATION | {"reverse_in_multi_hop": True}
    twin = hop(["e_1", "r_1", "t_e"], "Sela Marr is a citizen of", "Eskland")
    questions = {
        "0": {"path_type": "single", "prompt": "Its citizen is", "target": "x", "one_hops": [back]},
        "1": double([NATION], [twin]),
    }
    kept = double([twin], [COIN], loc_type="none")
    row = uniedit_row(generality=questions, locality={"0": kept})
    (plain, sample) = read(tmp_path, "uniedit", uniedit_row(), row)
    assert plain.id == "uniedit/test/id0"
    assert plain.aliases == ("Esk",)
    assert plain.generality[0].aliases == ("Eskland",)
    assert plain.portability[0].hops == (("The coin of Eskland is the", "esk"),)
    assert worded(sample.portability) == (
        "relation_reversal Its citizen is -> x",
        "same_entity Are they one? The answer is (Yes/No): -> Yes",
    )
    assert [p.hops for p in sample.portability] == [(), (("Sela Marr is a citizen of", "Eskland"),)]
    assert worded(sample.locality) == ("unrelated Are they one? The answer is (Yes/No): -> Yes",)


def test_an_object_that_is_no_entity_has_no_aliases(tmp_path: Path) -> None:
    edit = uniedit_row()["edit"] | {"tail_entity": {"datatype": "quantity", "value": {"amount": 2}}}
    (sample,) = read(tmp_path, "uniedit", uniedit_row(edit=edit))
    assert sample.aliases == ()


def test_every_edit_of_mquake_has_all_questions_and_the_other_facts_as_hops(tmp_path: Path) -> None:
    first, second = read(tmp_path, "mquake", mquake_row())
    assert [first.id, second.id] == ["mquake/test/0-0", "mquake/test/0-1"]
    assert second.request.prompt == "The capital of Eskland is"
    assert (first.aliases, second.aliases) == (("Esk",), ())
    assert first.generality[0].aliases == ("Esk",)
    assert {p.aliases for p in first.portability} == {("Esk Harbour",)}
    assert {p.hops for p in first.portability} == {
        (("What is the capital of Eskland?", "Port Esk"),)
    }
    assert {p.hops for p in second.portability} == {(("Of what country is Lumo Vand?", "Eskland"),)}
    (alone,) = read(
        tmp_path, "mquake", mquake_row(requested_rewrite=mquake_row()["requested_rewrite"][:1])
    )
    assert alone.id == "mquake/test/0"


def test_knowedits_answers_are_texts_or_lists_and_its_fields_may_be_absent(tmp_path: Path) -> None:
    bare = knowedit_row(rephrase_prompt="Vand's town of birth is")
    for field in ("rephrase", "portability"):
        del bare[field]
    sample, other = read(tmp_path, "knowedit_zsre", knowedit_row(), bare)
    assert [p.aliases for p in sample.portability] == [(), ("Esk Harbour",)]
    assert worded(other.generality) == ("rephrase Vand's town of birth is -> Port Esk",)
    assert other.portability == ()
    locality = {"Forgetfulness": [{"prompt": "It is", "ground_truth": [[5]]}]}
    with pytest.raises(ValueError, match=r"row 0, field 'locality', .*item 0, .*the number 5\."):
        read(tmp_path, "knowedit_zsre", knowedit_row(locality=locality))


def test_counterfact_and_mquake_name_the_former_answer(tmp_path: Path) -> None:
    (sample,) = read(tmp_path, "counterfact_original", counterfact_row())
    assert sample.former == counterfact_row()["requested_rewrite"]["target_true"]["str"]
    own = mquake_row()["requested_rewrite"][0]["target_true"]["str"]
    assert read(tmp_path, "mquake", mquake_row())[0].former == own


def test_few_rows_of_wikibigedit_have_a_multi_hop_question(tmp_path: Path) -> None:
    row = wikibigedit_row(mhop=None, mhop_ans=None, ans=None)
    written(tmp_path, "wikibigedit", wikibigedit_row(mhop=None, mhop_ans=None), row)
    loaded = get_dataset("wikibigedit").load("test", tmp_path)
    (sample,) = loaded.samples
    assert sample.portability == ()
    assert loaded.skipped == {"row with an empty target": 1}


def test_the_parts_of_a_split_are_read_in_order(tmp_path: Path) -> None:
    dataset = get_dataset("wikibigedit")
    first, second, *_ = dataset.files["test"].parts
    for name, town in ((second, "Orrin"), (first, "Port Esk")):
        (tmp_path / name).write_text(json.dumps([wikibigedit_row(ans=town)]))
    loaded = dataset.load("test", tmp_path)
    assert [sample.request.target for sample in loaded.samples] == ["Port Esk", "Orrin"]
    assert [s.id for s in loaded.samples] == [
        f"wikibigedit/test/{Path(name).stem}-0" for name in (first, second)
    ]
    (tmp_path / second).write_text(json.dumps([wikibigedit_row(ans="Esk Town")]))
    assert dataset.load("test", tmp_path).digest != loaded.digest
    (tmp_path / "more").mkdir()
    (tmp_path / first).rename(tmp_path / "more" / first)
    with pytest.raises(ValueError, match="Several files under"):
        dataset.load("test", tmp_path)


def test_folders_of_equal_file_names_are_not_mistaken(tmp_path: Path) -> None:
    written(tmp_path, "uniedit", uniedit_row(), uniedit_row(), split="train")
    dataset = get_dataset("uniedit")
    with pytest.raises(FileNotFoundError, match=r"No test/agronomy\.json and 24 others in "):
        dataset.load("test", tmp_path)
    written(tmp_path, "uniedit", uniedit_row())
    assert [dataset.load(split, tmp_path).rows for split in ("train", "test")] == [2, 1]
    assert dataset.load("test", tmp_path / "test").rows == 1


def test_a_subject_that_is_not_in_its_question_is_counted(tmp_path: Path) -> None:
    written(tmp_path, "ultraeditbench", ultraeditbench_row(subject="Vando"))
    loaded = get_dataset("ultraeditbench").load("test", tmp_path)
    assert loaded.fallbacks == {NO_SUBJECT: 1}


def test_files_without_a_known_hash_are_refused_by_fetch_and_said_by_verify(
    tmp_path: Path, cli: Cli
) -> None:
    said = cli("data", "fetch", "uniedit", "--to", str(tmp_path / "new"))
    assert said.code == 2
    assert "hf download qizhou/UniEdit --repo-type dataset --revision 8b69deb" in said.err
    assert not (tmp_path / "new").exists()
    written(tmp_path, "counterfact_original", counterfact_row())
    said = cli("data", "verify", str(tmp_path), "--datasets", "counterfact_original")
    assert said.code == 0
    assert "partial" in said.out
    assert "21,918 rows fewer than the published file" in said.out


def test_files_with_a_known_hash_are_fetched_from_their_own_repository() -> None:
    fetchable = [case.key for case in CASES if is_fetchable(get_dataset(case.key))]
    assert fetchable == ["qaedit", "mquake"]
    mquake = get_dataset("mquake")
    assert url_of(mquake, mquake.files["test"]) == (
        "https://raw.githubusercontent.com/princeton-nlp/MQuAKE/"
        "fb43dadc2d8cd19d08ce81c63d957b59deb3f3cd/datasets/MQuAKE-CF-3k-v2.json"
    )


def test_a_file_with_all_rows_and_no_known_hash_is_unverified(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = PublishedFile(path="counterfact.json", rows=1)
    monkeypatch.setattr(type(get_dataset("cf-original")), "files", {"test": file})
    written(tmp_path, "counterfact_original", counterfact_row())
    said = cli("data", "verify", str(tmp_path), "--datasets", "counterfact_original")
    assert said.code == 0
    assert "unverified" in said.out
    assert "no hash of the published file is known" in said.out


def test_data_that_are_not_there_are_said_to_be_published_elsewhere(cli: Cli) -> None:
    said = cli("run", "--datasets", "mquake", "--editors", "ft", "--edits", "1", "--limit", "1")
    assert said.code == 2
    assert "No MQuAKE-CF-3k-v2.json" in said.err
    assert "`python -m bench data show mquake` says where it is published." in said.err


def test_a_set_without_a_training_split_says_so(tmp_path: Path, cli: Cli) -> None:
    written(tmp_path, "qaedit", qaedit_row())
    selection = ["--datasets", "qaedit", "--data-dir", str(tmp_path), "--edits", "1"]
    said = cli("run", "--editors", "ike", *selection, "--out", str(tmp_path / "results"))
    assert said.code == 2
    assert "QAEdit has no train split" in said.err
