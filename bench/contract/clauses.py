"""The clauses: what every editor does, whatever its method. Each is a function with a sentence."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from bench.contract.clause import (
    PAIRS,
    clause,
    clean,
    near,
    pristine,
    same,
    shapes,
    wanted,
)
from bench.contract.draws import global_draws, kept_draws
from bench.contract.subjects import (
    InterruptedEditError,
    Subject,
    counted_head,
    interrupted_head,
    log_probability,
    logits,
    weights,
)
from bench.contract.tiny import REQUESTS
from editors import registry
from editors.base import EditRequest
from editors.parts.generation import Stop, forced_and_greedy, greedy
from editors.parts.in_context import InContextEditor
from editors.parts.tokens import batch_of, batch_of_ids

FIRST, SECOND, THIRD, _ = REQUESTS

RAISED = 0.1  # of a target's mean log-probability, by an edit of it
NEW_TOKENS = 5


@clause
def names(subject: Subject) -> None:
    """The class says by label, aliases, family and version what it is."""
    entry, cls = registry.describe(subject.key), registry.editor_class(subject.key)
    said, found = (entry.label, entry.aliases, entry.family), (cls.label, cls.aliases, cls.family)
    wanted(said == found, f"the source says {said}, the class {found}")
    wanted(cls.family in {"MP", "AP", "RB"}, f"family is {cls.family!r}, not MP, AP or RB")
    wanted(cls.version >= 1, f"version is {cls.version!r}, not at least 1")
    shipped = subject.key in registry.shipped()
    wanted(not shipped or entry.in_paper == cls.in_paper, "source and class differ in in_paper")


@clause
def hparams(subject: Subject) -> None:
    """Every preset goes through JSON, and a hyper-parameter that is none is refused by name."""
    cls = registry.editor_class(subject.key)
    wanted(bool(cls.presets), "there are no presets")
    for name, preset in cls.presets.items():
        wanted(type(preset) is cls.hparams_class, f"preset {name!r} is of another class")
        values = json.loads(json.dumps(preset.to_dict()))
        wanted(cls.hparams_class.from_dict(values) == preset, f"preset {name!r} comes back changed")
    try:
        cls.hparams_class.from_dict({"no_such_name": 1})
    except ValueError as error:
        wanted("no_such_name" in str(error), f"the refusal does not name it: {error}")
    else:
        wanted(False, "an unknown name was taken")


@clause
def empty_edit(subject: Subject) -> None:
    """An empty edit changes nothing."""
    editor = subject.editor()
    before, state = weights(editor.lm.model), editor.state_dict()
    answers = logits(editor, PAIRS)
    editor.edit([])
    same(weights(editor.lm.model), before, "weights")
    same(editor.state_dict(), state, "the state")
    wanted(torch.equal(logits(editor, PAIRS), answers), "answers changed")


@clause
def edit_tells(subject: Subject) -> None:
    """An edit raises the log-probability of its target."""
    editor = subject.editor()
    before = log_probability(editor, FIRST)
    editor.edit([FIRST])
    raised = log_probability(editor, FIRST) - before
    if isinstance(editor, InContextEditor):  # random weights do not read what stands in front
        wanted(abs(raised) > RAISED / 10, f"it moved by {raised:.3g}")
    else:
        wanted(raised > RAISED, f"it rose by {raised:.3g}, wanted {RAISED}")


@clause
def edits_accumulate(subject: Subject) -> None:
    """A second edit is made on top of the first, and takes nothing for it that is not there."""
    editor = subject.editor()
    found = []
    for requests in ([FIRST], [SECOND], [FIRST, SECOND]):
        for request in requests:
            editor.edit([request])
        found.append(logits(editor, PAIRS[:2]))
        editor.reset()
    for other, which in ((found[0], "the first"), (found[1], "the second")):
        wanted(not torch.equal(found[2], other), f"two edits answer as {which} alone does")


@clause
def exact_reset(subject: Subject) -> None:
    """Reset restores the model to the bit and leaves nothing behind."""
    editor = subject.editor()
    before, answers = weights(editor.lm.model), logits(editor, PAIRS)
    editor.edit([FIRST])
    editor.edit([SECOND])
    wanted(not torch.equal(logits(editor, PAIRS), answers), "the edits changed no answer")
    editor.reset()
    pristine(editor, before, answers)


@clause
def reset_after_a_bad_request(subject: Subject) -> None:
    """Reset works after a request that cannot be read, which ends an edit halfway."""
    editor = subject.editor()
    before, answers = weights(editor.lm.model), logits(editor, PAIRS)
    unreadable = _UnreadableRequest(prompt="No target for", target="", subject="target")
    try:
        editor.edit([FIRST, unreadable])
    except InterruptedEditError:
        pass
    else:
        wanted(False, "the error of the request was swallowed")
    clean(editor)
    editor.reset()
    pristine(editor, before, answers)


@clause
def reset_after_a_failing_model(subject: Subject) -> None:
    """Reset works after a model that fails in the middle of an edit."""
    for after in (0, 3):
        editor = subject.editor()
        before, answers = weights(editor.lm.model), logits(editor, PAIRS)
        with interrupted_head(editor.lm, after=after), suppress(InterruptedEditError):
            editor.edit([FIRST])  # an editor that runs no model edits undisturbed
        clean(editor)
        editor.reset()
        pristine(editor, before, answers)


@clause
def nothing_hangs_on(subject: Subject) -> None:
    """Outside of steering no hook hangs on an edited model, and no parameter is left to train."""
    editor = subject.editor()
    editor.edit([FIRST, SECOND])
    clean(editor)


@clause
def steering_ends(subject: Subject) -> None:
    """Steering ends with its context, also by an exception."""
    editor = subject.editor()
    editor.edit([FIRST])
    batch = batch_of(editor.lm.tokenizer, PAIRS, device=editor.lm.device)
    seen: list[Exception] = []
    try:
        with editor.steering(batch):
            raise InterruptedEditError
    except InterruptedEditError as error:
        seen.append(error)
    wanted(bool(seen), "steering swallows exceptions")
    clean(editor)


@clause
def one_seed_one_result(subject: Subject) -> None:
    """One seed gives one result, and no global random number is drawn."""
    with kept_draws():
        _one_seed_one_result(subject)


def _one_seed_one_result(subject: Subject) -> None:
    torch.manual_seed(5)
    one = subject.editor(seed=3)
    before = global_draws()
    one.edit([FIRST, SECOND])
    answers = logits(one, PAIRS)
    wanted(global_draws() == before, "numbers were drawn from a global generator")
    torch.manual_seed(6)
    other = subject.editor(seed=3)
    other.edit([FIRST, SECOND])
    wanted(torch.equal(logits(other, PAIRS), answers), "another editor answers otherwise")
    one.reset()
    one.edit([FIRST, SECOND])
    wanted(torch.equal(logits(one, PAIRS), answers), "after a reset it answers otherwise")


@clause
def batch_independence(subject: Subject) -> None:
    """Answers depend neither on what else is in a batch, nor on its order and padding."""
    editor = subject.editor()
    editor.edit([FIRST, SECOND])
    for pairs, what in ((PAIRS, "in a batch"), (PAIRS[::-1], "in a batch of the other order")):
        alone = torch.cat([logits(editor, [pair]) for pair in pairs])
        near(logits(editor, pairs), alone, f"logits alone and {what}")


@clause
def prepared_together(subject: Subject) -> None:
    """Edits that are prepared together are those that are made alone."""
    editor, other = (subject.editor(dtype=torch.float64) for _ in range(2))
    requests = REQUESTS[: min(3, editor.together)]
    made = editor.prepare(requests)
    wanted(len(made) == len(requests), f"{len(made)} edits for {len(requests)} requests")
    for request, make in zip(requests, made, strict=True):
        make()
        other.edit([request])
        near(logits(editor, PAIRS), logits(other, PAIRS), "logits prepared and alone")
        one, two = editor.state_dict(), other.state_dict()
        wanted(one.keys() == two.keys(), "the states have other names")
        for name, tensor in one.items():
            near(tensor, two[name], f"{name} of the state")
        editor.reset()
        other.reset()


@clause
def state_goes_through_disk(subject: Subject) -> None:
    """The state goes through a file, and the stream of edits continues from it to the bit."""
    editor, other = subject.editor(), subject.editor()
    before, answers = weights(other.lm.model), logits(other, PAIRS)
    editor.edit([FIRST, SECOND])
    with TemporaryDirectory() as folder:
        save_file(editor.state_dict(), Path(folder, "state.safetensors"))
        other.edit([THIRD])
        other.load_state_dict(load_file(Path(folder, "state.safetensors")))
    alike = torch.equal(logits(other, PAIRS), logits(editor, PAIRS))
    wanted(alike, "with the state loaded it answers otherwise")
    editor.edit([THIRD])
    other.edit([THIRD])
    alike = torch.equal(logits(other, PAIRS), logits(editor, PAIRS))
    wanted(alike, "an edit behind the loaded state gives other answers")
    other.reset()
    pristine(other, before, answers)


@clause
def decoding_is_teacher_forcing(subject: Subject) -> None:
    """Decoding with a cache gives the tokens that teacher forcing of them gives."""
    editor = subject.editor()
    editor.edit([FIRST, SECOND])
    lm = editor.lm
    prompts = [(prompt, "") for prompt, _ in PAIRS]
    batch = batch_of(lm.tokenizer, prompts, device=lm.device)
    with editor.steering(batch):
        generated = greedy(lm, batch, max_new_tokens=NEW_TOKENS, stop=Stop())
    rows = [
        batch.input_ids[row, :length].tolist() for row, length in enumerate(batch.prompt_lengths)
    ]
    forced = batch_of_ids(rows, generated, batch.texts, padding=0, device=lm.device)
    with torch.no_grad(), editor.steering(forced):
        best = lm.target_logits(forced).argmax(dim=-1)
    flat = [token for ids in generated for token in ids]
    wrong = sum(one != other for one, other in zip(best.tolist(), flat, strict=True))
    wanted(not wrong, f"{wrong} of {len(flat)} tokens are others")


@clause
def decoding_behind_a_target(subject: Subject) -> None:
    """Decoding may go on behind a forced target, where the editor says that it steers by prompt."""
    editor = subject.editor()
    if not editor.steers_by_prompt:
        return
    editor.edit([FIRST, SECOND])
    lm = editor.lm
    bare = batch_of(lm.tokenizer, [(prompt, "") for prompt, _ in PAIRS], device=lm.device)
    forced = batch_of(lm.tokenizer, PAIRS, device=lm.device)
    with editor.steering(bare):
        free = greedy(lm, bare, max_new_tokens=NEW_TOKENS, stop=Stop())
        stop = Stop(ids=frozenset({free[0][1]}))  # so that rows end apart
        expected = greedy(lm, bare, max_new_tokens=NEW_TOKENS, stop=stop)
    with editor.steering(forced):
        _, generated = forced_and_greedy(
            lm, forced, max_new_tokens=NEW_TOKENS, stop=stop, shrink=editor.steers_alike
        )
    wanted(generated == expected, "steers_by_prompt is set, and the answers are others")


@clause
def forced_ends(subject: Subject) -> None:
    """Forced ends bound the work of an edit, and only where its loop may end early."""
    work = []
    for stopping in ("at_once", "by_loss", "never"):
        editor = subject.editor(stopping=stopping)
        with counted_head(editor.lm) as calls:
            editor.edit([FIRST])
        work.append(len(calls))
    least, _, most = work
    said = editor.hparams.stops_early
    wanted(work == sorted(work), f"calls of the head at once, by loss, never: {work}")
    wanted((least < most) == said, f"stops_early is {said}, calls of the head are {work}")


@clause
def untrained_weights(subject: Subject) -> None:
    """Weights that were never trained have the shapes of trained ones, and can be used."""
    untrained = subject.untrained()
    if untrained is None:
        return
    trained = subject.editor()
    one, other = (shapes(editor.resources.artefact) for editor in (untrained, trained))
    wanted(one == other, "the artefacts have other shapes")
    for editor in (untrained, trained):
        editor.edit([FIRST, SECOND])
        wanted(bool(logits(editor, PAIRS).isfinite().all()), "answers are no numbers")
    states = [
        {name: tensor.shape for name, tensor in editor.state_dict().items()}
        for editor in (untrained, trained)
    ]
    wanted(states[0] == states[1], "the states have other shapes")


@clause
def several_devices(subject: Subject) -> None:
    """A model on several devices is refused by an editor that works in its blocks."""
    editor = subject.editor()
    lm, cls = editor.lm, type(editor)
    lm.model.lm_head.to("meta")
    make = partial(cls, lm, editor.hparams, editor.resources)
    if cls.spans_devices:
        make()
        return
    try:
        make()
    except ValueError as error:
        wanted("wants the model on one device" in str(error), f"it is refused otherwise: {error}")
    else:
        wanted(False, "spans_devices is not set, and such a model is taken")


class _UnreadableRequest(EditRequest):
    """A request whose target cannot be had."""

    def __getattribute__(self, name: str) -> Any:
        if name == "target":
            raise InterruptedEditError
        return super().__getattribute__(name)
