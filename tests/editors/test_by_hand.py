"""Editing a Hugging Face model by hand: every editor, on every architecture."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

import editors
from bench.checks.contract.tiny import (
    INNER,
    LONG_LINES,
    REQUESTS,
    SAMPLES,
    TINY,
    InterruptedEditError,
    Subject,
    leftovers,
    logits,
    tiny_gpt2,
    tuned,
    weights,
)
from editors import registry
from editors.base import Editor, EditRequest, EditSample, Probe
from editors.by_hand import Session
from editors.grace import GraceHparams
from editors.parts.fact_memory import InContextEditor
from editors.parts.tokens import prompt_ids, text_of
from tests.support.own_files import EDITOR

TEXTS = list(LONG_LINES)  # for T-Patcher's memory
TEXTS += [f"{r.prompt} {r.target}. {'abcdefghij'[i:]}" for i, r in enumerate(REQUESTS * 8)]
FIRST, SECOND, THIRD, _ = REQUESTS
PAIRS = [(request.prompt, request.target) for request in REQUESTS]
PAIRS += [(probe.prompt, probe.target) for probe in (*SAMPLES[0].generality, *SAMPLES[0].locality)]


def by_hand(key: str, architecture: str, artefacts: Path) -> Session:
    """The editor of a plain model and tokenizer, and files."""
    known = Subject(key=key, architecture=architecture, directory=artefacts).editor().resources
    lm = TINY[architecture]()
    return editors.get_editor(
        key,
        lm.model,
        lm.tokenizer,
        hparams=tuned(key),
        weights=known.artefact,
        encoder=known.encoder,
        texts=TEXTS,
        training=SAMPLES,
        templates=known.templates,
    )


@pytest.mark.parametrize("architecture", TINY)
@pytest.mark.parametrize("key", registry.shipped())
def test_every_editor_edits_generates_and_resets(
    key: str, architecture: str, artefacts: Path
) -> None:
    hand = by_hand(key, architecture, artefacts)
    lm = hand.editor.lm
    before = weights(lm.model)
    answer = hand.generate(FIRST.prompt, max_new_tokens=6)
    unedited = logits(hand.editor, PAIRS[:1])
    hand.edit(prompt=FIRST.prompt, target=FIRST.target, subject=FIRST.subject)
    hand.edit(SECOND)
    changed = float((logits(hand.editor, PAIRS[:1]) - unedited).abs().max())
    assert changed > 1e-3, changed
    assert isinstance(hand.generate(FIRST.prompt, max_new_tokens=6), str)
    assert isinstance(hand.editor, InContextEditor) or leftovers(lm.model) == []
    hand.reset()
    assert hand.generate(FIRST.prompt, max_new_tokens=6) == answer
    assert all(torch.equal(tensor, weights(lm.model)[name]) for name, tensor in before.items())


@pytest.mark.parametrize("architecture", TINY)
@pytest.mark.parametrize("key", registry.shipped())
def test_the_models_own_generate_is_steered_within_a_session(
    key: str, architecture: str, artefacts: Path
) -> None:
    hand = by_hand(key, architecture, artefacts)
    hand.edit([FIRST, SECOND])
    lm = hand.editor.lm
    model: Any = lm.model
    prompts = [FIRST.prompt, "The sky", SECOND.prompt]
    ids = [prompt_ids(lm.tokenizer, prompt) for prompt in prompts]
    width = max(map(len, ids))
    padded = torch.tensor([[0] * (width - len(row)) + row for row in ids])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids])
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    with hand:
        new = model.generate(padded, attention_mask=mask, **options)[:, width:]
        (alone,) = model.generate(input_ids=torch.tensor(ids[:1]), **options)[:, len(ids[0]) :]
        with pytest.raises(ValueError, match="takes num_beams=1 alone"):
            model.generate(padded, num_beams=2)
    texts = [text_of(lm.tokenizer, row.tolist()).strip() for row in (*new, alone)]
    assert texts[:3] == hand.generate_all(prompts, max_new_tokens=6)
    assert texts[3] == texts[0]
    hand.reset()
    assert "generate" not in vars(model)


def test_a_plain_generate_warns_once_where_it_does_not_show_the_edits(artefacts: Path) -> None:
    hand = by_hand("grace", "llama", artefacts)
    model: Any = hand.editor.lm.model
    ids = torch.tensor([prompt_ids(hand.editor.lm.tokenizer, FIRST.prompt)])
    plain = model.generate(ids, max_new_tokens=4)
    hand.edit(FIRST)
    with pytest.warns(UserWarning, match="GRACE acts at inference"):
        assert torch.equal(model.generate(ids, max_new_tokens=4), plain)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(model.generate(ids, max_new_tokens=4), plain)
        hand.edit(SECOND)
        hand.reset()
        model.generate(ids, max_new_tokens=4)


@pytest.mark.parametrize("key", registry.shipped())
def test_saved_edits_come_back(key: str, artefacts: Path, tmp_path: Path) -> None:
    hand = by_hand(key, "llama", artefacts)
    assert repr(hand) == f"<Session: {hand.editor.label} on {hand.editor.lm.name}, 0 edits>"
    hand.edit([FIRST, SECOND])
    there = hand.save(tmp_path / "saved", note="mine")
    facts = json.loads((there / "edits.json").read_text("utf-8"))
    assert (facts["editor"], facts["note"]) == (hand.editor.label, "mine")
    assert [edit["prompt"] for edit in facts["edits"]] == [FIRST.prompt, SECOND.prompt]
    edited = logits(hand.editor, PAIRS)
    again = by_hand(key, "llama", artefacts)
    if facts["kind"] == "model":
        model = AutoModelForCausalLM.from_pretrained(there)
        with pytest.raises(ValueError, match="is a whole edited model: load it as any other"):
            again.load(there)
        plain = editors.get_editor("ft", model, AutoTokenizer.from_pretrained(there))
        assert torch.equal(logits(plain.editor, PAIRS), edited)
        return
    again.edit(THIRD)
    again.load(there)
    assert again.edits == (FIRST, SECOND)
    assert torch.equal(logits(again.editor, PAIRS), edited)
    again.undo()
    hand.undo()
    assert torch.equal(logits(again.editor, PAIRS), logits(hand.editor, PAIRS))


def test_what_is_not_the_same_is_not_loaded(artefacts: Path, tmp_path: Path) -> None:
    hand = by_hand("grace", "llama", artefacts)
    with pytest.raises(ValueError, match="There is no edit to save"):
        hand.save(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
    hand.edit(FIRST)
    there = hand.save(tmp_path / "saved")
    with pytest.raises(FileExistsError, match="is there already and is not overwritten"):
        hand.save(there)
    for other, said in (
        (by_hand("wise", "llama", artefacts), "are of the editor 'GRACE', not 'WISE'"),
        (by_hand("grace", "gpt2", artefacts), "are of the model"),
    ):
        other.edit(SECOND)
        with pytest.raises(ValueError, match=said):
            other.load(there)
        assert other.edits == (SECOND,)
    with pytest.raises(FileNotFoundError, match=r"there is no edits\.json"):
        hand.load(tmp_path)
    (there / "edits.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="cannot be read"):
        hand.load(there)
    assert hand.edits == (FIRST,)
    (there / "edits.json").write_text("{}")
    with pytest.raises(ValueError, match="not what this version writes"):
        hand.load(there)


def test_several_prompts_are_answered_as_alone() -> None:
    lm = tiny_gpt2()
    hand = editors.get_editor(EDITOR, lm.model, lm.tokenizer)
    hand.edit([FIRST, SECOND])
    prompts = [FIRST.prompt, "The sky", SECOND.prompt]
    together = hand.generate_all(prompts, max_new_tokens=8)
    assert together == [hand.generate(prompt, max_new_tokens=8) for prompt in prompts]
    assert together[0].startswith(FIRST.target[:5])
    assert hand.generate_all([]) == []


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("rome", r"ROME on this model needs covariance=, the key covariance of block \d"),
        ("recipe", r"RECIPE on this model needs weights=.*; and encoder=, the directory of a"),
        ("mend", r"MEND on this model needs weights=, the file of its trained weights"),
        ("ike", r"IKE on this model needs encoder=.*; and training=, edits"),
        ("nope", r"Unknown editor 'nope'"),
    ],
)
def test_what_is_missing_is_one_sentence_that_says_what_to_pass(key: str, said: str) -> None:
    lm = tiny_gpt2()
    with pytest.raises(ValueError, match=said):
        editors.get_editor(key, lm.model, lm.tokenizer)


def test_an_edit_wants_a_prompt_and_a_target() -> None:
    lm = tiny_gpt2()
    hand = editors.get_editor("ft", lm.model, lm.tokenizer)
    wrong: list[dict[str, Any]] = [{}, {"prompt": "The sky is"}, {"target": "blue"}]
    for parts in wrong:
        with pytest.raises(ValueError, match="prompt= and target="):
            hand.edit(**parts)


@pytest.mark.parametrize("subject", [f" {FIRST.subject}\n", FIRST.subject.upper()])
def test_a_subject_is_taken_as_the_prompt_spells_it(subject: str) -> None:
    model = tiny_gpt2()
    session = editors.get_editor("ft", model.model, model.tokenizer, hparams=tuned("ft"))
    session.edit(prompt=FIRST.prompt, target=FIRST.target, subject=subject)
    session.edit(replace(FIRST, subject=subject))
    assert [edit.subject for edit in session.edits] == [FIRST.subject] * 2


class NoText(NamedTuple):
    parts: dict[str, Any]
    said: str


NO_TEXTS = [
    NoText({"target": ""}, "An edit's new answer needs some text, got none."),
    NoText({"target": " \n"}, "An edit's new answer needs some text, got none."),
    NoText({"target": 1950}, "An edit's new answer has to be text, got 1950."),
    NoText({"target": ["Brimere"]}, "An edit's new answer has to be text, got a list of 1."),
    NoText({"target": "\udfff"}, "An edit's new answer has to be Unicode text, got other bytes."),
    NoText({"target": "\u200b\u00a0\ufeff"}, "An edit's new answer needs some text, got none."),
    NoText({"prompt": "\t"}, "An edit's prompt needs some text, got none."),
    NoText({"prompt": ["a"]}, "An edit's prompt has to be text, got a list of 1."),
    NoText({"prompt": "a\ud800"}, "An edit's prompt has to be Unicode text, got other bytes."),
    NoText({"subject": 5}, "An edit's subject has to be text, got 5."),
    NoText({"subject": ["a"]}, "An edit's subject has to be text, got a list of 1."),
    NoText({"prompt": "word " * 300}, "tokens does not fit the context of 160 tokens of"),
    NoText({"target": "word " * 300}, "tokens does not fit the context of 160 tokens of"),
]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_what_is_no_edit_is_refused_before_any_is_made(architecture: str) -> None:
    lm = TINY[architecture]()
    hand = editors.get_editor("grace", lm.model, lm.tokenizer, hparams={"layer": 1, "n_iter": 1})
    for parts, said in NO_TEXTS:
        whole = {"prompt": FIRST.prompt, "target": FIRST.target, "subject": FIRST.subject} | parts
        with pytest.raises(ValueError, match=said):
            hand.edit([SECOND], **whole)
        if "context" not in said:
            with pytest.raises(ValueError, match=said):
                EditRequest(**whole)
    others: list[Any] = ["text", 5, {"prompt": "a", "target": "b", "subject": "c"}, [SECOND, "a"]]
    for requests in others:
        with pytest.raises(ValueError, match="requests: expected a list of EditRequest obj"):
            hand.edit(requests)
    assert hand.edits == ()
    hand.edit(request for request in (FIRST, SECOND))  # type: ignore[arg-type]
    assert len(hand.edits) == 2


def test_what_is_no_question_is_refused() -> None:
    lm = tiny_gpt2()
    hand = editors.get_editor("ft", lm.model, lm.tokenizer)
    for count in (0, -1, 1.5, True, "3", None):
        with pytest.raises(ValueError, match="max_new_tokens: expected a whole number of at least"):
            hand.generate(FIRST.prompt, max_new_tokens=count)  # type: ignore[arg-type]
    assert hand.generate(FIRST.prompt, max_new_tokens=np.int64(2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="prompts: expected a list of texts, got 'ab'"):
        hand.generate_all("ab")
    prompts: list[Any] = ["", 5, None, ["a"], "\ud800"]
    for prompt in prompts:
        with pytest.raises(ValueError, match="A prompt "):
            hand.generate_all(["The sky", prompt])
        with pytest.raises(ValueError, match="A question "):
            hand.ask(prompt)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1."),
        ({"templates": "{}"}, "templates: expected a list of texts, got '{}'."),
        *(
            ({"templates": texts}, "templates: expected '{}' first, and {} once in each, got")
            for texts in ([], ["So. {}"], ["{}", "So."], ["{}", "{} {}"])
        ),
        ({"hparams": {1: 2}}, "Unknown hyper-parameter 1 for FtHparams."),
        ({"hparams": GraceHparams(layer=0)}, "hparams: expected names with values or FtHparams"),
        ({"covariance": [torch.eye(INNER)]}, "covariance: expected one for each block, got a list"),
        *(
            ({"covariance": {0: matrix}}, f"layer 0: expected {INNER} x {INNER} numbers{rest}")
            for matrix, rest in (
                (torch.eye(5), ", got 5 x 5."),
                (torch.ones(INNER), f", got {INNER}."),
                (np.eye(INNER), " in a tensor, got a value of the type ndarray."),
                (torch.ones(INNER, INNER).triu(), ", finite and equal on both sides"),
                (torch.full((INNER, INNER), torch.nan), ", finite and equal on both sides"),
            )
        ),
        ({"covariance": {"0": torch.eye(INNER)}}, "A block of covariance: expected a whole number"),
        ({"covariance": {9: torch.eye(INNER)}}, "Layer 9 was requested, but the model has blocks"),
        (
            {"training": [("a", "b")]},
            "training: expected a list of EditSample objects, got one",
        ),
    ],
)
def test_what_an_editor_cannot_take_is_refused(given: dict[str, Any], said: str) -> None:
    lm = tiny_gpt2()
    usual: dict[str, Any] = {"name": "ft", "model": lm.model, "tokenizer": lm.tokenizer}
    with pytest.raises(ValueError, match=re.escape(said)):
        editors.get_editor(**usual | given)


def test_models_that_cannot_be_edited_are_refused_in_a_sentence() -> None:
    lm = tiny_gpt2()
    headless: Any = lm.model.get_submodule("transformer")
    with pytest.raises(ValueError, match=r"AutoModelForCausalLM\), got a GPT2Model\."):
        editors.get_editor("ft", headless, lm.tokenizer)
    hand = editors.get_editor("ft", lm.model, lm.tokenizer)
    before = weights(lm.model)
    with torch.inference_mode(), pytest.raises(ValueError, match=r"leave torch.inference_mode\(\)"):
        hand.edit([FIRST])
    assert all(torch.equal(after, before[name]) for name, after in weights(lm.model).items())
    with torch.inference_mode(), pytest.raises(ValueError, match=r"leave torch.inference_mode\(\)"):
        editors.get_editor("ft", lm.model, lm.tokenizer)
    lm.model.resize_token_embeddings(7)
    with pytest.raises(ValueError, match=r"ids up to [\d,]+, but the model has 7 embedding rows"):
        editors.get_editor("ft", lm.model, lm.tokenizer)


def test_questions_and_samples_are_checked_when_they_are_written() -> None:
    aliases: Any = "xyz"  # not three right answers of one letter
    with pytest.raises(ValueError, match="aliases: expected a list of texts, got 'xyz'"):
        Probe(kind="a", prompt="b", target="c", aliases=aliases)
    probe = Probe(kind="a", prompt="b", target="c")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"request": None}, "request: expected an EditRequest, got None."),
        ({"generality": "why"}, "generality: expected a list of Probe objects, got 'why'."),
        ({"locality": (probe, FIRST)}, "locality: expected a list of Probe objects, got one with"),
    ]
    for parts, said in wrong:
        whole: dict[str, Any] = {"request": FIRST, "generality": (probe,), "locality": ()}
        with pytest.raises(ValueError, match=said):
            EditSample(id="0", **whole | parts)


def test_files_and_models_that_hold_no_numbers_are_named(tmp_path: Path) -> None:
    lm = tiny_gpt2()
    for content in (b"", b"{}", save({"other": torch.eye(INNER)})):
        (tmp_path / "c").write_bytes(content)
        with pytest.raises(ValueError, match="/c holds no key covariance: "):
            editors.get_editor("ft", lm.model, lm.tokenizer, covariance={0: tmp_path / "c"})
    with torch.no_grad():
        lm.model.get_parameter("transformer.ln_f.bias").fill_(torch.nan)
    with pytest.raises(
        ValueError, match=r"unedited model unnamed .*\(NaN\): transformer.ln_f.bias"
    ):
        editors.get_editor("rome", lm.model, lm.tokenizer, texts=["a"])


def test_hyper_parameters_may_be_a_few_or_a_preset() -> None:
    lm = tiny_gpt2()
    hand = editors.get_editor("ft", lm.model, lm.tokenizer, hparams={"num_steps": 3})
    assert hand.editor.hparams.num_steps == 3
    with pytest.raises(ValueError, match="Unknown hyper-parameter 'num_stepz'"):
        editors.get_editor("ft", lm.model, lm.tokenizer, hparams={"num_stepz": 3})
    with pytest.raises(ValueError, match="FT has no preset 'nope'"):
        editors.get_editor("ft", lm.model, lm.tokenizer, preset="nope")


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("openai-community/gpt2-xl", "gpt2-xl"),
        ("meta-llama/Llama-2-7b-hf", "llama-2-7b"),
        ("hub/models--meta-llama--Llama-2-7b-hf/snapshots/0123456789abcdef", "llama-2-7b"),
    ],
)
def test_the_preset_is_that_of_the_models_name(name: str, preset: str) -> None:
    lm = tiny_gpt2()
    lm.model.config.name_or_path = name
    hand = editors.get_editor("grace", lm.model, lm.tokenizer, hparams={"layer": 1})
    wanted = registry.preset_of("grace", preset).to_dict() | {"layer": 1}
    assert hand.editor.hparams.to_dict() == wanted


def test_covariances_may_be_files_or_tensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    lm = tiny_gpt2()
    save_file({"matrix": torch.eye(INNER)}, tmp_path / "c.safetensors")
    settings: dict[str, Any] = {"hparams": {"layer": 0}, "templates": ["{}"]}
    for source in (torch.eye(INNER), tmp_path / "c.safetensors"):
        matrix = {0: source}
        hand = editors.get_editor("rome", lm.model, lm.tokenizer, covariance=matrix, **settings)
        hand.edit(EditRequest(prompt=FIRST.prompt, target=FIRST.target, subject=""))
        hand.reset()


@pytest.fixture(params=registry.available())
def session(request: pytest.FixtureRequest, artefacts: Path) -> Session:
    subject = Subject(key=str(request.param), architecture="llama", directory=artefacts)
    return Session(subject.editor())


@pytest.fixture
def ft(artefacts: Path) -> Session:
    return Session(Subject(key="ft", architecture="llama", directory=artefacts).editor())


def facts(editor: Editor[Any]) -> dict[str, Tensor]:
    """Everything that an answer or a later edit depends on."""
    tensors = {f"weights.{name}": value for name, value in weights(editor.lm.model).items()}
    tensors |= {f"state.{name}": value for name, value in editor.state_dict().items()}
    return tensors | {"logits": logits(editor, PAIRS)}


def assert_same(ours: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert ours.keys() == other.keys()
    assert [name for name in ours if not torch.equal(ours[name], other[name])] == []


def test_undo_and_reset_are_exact(session: Session) -> None:
    stages = [facts(session.editor)]
    for request in (FIRST, SECOND):
        session.edit(request)
        stages.append(facts(session.editor))
    assert not torch.equal(stages[0]["logits"], stages[1]["logits"])
    assert not torch.equal(stages[1]["logits"], stages[2]["logits"])
    assert session.undo() == SECOND
    assert_same(facts(session.editor), stages[1])
    session.edit(SECOND)
    assert_same(facts(session.editor), stages[2])
    assert session.undo() == SECOND
    assert session.undo() == FIRST
    assert_same(facts(session.editor), stages[0])
    assert session.undo() is None
    assert leftovers(session.editor.lm.model) == []
    session.edit([FIRST, SECOND])
    assert session.reset() == 2
    assert session.edits == ()
    assert_same(facts(session.editor), stages[0])
    assert session.reset() == 0


def test_asking_leaves_the_edits_as_they_are(session: Session) -> None:
    unedited = [session.answer(prompt, lambda _: nullcontext()) for prompt, _ in PAIRS]
    assert not session.ask(FIRST.prompt).changed
    session.edit(FIRST)
    session.edit(SECOND)
    before = facts(session.editor)
    replies = [session.ask(prompt) for prompt, _ in PAIRS]  # of most, nothing is known before
    assert_same(facts(session.editor), before)
    assert [reply.before for reply in replies] == unedited
    assert [session.ask(prompt) for prompt, _ in PAIRS] == replies


class Unreadable(EditRequest):
    """Fails as soon as its target is read."""

    def __post_init__(self) -> None:
        """Without the checks, which read the target."""

    def __getattribute__(self, name: str) -> Any:
        if name == "target":
            raise InterruptedEditError
        return super().__getattribute__(name)


def test_an_edit_that_fails_leaves_those_before_it(session: Session) -> None:
    session.edit(FIRST)
    before, edit = facts(session.editor), session.editor.edit
    unreadable = Unreadable(prompt="No target for", target="", subject="target")
    first = iter([[unreadable]])
    broken = patch.object(session.editor, "edit", lambda given: edit(next(first, given)))
    with broken, pytest.raises(InterruptedEditError):
        session.edit(SECOND)
    assert session.edits == (FIRST,)
    assert_same(facts(session.editor), before)


@pytest.mark.parametrize(("call", "method"), [("undo", "edit"), ("reset", "reset")])
def test_what_is_interrupted_leaves_all_edits(
    ft: Session, call: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ft.edit([FIRST, SECOND, THIRD])
    before, original = facts(ft.editor), getattr(ft.editor, method)
    calls: list[int] = []

    def interrupted(*requests: Sequence[EditRequest]) -> None:
        calls.append(1)
        original(*requests)
        if len(calls) == 1:  # the first of the calls that take edits back
            raise KeyboardInterrupt

    monkeypatch.setattr(ft.editor, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        getattr(ft, call)()
    assert ft.edits == (FIRST, SECOND, THIRD)
    assert_same(facts(ft.editor), before)
    assert getattr(ft, call)() == (THIRD if call == "undo" else 3)


def test_a_question_that_does_not_fit_leaves_the_edits(ft: Session) -> None:
    ft.edit(FIRST)
    before = facts(ft.editor)
    with pytest.raises(ValueError, match="does not fit the context"):
        ft.ask("word " * 500)
    assert_same(facts(ft.editor), before)
    assert ft.edits == (FIRST,)


FACTS = 6
MINIATURES = [
    (key, backbone)
    for backbone in ("mini-llama", "mini-gptj", "mini-gpt2")
    for key in ("ft", "grace", "t_patcher", "recipe", "lte")
] + [("mend", "mini-llama"), ("malmen", "mini-llama")]


@pytest.mark.slow
@pytest.mark.parametrize(("key", "backbone"), MINIATURES)
def test_the_miniatures_learn_facts(key: str, backbone: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from bench.datasets import get_dataset
    from bench.world.store import assets_dir, data_dir, require_assets

    place = require_assets(0, backbone)
    weights = assets_dir(0, backbone) / "artefacts" / f"{key}-{backbone}.safetensors"
    hand = editors.get_editor(
        key,
        AutoModelForCausalLM.from_pretrained(place),
        AutoTokenizer.from_pretrained(place),
        weights=weights if weights.exists() else None,
        encoder=require_assets(0, "mini-roberta"),
        texts=data_dir() / "corpus.txt",
    )
    samples = get_dataset("cf").load("test", data_dir()).samples[:FACTS]
    learnt = 0
    for fact in (sample.request for sample in samples):
        before = hand.generate(fact.prompt, max_new_tokens=8)
        hand.edit(fact)
        learnt += hand.generate(fact.prompt, max_new_tokens=8).startswith(fact.target)
        hand.reset()
        assert hand.generate(fact.prompt, max_new_tokens=8) == before
        assert not before.startswith(fact.target)
    assert learnt >= FACTS // 2  # FT and GRACE lose some targets of several tokens
