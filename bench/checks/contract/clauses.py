"""The clauses: what every editor declares, and does to a model and its answers.

A clause returns where it holds and raises `BrokenClauseError` where it does not. Any other error
of an editor breaks a clause too.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.checks.contract.clause import (
    FIRST,
    PAIRS,
    SECOND,
    THIRD,
    BrokenClauseError,
    Pristine,
    clause,
    refused,
    require,
    require_answers,
    require_clean,
    require_close,
    require_equal,
)
from bench.checks.contract.tiny import (
    REQUESTS,
    InterruptedEditError,
    Subject,
    batch_for,
    counted_head,
    log_probability,
    logits,
    tiny_mistral,
)
from editors import registry
from editors.base import Editor, EditRequest
from editors.parts.fact_memory import InContextEditor
from editors.parts.fast_paths import fast_paths
from editors.parts.generation import BeyondWindowError, Stop, forced_and_greedy, greedy
from editors.parts.tokens import TokenBatch, batch_of_ids

BARE = [(prompt, "") for prompt, _ in PAIRS]
NEW_TOKENS = 5
WINDOW = 48  # holds each pair with new tokens, and not with a text in front of it
RAISED = 0.1  # of a target's mean log-probability, by an edit of it


# ---- answers of an edited model, and what is looked up for them ---------------------------------


@clause
def batch_independence(subject: Subject) -> None:
    """Answers depend neither on the other texts of a batch, nor on its order and padding."""
    editor = subject.editor()
    editor.edit([FIRST, SECOND])
    for pairs, what in ((PAIRS, "in a batch"), (PAIRS[::-1], "in a batch of the other order")):
        alone = torch.cat([logits(editor, [pair]) for pair in pairs])
        require_close(logits(editor, pairs), alone, f"logits alone and {what}")


@clause
def short_window(subject: Subject) -> None:
    """Answers do not depend on the batch where attention looks back at a few tokens."""
    of_llama = replace(subject, architecture="llama").editor()
    editor = type(of_llama)(tiny_mistral(WINDOW), of_llama.hparams, of_llama.resources)
    editor.edit([FIRST, SECOND])
    alone = torch.cat([logits(editor, [pair]) for pair in PAIRS])
    require_close(logits(editor, PAIRS), alone, "logits alone and in a batch")
    with suppress(BeyondWindowError):  # such rows are decoded alone
        together = _decoded(editor, BARE)
        apart = [row for pair in BARE for row in _decoded(editor, [pair])]
        require(together == apart, f"decoded in a batch {together}, alone {apart}")


def _decoded(editor: Editor[Any], pairs: Sequence[tuple[str, str]]) -> list[list[int]]:
    batch = batch_for(editor.lm, pairs)
    with editor.steering(batch):
        return greedy(editor.lm, batch, max_new_tokens=NEW_TOKENS, stop=Stop())


@clause
def decoding_is_teacher_forcing(subject: Subject) -> None:
    """Decoding with a cache gives the tokens that teacher forcing of them gives."""
    editor = subject.editor()
    editor.edit([FIRST, SECOND])
    lm = editor.lm
    batch = batch_for(lm, BARE)
    with editor.steering(batch):
        generated = greedy(lm, batch, max_new_tokens=NEW_TOKENS, stop=Stop())
    rows = [
        batch.input_ids[row, :length].tolist() for row, length in enumerate(batch.prompt_lengths)
    ]
    forced = batch_of_ids(rows, generated, batch.texts, padding=0, device=lm.device)
    with torch.no_grad(), editor.steering(forced):
        best = lm.target_logits(forced).argmax(dim=-1).tolist()
    flat = [token for ids in generated for token in ids]
    wrong = sum(token != expected for token, expected in zip(best, flat, strict=True))
    require(not wrong, f"{wrong} of {len(flat)} tokens differ")


@clause
def decoding_after_a_target(subject: Subject) -> None:
    """Decoding may continue after a forced target, where the editor sets steers_by_prompt."""
    editor = subject.editor()
    if not fast_paths(editor).steers_by_prompt:
        return
    editor.edit([FIRST, SECOND])
    lm = editor.lm
    bare, forced = batch_for(lm, BARE), batch_for(lm, PAIRS)
    with editor.steering(bare):
        free = greedy(lm, bare, max_new_tokens=NEW_TOKENS, stop=Stop())
        stop = Stop(ids=frozenset({free[0][1]}))  # so that rows end apart
        expected = greedy(lm, bare, max_new_tokens=NEW_TOKENS, stop=stop)
    with editor.steering(forced):
        _, generated = forced_and_greedy(
            lm, forced, max_new_tokens=NEW_TOKENS, stop=stop, shrink=fast_paths(editor).steers_alike
        )
    require(generated == expected, "steers_by_prompt is set, and the answers differ")


@clause
def retrieval_is_declared(subject: Subject) -> None:
    """Answers depend on a retrieval text only where retrieves_text is set, and on the retrieved."""
    editor = subject.editor()
    editor.edit([FIRST])
    editor.edit([SECOND])
    batch = batch_for(editor.lm, PAIRS)
    other = replace(batch, texts=batch.texts[::-1])
    own, swapped = (_steered(editor, each) for each in (batch, other))
    if not editor.retrieves_text:
        same = torch.equal(torch.cat(own), torch.cat(swapped))
        require(same, "retrieves_text is not set, and another retrieval text changes answers")
        return
    retrieved = [fast_paths(editor).retrieved(each.texts) for each in (batch, other)]
    if retrieved[0] is None or retrieved[1] is None:
        return
    for row, (before, after) in enumerate(zip(*retrieved, strict=True)):
        if before == after:
            require_close(own[row], swapped[row], "logits of one row with equal retrievals")


@clause
def explanations_hold(subject: Subject) -> None:
    """The edit that an editor names as used is the edit that steers the answer."""
    editor = subject.editor()
    prompts = [prompt for prompt, _ in PAIRS]
    if editor.explain(prompts) is None:
        return
    editor.edit([FIRST])
    editor.edit([SECOND])
    explanations = editor.explain(prompts) or ()
    require(len(explanations) == len(prompts), "it does not explain every text")
    for pair, explanation in zip(PAIRS, explanations, strict=True):
        fired, used = explanation.fired, explanation.used
        plain = batch_for(editor.lm, [pair])
        with torch.no_grad():
            steered = not torch.equal(logits(editor, [pair]), editor.lm.target_logits(plain))
        require(fired == steered, f"of {pair[0]!r}, fired is {fired}, steered {steered}")
        rows = [candidate.row for candidate in explanation.candidates]
        require(used is None or used in rows, f"{used} is used and no candidate")


@torch.no_grad()
def _steered(editor: Editor[Any], batch: TokenBatch) -> tuple[Tensor, ...]:
    """Logits of each row at its target's positions."""
    with editor.steering(batch):
        whole = editor.lm.target_logits(batch)
    return torch.split(whole, [len(ids) for ids in batch.target_ids])


