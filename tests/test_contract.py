"""What every registered editor must do, whatever its method, on every architecture."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from editors import registry
from editors.base import EditRequest
from editors.parts.generation import Stop, forced_and_greedy, greedy
from editors.parts.in_context import InContextEditor
from editors.parts.lte.memory import NONE
from editors.parts.tokens import batch_of, batch_of_ids
from tests.contract import (
    InterruptedEditError,
    Subject,
    counted_head,
    interrupted_head,
    leftovers,
    log_probability,
    logits,
    weights,
)
from tests.tiny import REQUESTS, SAMPLES, TINY

FIRST, SECOND, THIRD, _ = REQUESTS
# Prompts of unequal lengths: edited ones, a rephrasing and an unrelated one.
PAIRS = [(request.prompt, request.target) for request in REQUESTS[:3]]
PAIRS += [(probe.prompt, probe.target) for probe in (*SAMPLES[0].generality, *SAMPLES[0].locality)]


# LLaMA's norms compute in float32 even in a float64 model.
CLOSE: dict[str, Any] = {"atol": 1e-5, "rtol": 1e-5}


class UnreadableRequest(EditRequest):
    """A request whose target cannot be had."""

    def __getattribute__(self, name: str) -> Any:
        if name == "target":
            raise InterruptedEditError
        return super().__getattribute__(name)


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artefacts")


@pytest.fixture(params=[f"{key}-{kind}" for key in registry.available() for kind in TINY])
def subject(request: pytest.FixtureRequest, directory: Path) -> Subject:
    key, _, architecture = request.param.rpartition("-")
    return Subject(key=key, architecture=architecture, directory=directory)


@pytest.fixture(params=registry.available())
def key(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_an_empty_edit_changes_nothing(subject: Subject) -> None:
    editor = subject.editor()
    before, state = weights(editor.lm.model), editor.state_dict()
    answers = logits(editor, PAIRS)
    editor.edit([])
    assert_equal(weights(editor.lm.model), before)
    assert_equal(editor.state_dict(), state)
    assert torch.equal(logits(editor, PAIRS), answers)


def test_forced_ends_bound_the_work_of_an_edit(subject: Subject) -> None:
    work = []
    for stopping in ("at_once", "by_loss", "never"):
        editor = subject.editor(stopping=stopping)
        with counted_head(editor.lm) as calls:
            editor.edit([FIRST])
        work.append(len(calls))
    least, _, most = work
    assert work == sorted(work)
    assert (least < most) == editor.hparams.stops_early


def test_untrained_weights_have_the_shapes_of_trained_ones(subject: Subject) -> None:
    untrained = subject.untrained()
    if untrained is None:
        return
    trained = subject.editor()
    assert untrained.resources.artefact is not None
    assert trained.resources.artefact is not None
    assert shapes(untrained.resources.artefact) == shapes(trained.resources.artefact)
    for editor in (untrained, trained):
        editor.edit([FIRST, SECOND])
        assert bool(logits(editor, PAIRS).isfinite().all())
    assert {k: v.shape for k, v in untrained.state_dict().items()} == {
        k: v.shape for k, v in trained.state_dict().items()
    }


def test_an_edit_raises_the_targets_log_probability(subject: Subject) -> None:
    editor = subject.editor()
    before = log_probability(editor, FIRST)
    editor.edit([FIRST])
    raised = log_probability(editor, FIRST) - before
    if isinstance(editor, InContextEditor):  # random weights do not read what stands in front
        assert abs(raised) > 0.01
    else:
        assert raised > 0.1


def test_reset_is_bit_exact_and_leaves_nothing_behind(subject: Subject) -> None:
    editor = subject.editor()
    before, answers = weights(editor.lm.model), logits(editor, PAIRS)
    editor.edit([FIRST])
    editor.edit([SECOND])
    assert not torch.equal(logits(editor, PAIRS), answers)
    editor.reset()
    assert_pristine(editor, before, answers)


def test_reset_works_after_a_request_that_cannot_be_read(subject: Subject) -> None:
    editor = subject.editor()
    before, answers = weights(editor.lm.model), logits(editor, PAIRS)
    unreadable = UnreadableRequest(prompt="No target for", target="", subject="target")
    with pytest.raises(InterruptedEditError):
        editor.edit([FIRST, unreadable])
    assert leftovers(editor.lm.model) == []
    editor.reset()
    assert_pristine(editor, before, answers)


@pytest.mark.parametrize("after", [0, 3])
def test_reset_works_after_a_model_that_fails(subject: Subject, after: int) -> None:
    editor = subject.editor()
    before, answers = weights(editor.lm.model), logits(editor, PAIRS)
    with interrupted_head(editor.lm, after=after), suppress(InterruptedEditError):
        editor.edit([FIRST])  # an editor that runs no model edits undisturbed
    assert leftovers(editor.lm.model) == []
    editor.reset()
    assert_pristine(editor, before, answers)


def test_steering_ends_with_its_context_also_by_an_exception(subject: Subject) -> None:
    editor = subject.editor()
    editor.edit([FIRST])
    batch = batch_of(editor.lm.tokenizer, PAIRS, device=editor.lm.device)
    with pytest.raises(InterruptedEditError), editor.steering(batch):
        raise InterruptedEditError
    assert leftovers(editor.lm.model) == []


def test_one_seed_gives_one_result_and_global_draws_are_untouched(subject: Subject) -> None:
    torch.manual_seed(5)
    one = subject.editor(seed=3)
    before = global_draws()
    one.edit([FIRST, SECOND])
    answers = logits(one, PAIRS)
    assert global_draws() == before
    torch.manual_seed(6)
    other = subject.editor(seed=3)
    other.edit([FIRST, SECOND])
    assert torch.equal(logits(other, PAIRS), answers)
    one.reset()
    one.edit([FIRST, SECOND])
    assert torch.equal(logits(one, PAIRS), answers)


def test_answers_do_not_depend_on_the_batch(subject: Subject) -> None:
    editor = subject.editor()
    editor.edit([FIRST, SECOND])
    alone = torch.cat([logits(editor, [pair]) for pair in PAIRS])
    torch.testing.assert_close(logits(editor, PAIRS), alone, atol=1e-5, rtol=1e-5)
    turned = torch.cat([logits(editor, [pair]) for pair in PAIRS[::-1]])
    torch.testing.assert_close(logits(editor, PAIRS[::-1]), turned, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", TINY)
def test_the_batch_mixes_rows_with_and_without_a_fact(architecture: str, directory: Path) -> None:
    """Else the suite would not see an LTE that mixes them up; others differ on the same pairs."""
    editor: Any = Subject(key="lte", architecture=architecture, directory=directory).editor()
    editor.edit([FIRST, SECOND])
    found = editor.retrieve([prompt for prompt, _ in PAIRS]).tolist()
    assert found[:2] == [0, 1]
    assert found[-1] == NONE


def test_edits_accumulate(subject: Subject) -> None:
    editor = subject.editor()
    pairs = PAIRS[:2]
    found = []
    for requests in ([FIRST], [SECOND], [FIRST, SECOND]):
        for request in requests:
            editor.edit([request])
        found.append(logits(editor, pairs))
        editor.reset()
    assert not torch.equal(found[2], found[0])
    assert not torch.equal(found[2], found[1])


def test_edits_prepared_together_are_those_made_alone(subject: Subject) -> None:
    editor, other = (subject.editor(dtype=torch.float64) for _ in range(2))
    requests = REQUESTS[: min(3, editor.together)]
    made = editor.prepare(requests)
    assert len(made) == len(requests)
    for request, make in zip(requests, made, strict=True):
        make()
        other.edit([request])
        torch.testing.assert_close(logits(editor, PAIRS), logits(other, PAIRS), **CLOSE)
        assert_close(editor.state_dict(), other.state_dict())
        editor.reset()
        other.reset()


def test_state_goes_through_disk_and_the_stream_continues(subject: Subject, tmp_path: Path) -> None:
    editor, other = subject.editor(), subject.editor()
    before, answers = weights(other.lm.model), logits(other, PAIRS)
    editor.edit([FIRST, SECOND])
    save_file(editor.state_dict(), tmp_path / "state.safetensors")
    other.edit([THIRD])
    other.load_state_dict(load_file(tmp_path / "state.safetensors"))
    assert torch.equal(logits(other, PAIRS), logits(editor, PAIRS))
    editor.edit([THIRD])
    other.edit([THIRD])
    assert torch.equal(logits(other, PAIRS), logits(editor, PAIRS))
    other.reset()
    assert_pristine(other, before, answers)


def test_cached_generation_equals_teacher_forcing(subject: Subject) -> None:
    editor = subject.editor()
    editor.edit([FIRST, SECOND])
    lm = editor.lm
    prompts = [(prompt, "") for prompt, _ in PAIRS]
    batch = batch_of(lm.tokenizer, prompts, device=lm.device)
    with editor.steering(batch):
        generated = greedy(lm, batch, max_new_tokens=5, stop=Stop())
    assert all(len(ids) == 5 for ids in generated)
    rows = [
        batch.input_ids[row, :length].tolist() for row, length in enumerate(batch.prompt_lengths)
    ]
    forced = batch_of_ids(rows, generated, batch.texts, padding=0, device=lm.device)
    with torch.no_grad(), editor.steering(forced):
        best = lm.target_logits(forced).argmax(dim=-1)
    assert best.tolist() == [token for ids in generated for token in ids]


def test_decoding_goes_on_behind_a_forced_target_where_an_editor_says_so(
    subject: Subject,
) -> None:
    editor = subject.editor()
    if not editor.steers_alike:
        return
    editor.edit([FIRST, SECOND])
    lm = editor.lm
    bare = batch_of(lm.tokenizer, [(prompt, "") for prompt, _ in PAIRS], device=lm.device)
    forced = batch_of(lm.tokenizer, PAIRS, device=lm.device)
    with editor.steering(bare):
        wanted = greedy(lm, bare, max_new_tokens=5, stop=Stop())
    with editor.steering(forced):
        _, generated = forced_and_greedy(lm, forced, max_new_tokens=5, stop=Stop())
    assert generated == wanted


def test_a_model_on_several_devices_is_refused_where_blocks_are_worked_in(
    subject: Subject,
) -> None:
    editor = subject.editor()
    lm, cls = editor.lm, type(editor)
    lm.model.lm_head.to("meta")
    make = partial(cls, lm, editor.hparams, editor.resources)
    if cls.spans_devices:
        make()
    else:
        with pytest.raises(ValueError, match="wants the model on one device, got it on cpu, meta"):
            make()


def test_hparams_round_trip_and_refuse_unknown_fields_by_name(key: str) -> None:
    cls = registry.editor_class(key)
    assert cls.presets
    for hparams in cls.presets.values():
        assert type(hparams) is cls.hparams_class
        values = json.loads(json.dumps(hparams.to_dict()))
        assert cls.hparams_class.from_dict(values) == hparams
    field = next(iter(values))
    with pytest.raises(ValueError, match=f"Unknown hyper-parameter '{field}x'.*{field}"):
        cls.hparams_class.from_dict(values | {f"{field}x": 1})


def test_names_in_the_source_are_those_of_the_class(key: str) -> None:
    entry, cls = registry.describe(key), registry.editor_class(key)
    assert (entry.label, entry.aliases, entry.family) == (cls.label, cls.aliases, cls.family)
    assert entry.in_paper == cls.in_paper
    assert cls.family in {"MP", "AP", "RB"}
    assert cls.version >= 1


def shapes(artefact: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in load_file(artefact).items()}


def global_draws() -> list[Any]:
    """The states of the global generators, comparable."""
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002 - it is the global one that counts
    key = numpy["state"]["key"].tolist()
    return [torch.get_rng_state().tolist(), random.getstate(), key, numpy["state"]["pos"]]


def assert_close(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, tensor in actual.items():
        torch.testing.assert_close(tensor, expected[name], **CLOSE)


def assert_equal(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(actual[name], tensor), name


def assert_pristine(editor: Any, before: dict[str, Tensor], answers: Tensor) -> None:
    assert_equal(weights(editor.lm.model), before)
    assert torch.equal(logits(editor, PAIRS), answers)
    assert leftovers(editor.lm.model) == []
