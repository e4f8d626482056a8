"""Clauses about what an editor class declares, and whether it is true."""

from __future__ import annotations

import json
from functools import partial

from safetensors.torch import load_file

from bench.checks.contract.clause import (
    FIRST,
    PAIRS,
    SECOND,
    BrokenClauseError,
    clause,
    require,
)
from bench.checks.contract.tiny import Subject, counted_head, logits
from editors import registry


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
    try:
        cls.hparams_class.from_dict({"no_such_name": 1})
    except ValueError as error:
        require("no_such_name" in str(error), f"the refusal does not name it: {error}")
    else:
        require(False, "an unknown name was taken")


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
    build = partial(cls, lm, editor.hparams, editor.resources)
    if cls.spans_devices:
        build()
        return
    try:
        build()
    except ValueError as error:
        refused = "wants the model on one device" in str(error)
        require(refused, f"it is refused otherwise: {error}")
    else:
        require(False, "spans_devices is not set, and such a model is taken")