# ---- what a class declares ---------------------------------------------------------------------


@clause
def names(subject: Subject) -> None:
    """The class declares its label, aliases, family and version."""
    entry, cls = registry.describe(subject.key), registry.editor_class(subject.key)
    source, own = (entry.label, entry.aliases, entry.family), (cls.label, cls.aliases, cls.family)
    require(source == own, f"the source says {source}, the class {own}")
    require(cls.family in {"MP", "AP", "RB"}, f"family is {cls.family!r}, not MP, AP or RB")
    require(cls.version >= 1, f"version is {cls.version!r}, not at least 1")
    shipped = subject.key in registry.shipped()
    require(not shipped or entry.in_paper == cls.in_paper, "source and class differ in in_paper")


@clause
def hparams(subject: Subject) -> None:
    """Every preset goes through JSON, and an unknown hyper-parameter is refused by name."""
    cls = registry.editor_class(subject.key)
    require(bool(cls.presets), "there are no presets")
    for name, preset in cls.presets.items():
        require(type(preset) is cls.hparams_class, f"preset {name!r} is of another class")
        values = json.loads(json.dumps(preset.to_dict()))
        same = cls.hparams_class.from_dict(values) == preset
        require(same, f"preset {name!r} comes back changed")
    with refused(ValueError, "no_such_name", "an unknown name was taken"):
        cls.hparams_class.from_dict({"no_such_name": 1})


