"""Rows of each form become samples; whatever is not taken as it stands is counted."""

import json
from pathlib import Path
from typing import cast

import pytest

from bench.datasets import get_dataset
from bench.datasets.base import (
    EMPTY_PROBE,
    EMPTY_PROMPT,
    EMPTY_TARGET,
    NO_SUBJECT,
    OTHER_CASE,
    UNPROBED,
    Split,
)
from editors.base import EditRequest, EditSample, Probe
from tests.datasets.example_rows import counterfact_row, probe, ripe_row, write, zsre_row

ZSRE_SAMPLE = EditSample(
    id="zsre/test/0",
    request=EditRequest(prompt="Where was Lumo Vand born?", target="Port Esk", subject="Lumo Vand"),
    generality=(
        Probe(kind="rephrase", prompt="What is the birthplace of Lumo Vand?", target="Port Esk"),
    ),
    locality=(
        Probe(kind="unrelated", prompt="nq question: who wrote the tin harp", target="Sela Marr"),
    ),
)
COUNTERFACT_SAMPLE = EditSample(
    id="counterfact/train/0",
    request=EditRequest(
        prompt="The mother tongue of Lumo Vand is", target="Eskish", subject="Lumo Vand"
    ),
    generality=(Probe(kind="rephrase", prompt="Lumo Vand grew up speaking", target="Eskish"),),
    locality=(
        Probe(kind="neighbour", prompt="The mother tongue of Sela Marr is", target="Orrinese"),
    ),
)


@pytest.mark.parametrize(
    ("key", "split", "row", "sample"),
    [
        ("zsre", "test", zsre_row(), ZSRE_SAMPLE),
        ("counterfact", "train", counterfact_row(), COUNTERFACT_SAMPLE),
    ],
)
def test_a_row_becomes_a_sample(
    key: str, split: Split, row: dict[str, object], sample: EditSample, tmp_path: Path
) -> None:
    path = write(tmp_path, key, split, [row])
    loaded = get_dataset(key).load(split, tmp_path)
    assert loaded.samples == (sample,)
    assert (loaded.path, loaded.rows, loaded.notes()) == (path, 1, ())


def test_ripe_probes_have_their_type_and_take_the_first_target_that_is_not_empty(
    tmp_path: Path,
) -> None:
    row = ripe_row(
        Logical_Generalization=[probe("a", "", " ", "third")],
        Compositionality_II=[probe("b", "one", "two"), probe("c", "three")],
        Subject_Aliasing=[probe("d", "four")],
        Forgetfulness=[probe("e", "five")],
    )
    write(tmp_path, "ripple_edits", "test", [row])
    (sample,) = get_dataset("ripe").load("test", tmp_path).samples
    assert [(p.kind, p.prompt, p.target) for p in sample.generality] == [
        ("Logical_Generalization", "a", "third"),
        ("Compositionality_I", "The currency of the country of Lumo Vand is", "esk"),
        ("Compositionality_II", "b", "one"),
        ("Compositionality_II", "c", "three"),
        ("Subject_Aliasing", "d", "four"),
    ]
    assert [(p.kind, p.target) for p in sample.locality] == [
        ("Relation_Specificity", "Ara Vand"),
        ("Forgetfulness", "five"),
    ]


def test_ripe_items_without_a_target_are_left_out_and_counted(tmp_path: Path) -> None:
    row = ripe_row(Compositionality_II=[probe("b"), probe("c", "", "  "), probe("d", "last")])
    write(tmp_path, "ripple_edits", "test", [row])
    loaded = get_dataset("ripe").load("test", tmp_path)
    assert loaded.skipped == {EMPTY_PROBE: 2}
    assert [p.target for p in loaded.samples[0].generality] == ["esk", "last"]


@pytest.mark.parametrize("emptied", ["Compositionality_I", "Relation_Specificity"])
def test_ripe_rows_without_generality_or_locality_are_for_evaluation_only(
    emptied: str, tmp_path: Path
) -> None:
    rows = [ripe_row(), ripe_row(**{emptied: []})]
    write(tmp_path, "ripple_edits", "train", rows)
    write(tmp_path, "ripple_edits", "test", rows)
    train = get_dataset("ripe").load("train", tmp_path)
    test = get_dataset("ripe").load("test", tmp_path)
    assert [s.id for s in train.samples] == ["ripple_edits/train/0"]
    assert train.skipped == {UNPROBED: 1}
    assert len(test.samples) == 2
    assert test.skipped == {}


def test_rows_without_a_request_are_skipped_by_reason_and_ids_keep_row_numbers(
    tmp_path: Path,
) -> None:
    rows = [zsre_row(alt=""), zsre_row(alt="  "), zsre_row(src=" "), zsre_row()]
    write(tmp_path, "zsre", "test", rows)
    loaded = get_dataset("zsre").load("test", tmp_path)
    assert [s.id for s in loaded.samples] == ["zsre/test/3"]
    assert loaded.skipped == {EMPTY_TARGET: 2, EMPTY_PROMPT: 1}
    assert loaded.rows == 4
    assert loaded.notes() == (
        "skipped: 2 x row with an empty target",
        "skipped: 1 x row with an empty prompt",
    )


def test_a_subject_in_other_letters_takes_the_prompts_spelling(tmp_path: Path) -> None:
    write(tmp_path, "zsre", "test", [zsre_row(src="Where was lumo vand born?")])
    loaded = get_dataset("zsre").load("test", tmp_path)
    assert loaded.samples[0].request.subject == "lumo vand"
    assert loaded.fallbacks == {OTHER_CASE: 1}


@pytest.mark.parametrize("subject", ["Vand, Lumo", "L.mo Vand", ""])
def test_a_subject_not_in_the_question_stays_and_is_counted(subject: str, tmp_path: Path) -> None:
    write(tmp_path, "zsre", "test", [zsre_row(subject=subject), zsre_row()])
    loaded = get_dataset("zsre").load("test", tmp_path)
    assert loaded.samples[0].request.subject == subject
    assert loaded.fallbacks == {NO_SUBJECT: 1}


def test_leading_space_of_targets_is_taken_off_and_counted(tmp_path: Path) -> None:
    write(tmp_path, "zsre", "test", [zsre_row(alt=" Port Esk", loc_ans="\tSela Marr")])
    loaded = get_dataset("zsre").load("test", tmp_path)
    (sample,) = loaded.samples
    assert sample.request.target == "Port Esk"
    assert sample.generality[0].target == "Port Esk"
    assert sample.locality[0].target == "Sela Marr"
    assert loaded.trimmed == 3


def test_the_digest_is_gits_blob_id(tmp_path: Path) -> None:
    # What `git hash-object` of git 2.39.5 prints for this file.
    path = tmp_path / "zsre_mend_eval.json"
    path.write_bytes(json.dumps([zsre_row(subject="é")], ensure_ascii=False).encode())
    loaded = get_dataset("zsre").load("test", tmp_path)
    assert loaded.digest == "23088147d1434f2fefa266326ec83a9f55ac302a"


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'tests'"):
        get_dataset("zsre").load(cast(Split, "tests"), tmp_path)


def test_a_file_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "zsre", "test", [zsre_row(alt="")])
    with pytest.raises(ValueError, match=EMPTY_TARGET):
        get_dataset("zsre").load("test", tmp_path)
