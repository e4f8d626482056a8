"""The commands `edit` and `score`: facts written into a model, and an edited model scored."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import __version__
from bench.cli.arguments import (
    CORPUS,
    DATA_DIR,
    HARDWARE,
    SENTENCE_ENCODER,
    WORLD_SEED,
    Option,
    add,
    add_groups,
    config_of,
)
from bench.cli.trying import WHICH
from bench.core.console import say
from bench.core.files import check_new
from editors import registry
from editors.parts.saved_edits import read_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.config import RunConfig
    from editors.base import EditSample
    from editors.by_hand import Session

# fmt: off
FILES = (
    Option("--facts", "FILE", "JSON, JSON lines or CSV with prompt, target and subject; see "
           "docs/add_your_own.md", Path),
    Option("--save", "DIR", "write the edits to a new directory: a plain Hugging Face model where "
           "the editor changes weights, else its state for --load", Path),
    Option("--load", "DIR", "begin with the edits that --save wrote there, with their editor, "
           "hyper-parameters and model", Path),
    Option("--ask", "QUESTION", "ask after all edits; may be repeated", repeated=True),
)
# fmt: on


def add_edit(parser: argparse.ArgumentParser) -> None:
    """The arguments of `edit`."""
    add(parser, *FILES)
    places = (DATA_DIR, WORLD_SEED, *CORPUS, SENTENCE_ENCODER, *HARDWARE)
    add_groups(parser, {"which editor, on what": WHICH})
    add_groups(parser, {"from where, on what": places})
    parser.set_defaults(func=edit)


def edit(args: argparse.Namespace) -> int:
    """Exit code 0."""
    from bench.core.progress import counted
    from bench.runner.opening import opened

    if args.facts is None and args.load is None:
        raise ValueError("edit wants --facts FILE, --load DIR, or both.")
    if args.save is not None:
        check_new(args.save)
    samples = [] if args.facts is None else _samples(args.facts)
    config = _loaded(args) if args.load is not None else _config(args)
    session = opened(config)
    if args.load is not None:
        session.load(args.load)
        say(f"loaded: {args.load}, {len(session.edits):,} edits")
    start = time.perf_counter()
    for sample in counted(samples, "edits", len(samples)):
        session.edit(sample.request)
    if samples:
        seconds = time.perf_counter() - start
        say(f"edits: {len(samples):,} in {seconds:.1f} s; {_answered(session, samples)}")
    if args.save is not None:
        say(f"saved: {session.save(args.save, **_facts(config, session))}")
    _ask(session, args.ask)
    return 0


def _samples(path: Path) -> Sequence[EditSample]:
    from bench.core.console import warn
    from bench.datasets import get_dataset

    loaded = get_dataset(str(path)).load("test", path.parent)
    for note in loaded.notes():
        warn(f"{path}: {note}")
    return loaded.samples


def _config(args: argparse.Namespace) -> RunConfig:
    config = config_of(args)
    return replace(config, editors=(args.editor,), datasets=(args.dataset,), edits=(1,))


def _loaded(args: argparse.Namespace) -> RunConfig:
    """As the edits were saved; options of the command say what is elsewhere now."""
    facts = read_facts(args.load)
    config = _config(args)
    key = facts.get("editor_key") or registry.resolve(facts["editor"])
    hparams = {f"{key}.{name}": value for name, value in facts["hyper_parameters"].items()}
    return replace(
        config,
        editors=(key,),
        datasets=(facts.get("dataset") or args.dataset,),
        preset=facts.get("preset", config.preset),
        backbone=args.backbone or facts.get("backbone"),
        hparams=hparams,
    )


def _facts(config: RunConfig, session: Session) -> dict[str, Any]:
    """What `--load` opens the same editor and model by, and what readers want to know."""
    (key,), (dataset,) = config.editors or (), config.datasets or ()
    return {
        "version": __version__,
        "editor_key": str(key),
        "dataset": str(dataset),
        "preset": config.preset,
        "backbone": str(config.backbone or session.editor.lm.name),
        "backbone_digest": session.editor.lm.digest,
        "dtype": config.dtype,
    }


def _answered(session: Session, samples: Sequence[EditSample]) -> str:
    """How many of the edits' own prompts are answered with the new answer, decoded."""
    from bench.evaluation.inference import generate
    from bench.evaluation.metrics import generated_exact
    from bench.evaluation.probing import items_of
    from editors.parts.tokens import text_of

    editor, items = session.editor, [items_of(sample)[0] for sample in samples]
    answers = generate(editor.lm, items, editor.steering)
    texts = [text_of(editor.lm.tokenizer, ids) for ids in answers]
    right = sum(
        max(generated_exact(text, gold) for gold in (item.target, *item.aliases))
        for text, item in zip(texts, items, strict=True)
    )
    return f"{right:.0f} of their prompts are answered with the new answer"


def _ask(session: Session, questions: Sequence[str]) -> None:
    from bench.cli.conversation import reply_lines, show, typed

    for text in questions:
        say("")
        show(reply_lines(session.ask(typed(text, "A question")), session))


SCORED = (
    Option("--model", "DIR", "the edited model", Path),
    Option("--base", "NAME|DIR", "the model that was edited (default: the one that edits.json of "
           "--model names, else the table's)"),
    Option("--facts", "FILE", "the edits, with what is asked about them (see docs/add_your_own.md; "
           "default: the edits that edits.json of --model names, without further questions)", Path),
    Option("--out", "DIR", "the record to DIR and the table to DIR/tables (default: results and "
           "tables)", Path),
)  # fmt: skip


def add_score(parser: argparse.ArgumentParser) -> None:
    """The arguments of `score`."""
    add(parser, *SCORED, WORLD_SEED)
    add_groups(parser, {"on what": (HARDWARE,)})
    parser.set_defaults(func=score)


def score(args: argparse.Namespace) -> int:
    """Exit code 0."""
    from tempfile import TemporaryDirectory

    from bench.cli.arguments import backbone_of
    from bench.cli.run import show_table
    from bench.core.grids import TABLES
    from bench.evaluation.record_kinds import identity_of
    from bench.runner.scoring import score as scored
    from editors.parts.saved_edits import FACTS

    if args.model is None:
        raise ValueError("score wants --model DIR, the directory of an edited model.")
    saved = args.model / FACTS
    known = read_facts(args.model) if saved.is_file() else {}
    args.backbone = args.base or known.get("backbone")
    args.facts = args.facts or (saved if known else None)
    if args.facts is None:
        raise ValueError(f"score wants --facts FILE: {args.model} has no {FACTS} that names them.")
    config = config_of(args)
    with TemporaryDirectory() as folder:
        facts = args.facts
        if facts == saved:
            facts = Path(folder) / "edits.json"
            facts.write_text(json.dumps(known["edits"]), encoding="utf-8")
        record = scored(args.model, backbone_of(config), str(facts), config)
    show_table(TABLES[1], [identity_of(record["cell"])], [record], config.tables)
    return 0