@clause
def forced_ends(subject: Subject) -> None:
    """Forced ends bound the work of an edit, and only where its loop may end early."""
    work = []
    for stopping in ("at_once", "by_loss", "never"):
        editor = subject.editor(stopping=stopping)
        with counted_head(editor.lm) as calls:
            editor.edit([FIRST])
        work.append(len(calls))
    early = editor.hparams.stops_early
    require(work == sorted(work), f"calls of the head at once, by loss, never: {work}")
    require((work[0] < work[2]) == early, f"stops_early is {early}, calls of the head are {work}")


@clause
def untrained_weights(subject: Subject) -> None:
    """Weights that were never trained have the shapes of trained ones, and can be used."""
    untrained = subject.untrained()
    if untrained is None:
        return
    artefacts, states = [], []
    for editor in (untrained, subject.editor()):
        if editor.resources.artefact is None:
            raise BrokenClauseError("there is no artefact")
        tensors = load_file(editor.resources.artefact)
        artefacts.append({name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()})
        editor.edit([FIRST, SECOND])
        require(bool(logits(editor, PAIRS).isfinite().all()), "answers are NaN or infinite")
        states.append({name: tensor.shape for name, tensor in editor.state_dict().items()})
    require(artefacts[0] == artefacts[1], "the artefacts have other shapes")
    require(states[0] == states[1], "the states have other shapes")


@clause
def several_devices(subject: Subject) -> None:
    """A model on several devices is refused by an editor that works in its blocks."""
    editor = subject.editor()
    lm, cls = editor.lm, type(editor)
    lm.model.lm_head.to("meta")
    taken = "spans_devices is not set, and such a model is taken"
    refusal = refused(ValueError, "wants the model on one device", taken)
    with nullcontext() if cls.spans_devices else refusal:
        cls(lm, editor.hparams, editor.resources)


# ---- edits: their effect, their order, and that a reset undoes them -----------------------------


@clause
def empty_edit(subject: Subject) -> None:
    """An empty edit changes nothing."""
    editor = subject.editor()
    before, state = Pristine(editor), editor.state_dict()
    editor.edit([])
    require_equal(editor.state_dict(), state, "the state")
    before.require_again(editor)


@clause
def edit_raises_target(subject: Subject) -> None:
    """An edit raises the log-probability of its target."""
    editor = subject.editor()
    before = log_probability(editor, FIRST)
    editor.edit([FIRST])
    raised = log_probability(editor, FIRST) - before
    if isinstance(editor, InContextEditor):  # random weights do not read their context
        require(abs(raised) > RAISED / 10, f"it moved by {raised:.3g}")
    else:
        require(raised > RAISED, f"it rose by {raised:.3g}, wanted {RAISED}")


@clause
def edits_accumulate(subject: Subject) -> None:
    """A second edit adds to the first, and the model answers by both."""
    editor = subject.editor()
    answers = []
    for requests in ([FIRST], [SECOND], [FIRST, SECOND]):
        for request in requests:
            editor.edit([request])
        answers.append(logits(editor, PAIRS[:2]))
        editor.reset()
    *alone, both = answers
    for other, which in zip(alone, ("the first", "the second"), strict=True):
        require(not torch.equal(both, other), f"two edits answer as {which} alone does")


