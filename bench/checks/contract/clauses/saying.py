"""Clauses about what a class says of itself, and whether that is so."""

from __future__ import annotations

import json
from functools import partial

from bench.checks.contract.clause import FIRST, PAIRS, SECOND, clause, shapes, wanted
from bench.checks.contract.subjects import Subject, counted_head, logits
from editors import registry


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
