"""Files are found, and their rows become samples; whatever does not is counted or refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import cast

import pytest

from bench.datasets import SPLITS, Split, get_dataset
from bench.datasets.base import (
    EMPTY_PROBE,
    EMPTY_PROMPT,
    EMPTY_TARGET,
    NO_SUBJECT,
    OTHER_CASE,
    PART_OF_WORD,
    TRIMMED,
    UNPROBED,
    locate,
)
from bench.datasets.rows import read_rows
from editors.base import EditRequest, EditSample, Probe
from tests.datasets.example_rows import counterfact_row, probe, ripe_row, write, zsre_row

ZSRE_TEST = get_dataset("zsre").files["test"]


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[]")
    return path


@pytest.mark.parametrize(
    "place",
    [
        "zsre_mend_eval.json",
        "data/evaluation/zsre/zsre_mend_eval.json",
        "zsre/zsre_mend_eval.json",
        "zsre/zsre_mend_eval_1032_reconstructed.json",
        "RECIPE/data/evaluation/zsre/zsre_mend_eval.json",
    ],
)
def test_layouts(place: str, tmp_path: Path) -> None:
    path = touch(tmp_path / place)
    touch(tmp_path / "zsre" / "zsre_mend_train.json")
    touch(tmp_path / "zsre" / "other.json")
    assert locate(ZSRE_TEST, tmp_path) == path


def test_variant_names_of_ripe_differ_by_split(tmp_path: Path) -> None:
    paths = {
        split: touch(tmp_path / "ripe" / f"ripe_style_{split}_from_knowedit_{split}_cf.json")
        for split in SPLITS
    }
    for split, path in paths.items():
        assert locate(get_dataset("ripe").files[split], tmp_path) == path


def test_the_published_name_goes_before_a_variant_and_links_are_the_same_file(
    tmp_path: Path,
) -> None:
    touch(tmp_path / "a" / "zsre_mend_eval_small.json")
    path = touch(tmp_path / "b" / "zsre_mend_eval.json")
    (tmp_path / "c").symlink_to(tmp_path / "b")
    assert locate(ZSRE_TEST, tmp_path) == path
    touch(tmp_path / "a" / "zsre_mend_eval.json")
    with pytest.raises(ValueError, match=r"a/zsre_mend_eval.*, b/zsre_mend_eval"):
        locate(ZSRE_TEST, tmp_path)


@pytest.mark.parametrize("place", [".git/zsre_mend_eval.json", "1/2/3/4/5/zsre_mend_eval.json"])
def test_hidden_and_deep_folders_are_not_searched(place: str, tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="nowhere"):
        locate(ZSRE_TEST, tmp_path / "nowhere")
    touch(tmp_path / place)
    with pytest.raises(FileNotFoundError, match=r"^No zsre_mend_eval\.json"):
        locate(ZSRE_TEST, tmp_path)


def test_a_folder_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def closed_scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed_scandir)
    with pytest.raises(PermissionError, match="closed"):
        locate(ZSRE_TEST, tmp_path)


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
    former="Orrinese",
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
        Logical_Generalization=[probe("0"), probe("1", "", "  "), probe("a", "", " ", "third")],
        Compositionality_II=[probe("b", "one", "two"), probe("c", "three")],
        Subject_Aliasing=[probe("d", "four")],
        Forgetfulness=[probe("e", "five")],
    )
    write(tmp_path, "ripple_edits", "test", [row])
    loaded = get_dataset("ripe").load("test", tmp_path)
    (sample,) = loaded.samples
    assert loaded.skipped == {EMPTY_PROBE: 2}
    assert [(p.kind, p.prompt, p.target) for p in sample.generality] == [
        ("Logical_Generalization", "a", "third"),
        ("Compositionality_I", "The currency of the country of Lumo Vand is", "esk"),
        ("Compositionality_II", "b", "one"),
        ("Compositionality_II", "c", "three"),
        ("Subject_Aliasing", "d", "four"),
    ]
    by_prompt = {p.prompt: p.aliases for p in sample.generality if p.aliases}
    assert by_prompt == {
        "The currency of the country of Lumo Vand is": ("ESK",), "b": ("two",),
    }  # fmt: skip
    assert [(p.kind, p.target) for p in sample.locality] == [
        ("Relation_Specificity", "Ara Vand"),
        ("Forgetfulness", "five"),
    ]


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
        "skipped: 2 x row with an empty target (row 0, 1)",
        "skipped: 1 x row with an empty prompt (row 2)",
    )


@pytest.mark.parametrize(
    ("change", "subject", "reason"),
    [
        ({"src": "Where was lumo vand born?"}, "lumo vand", OTHER_CASE),  # as the prompt has it
        ({"src": "Where was Lumo Vandor born?"}, "Lumo Vand", PART_OF_WORD),
        *(({"subject": odd}, odd, NO_SUBJECT) for odd in ("Vand, Lumo", "L.mo Vand", "")),
    ],
)
def test_a_subject_that_is_not_in_the_prompt_is_counted(
    change: dict[str, str], subject: str, reason: str, tmp_path: Path
) -> None:
    write(tmp_path, "zsre", "test", [zsre_row(**change), zsre_row()])
    loaded = get_dataset("zsre").load("test", tmp_path)
    assert loaded.samples[0].request.subject == subject
    assert loaded.fallbacks == {reason: 1}


def test_white_space_around_targets_is_taken_off_and_counted(tmp_path: Path) -> None:
    write(tmp_path, "zsre", "test", [zsre_row(alt=" Port Esk \n", loc_ans="\tSela Marr ")])
    loaded = get_dataset("zsre").load("test", tmp_path)
    (sample,) = loaded.samples
    assert sample.request.target == "Port Esk"
    assert sample.generality[0].target == "Port Esk"
    assert sample.locality[0].target == "Sela Marr"
    assert loaded.trimmed == 3


@pytest.mark.parametrize(
    ("change", "trimmed"),
    [
        ({"subject": " Lumo Vand "}, 1),
        ({"subject": "Lumo  Vand\n"}, 1),
        ({"src": "Lumo Vand was born in ", "rephrase": "Lumo Vand is from\n"}, 2),
        ({"loc": "nq question: who wrote it  "}, 1),
        ({"subject": "Lumo Va\u0301nd", "src": "Where was Lumo V\u00e1nd born?"}, 1),
    ],
)
def test_white_space_and_unicode_forms_play_no_part(
    change: dict[str, str], trimmed: int, tmp_path: Path
) -> None:
    write(tmp_path, "zsre", "test", [zsre_row(**change)])
    loaded = get_dataset("zsre").load("test", tmp_path)
    (sample,) = loaded.samples
    assert sample.request.subject in sample.request.prompt
    prompts = [sample.request.prompt, *(p.prompt for p in (*sample.generality, *sample.locality))]
    assert prompts == [prompt.strip() for prompt in prompts]
    assert (loaded.trimmed, loaded.fallbacks) == (trimmed, {})
    assert loaded.notes() == (f"changed: {trimmed} x {TRIMMED}",)


def test_the_digest_is_gits_blob_id(tmp_path: Path) -> None:
    # What `git hash-object` of git 2.39.5 prints for this file.
    path = tmp_path / "zsre_mend_eval.json"
    path.write_bytes(json.dumps([zsre_row(subject="é")], ensure_ascii=False).encode())
    loaded = get_dataset("zsre").load("test", tmp_path)
    assert loaded.digest == "23088147d1434f2fefa266326ec83a9f55ac302a"


@pytest.mark.parametrize(("split", "named"), [("tests", "'tests'"), ("test", EMPTY_TARGET)])
def test_an_unknown_split_and_a_file_without_a_usable_row_are_refused(
    split: str, named: str, tmp_path: Path
) -> None:
    write(tmp_path, "zsre", "test", [zsre_row(alt="")])
    with pytest.raises(ValueError, match=named):
        get_dataset("zsre").load(cast(Split, split), tmp_path)


FORMS = "a JSON list of rows, a row a line, or an object with a row for each id"
HALF = "wanted Unicode text, got a lone surrogate"
TARGETS = "item 0, field 'targets': wanted a list of strings"


def error_of(key: str, split: Split, directory: Path) -> str:
    with pytest.raises(ValueError, match=str(directory)) as caught:
        get_dataset(key).load(split, directory)
    return str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"src": "Who?"}, "'alt': wanted a string, got no such field (the row has: 'src')"),
        ({}, "'alt': wanted a string, got no such field (the row has: no field at all)"),
        (zsre_row(src=5), "'src': wanted a string, got the number 5"),
        (zsre_row(src=True), "'src': wanted a string, got the boolean true"),
        (zsre_row(alt=["a"]), "'alt': wanted a string, got a list of 1"),
        (zsre_row(alt={"a": 1}), "'alt': wanted a string, got an object with 1 fields"),
        (zsre_row(alt="\ud800"), "'alt': wanted Unicode text, got a lone surrogate in '\\ud800'"),
    ],
)
def test_a_bad_text_field(row: dict[str, object], message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "zsre", "test", [zsre_row(), row])
    assert error_of("zsre", "test", tmp_path) == f"{path}, row 1, field {message}."


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x", ': wanted a list of objects, got the string "x".'),
        (["x"], ': wanted a list of objects, got the string "x" as item 0.'),
        ([{"prompt": "p"}], f", {TARGETS}, got no such field (the row has: 'prompt')."),
        ([{"prompt": "p", "targets": "t"}], f', {TARGETS}, got the string "t".'),
        ([{"prompt": "p", "targets": ["t", 3]}], f", {TARGETS}, got the number 3."),
        (
            [{"prompt": 1, "targets": ["t"]}],
            ", item 0, field 'prompt': wanted a string, got the number 1.",
        ),
    ],
)
def test_a_bad_list_of_probes(value: object, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "ripple_edits", "train", [ripe_row(Forgetfulness=value)])
    expected = f"{path}, row 0, field 'Forgetfulness'{message}"
    assert error_of("ripe", "train", tmp_path) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": wanted rows, got an empty file."),
        (
            b'{"src": "a"}\n{"src":\n',
            ", row 1 is not valid JSON: Expecting value (line 3, column 1).",
        ),
        (b'[{"src": "a"\n', " is not valid JSON: Expecting ',' delimiter (line 2, column 1)."),
        (b'["\xff"]', " is not UTF-8 text: byte 0xff at offset 2."),
        (b"{}", f": wanted {FORMS}, got an object with 0 fields."),
        (b'{"data": []}', f": wanted {FORMS}, got an object with 1 fields."),
        (b'"rows"', f': wanted {FORMS}, got the string "rows".'),
        (b'[{"src": "a", "alt": "b", "src": "c"}]', ", row 0: the field 'src' is given twice."),
        (b'{"a1": {}, "a1": {}}', ": the field 'a1' is given twice."),
        (b'{"a\\ud800": {}}', f", row a\ud800, field 'the id': {HALF} in 'a\\ud800'."),
        (b"[]", ": wanted rows, got an empty list."),
        (b"[[]]", ", row 0: wanted an object, got a list of 0."),
        (b"[null]", f": none of its 1 rows is usable (1 x {EMPTY_PROMPT})."),
    ],
)
def test_a_file_that_is_no_list_of_rows(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "zsre_mend_eval.json"
    path.write_bytes(content)
    assert error_of("zsre", "test", tmp_path) == f"{path}{message}"


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[" + b"9" * 10_000 + b"]"])
def test_json_beyond_the_parsers_limits_is_one_sentence(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"^data\.json is not usable JSON: .*[.]$"):
        list(read_rows(Path("data.json"), content))