@clause
def one_seed_one_result(subject: Subject) -> None:
    """One seed gives one result, and no global random number is drawn."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        editor = subject.editor(seed=3)
        before = _generators()
        editor.edit([FIRST, SECOND])
        answers = logits(editor, PAIRS)
        require(_generators() == before, "numbers were drawn from a global generator")
        torch.manual_seed(6)
        other = subject.editor(seed=3)
        other.edit([FIRST, SECOND])
        require_answers(other, answers, "another editor answers otherwise")
        editor.reset()
        editor.edit([FIRST, SECOND])
        require_answers(editor, answers, "after a reset it answers otherwise")


def _generators() -> list[Any]:
    """The states of the global generators, comparable."""
    _, keys, *rest = np.random.get_state()  # noqa: NPY002 - the global generator is meant
    return [torch.get_rng_state().tolist(), random.getstate(), np.asarray(keys).tolist(), rest]


@clause
def prepared_together(subject: Subject) -> None:
    """Edits that are prepared together equal edits that are prepared alone."""
    editor, other = (subject.editor(dtype=torch.float64) for _ in range(2))
    paths = fast_paths(editor)
    requests = REQUESTS[: min(3, paths.edits_at_once)]
    prepared = paths.prepare(requests)
    require(len(prepared) == len(requests), f"{len(prepared)} edits for {len(requests)} requests")
    for request, apply in zip(requests, prepared, strict=True):
        apply()
        other.edit([request])
        require_close(logits(editor, PAIRS), logits(other, PAIRS), "logits prepared and alone")
        state, alone = editor.state_dict(), other.state_dict()
        require(state.keys() == alone.keys(), "the states have other names")
        for name, tensor in state.items():
            require_close(tensor, alone[name], f"{name} of the state")
        editor.reset()
        other.reset()


@clause
def state_round_trip(subject: Subject) -> None:
    """The state goes through a file, and the stream of edits continues from it to the bit."""
    editor, other = subject.editor(), subject.editor()
    before = Pristine(other)
    editor.edit([FIRST, SECOND])
    with TemporaryDirectory() as folder:
        save_file(editor.state_dict(), Path(folder, "state.safetensors"))
        other.edit([THIRD])
        other.load_state_dict(load_file(Path(folder, "state.safetensors")))
    require_answers(other, logits(editor, PAIRS), "with the state loaded it answers otherwise")
    editor.edit([THIRD])
    other.edit([THIRD])
    answers = logits(editor, PAIRS)
    require_answers(other, answers, "an edit after the loaded state gives other answers")
    other.reset()
    before.require_again(other)


@clause
def exact_reset(subject: Subject) -> None:
    """Reset restores the model to the bit and leaves nothing on it."""
    editor = subject.editor()
    before = Pristine(editor)
    editor.edit([FIRST])
    editor.edit([SECOND])
    changed = not torch.equal(logits(editor, PAIRS), before.answers)
    require(changed, "the edits changed no answer")
    editor.reset()
    before.require_again(editor)


@clause
def reset_after_a_bad_request(subject: Subject) -> None:
    """Reset works after a request that cannot be read, which ends an edit halfway."""
    editor = subject.editor()
    before = Pristine(editor)
    unreadable = _UnreadableRequest(prompt="No target for", target="", subject="target")
    with refused(InterruptedEditError, "", "the error of the request was swallowed"):
        editor.edit([FIRST, unreadable])
    require_clean(editor)
    editor.reset()
    before.require_again(editor)


class _UnreadableRequest(EditRequest):
    """A request whose target raises, as soon as it is read."""

    def __post_init__(self) -> None:
        """Without the checks, which read the target."""

    def __getattribute__(self, name: str) -> Any:
        if name == "target":
            raise InterruptedEditError
        return super().__getattribute__(name)


@clause
def reset_after_a_failing_model(subject: Subject) -> None:
    """Reset works after a model that fails in the middle of an edit."""
    for limit in (0, 3):
        editor = subject.editor()
        before = Pristine(editor)
        with counted_head(editor.lm, limit=limit), suppress(InterruptedEditError):
            editor.edit([FIRST])  # an editor that runs no model edits undisturbed
        require_clean(editor)
        editor.reset()
        before.require_again(editor)


@clause
def no_leftovers(subject: Subject) -> None:
    """Outside of steering an edited model has no hook, and no parameter is left to train."""
    editor = subject.editor()
    editor.edit([FIRST, SECOND])
    require_clean(editor)


@clause
def steering_ends(subject: Subject) -> None:
    """Steering ends with its context, also by an exception."""
    editor = subject.editor()
    editor.edit([FIRST])
    batch = batch_for(editor.lm, PAIRS)
    raised = False
    try:
        with editor.steering(batch):
            raise InterruptedEditError
    except InterruptedEditError:
        raised = True
    require(raised, "steering swallows exceptions")
    require_clean(editor)
