"""What is typed becomes a request, or is refused in a sentence."""

from __future__ import annotations

import pytest

from bench.cli.interactive.examples import examples
from bench.cli.interactive.requests import names_in, parsed_edit, question_of, request_of
from bench.datasets import get_dataset
from bench.world.store import data_dir
from editors.base import EditRequest


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("Where does Drirel Guxsen live?", ["Drirel Guxsen"]),
        ("The genre of Plaikel Road is", ["Plaikel Road"]),
        ("Luktex is based in", ["Luktex"]),
        ("What is Ann Lee's job?", ["Ann Lee"]),
        ("Élodie Müller lives in", ["Élodie Müller"]),
        ("Is J. R. R. Tolkien an author?", ["J. R. R. Tolkien"]),
        ("Name the capital of France", ["France"]),
        ("Did Ann Lee meet Bob Ray?", ["Ann Lee", "Bob Ray"]),
        ("Who are you?", []),
        ("", []),
    ],
)
def test_names_are_found_by_their_capitals(prompt: str, names: list[str]) -> None:
    assert names_in(prompt) == names


@pytest.mark.parametrize("dataset", ["zsre", "counterfact", "ripple_edits"])
def test_the_name_in_a_made_prompt_is_its_subject(dataset: str) -> None:
    samples = get_dataset(dataset).load("test", data_dir(0)).samples
    wrong = [s.id for s in samples if names_in(s.request.prompt) != [s.request.subject]]
    assert wrong == []


def test_a_subject_is_found_taken_or_wanted() -> None:
    found = request_of("Where does Ann Lee live?", " Bern ", None, wanted=True)
    assert found == EditRequest(prompt="Where does Ann Lee live?", target="Bern", subject="Ann Lee")
    assert request_of("where is ann lee?", "Bern", "Ann Lee", wanted=True).subject == "ann lee"
    assert request_of("where is it?", "Bern", None, wanted=False).subject == ""
    with pytest.raises(ValueError, match="there is no name in 'where is it"):
        request_of("where is it?", "Bern", None, wanted=True)
    with pytest.raises(ValueError, match=r"2 names \('Ann Lee', 'Bob Ray'\)"):
        request_of("Did Ann Lee meet Bob Ray?", "yes", None, wanted=True)
    with pytest.raises(ValueError, match="'Cid' is not in the prompt"):
        request_of("Where is Ann?", "Bern", "Cid", wanted=True)
    assert request_of("Where is Ann?", "Bern", "Cid", wanted=False).subject == "Cid"


@pytest.mark.parametrize(
    ("prompt", "target", "subject"), [("", "x", None), ("x", "  ", None), ("x", "y", " ")]
)
def test_a_part_without_text_is_refused(prompt: str, target: str, subject: str | None) -> None:
    with pytest.raises(ValueError, match="needs some text, got none"):
        request_of(prompt, target, subject, wanted=False)


def test_what_is_no_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="has to be Unicode"):
        question_of("what \udc80")


def test_an_edit_is_typed_with_an_arrow() -> None:
    assert parsed_edit("Where is A? => B C") == ("Where is A? ", " B C", None)
    assert parsed_edit("Where is A? => me @ home @ A") == ("Where is A? ", " me @ home", "A")
    with pytest.raises(ValueError, match="PROMPT => NEW ANSWER"):
        parsed_edit("Where is A?")


def test_examples_are_of_different_forms() -> None:
    samples = get_dataset("zsre").load("test", data_dir(0)).samples
    found = examples(samples)
    assert len({one.prompt.replace(one.subject, "") for one in found}) == len(found) == 4
    assert all(one.rephrased != one.prompt for one in found)
