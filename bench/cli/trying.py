"""The `try` command: edit a model by hand and ask it, in a conversation or in one command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.cli.arguments import (
    BACKBONE,
    BUNDLE,
    CORPUS,
    DATA_DIR,
    HARDWARE,
    HPARAM,
    PRESET,
    SENTENCE_ENCODER,
    WORLD_SEED,
    Option,
    add,
    add_groups,
    config_of,
)
from bench.core.names import DATASETS
from editors import registry

if TYPE_CHECKING:
    from editors.base import EditSample

# fmt: off
WHICH = (
    Option("--editor", "NAME", "default: recipe", default="recipe"),
    PRESET,
    BACKBONE,
    Option("--dataset", "NAME", "whose trained weights and training edits the editor takes "
           f"(default: {DATASETS[0]})", default=DATASETS[0]),
    HPARAM,
    BUNDLE,
)
# fmt: on


def add_try(parser: argparse.ArgumentParser) -> None:
    """The arguments of `try`."""
    add_groups(parser, {"which editor, on what": WHICH})
    once = parser.add_argument_group("without a conversation")
    once.add_argument(  # shares its list with --subject, so that their order stays known
        "--edit",
        nargs=2,
        action="append",
        dest="typed",
        default=[],
        metavar=("PROMPT", "ANSWER"),
        help="make an edit; may be repeated",
    )
    once.add_argument(
        "--subject",
        nargs=1,
        action="append",
        dest="typed",
        metavar="SUBJECT",
        help="what the prompt of the --edit before it is about (default: the name in it)",
    )
    text = "ask after all edits; may be repeated (default: the edits' own prompts)"
    add(once, Option("--ask", "QUESTION", text, repeated=True), Option("--json", "", "print JSON"))
    places = (DATA_DIR, WORLD_SEED, *CORPUS, SENTENCE_ENCODER, *HARDWARE)
    add_groups(parser, {"from where, on what": places})
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 130 where a pipe was interrupted."""
    from bench.cli.conversation import Conversation, edit_and_ask, request_of, typed
    from bench.core.numerics import fixed_arithmetic
    from bench.runner.opening import opened
    from bench.runner.planning import points

    once = bool(args.typed or args.ask)
    if args.json and not once:
        raise ValueError("--json needs --edit or --ask: a conversation is no JSON.")
    config = config_of(args)
    config = replace(config, editors=(args.editor,), datasets=(args.dataset,), edits=(1,))
    wanted = registry.editor_class(points(config)[0].editor).uses_subject
    # Refused before anything is loaded.
    requests = [request_of(*edit, wanted=wanted) for edit in _edits(args.typed)]
    questions = [typed(text, "A question") for text in args.ask]
    # An undone edit is applied again to the bit, which a GPU does with such kernels alone.
    with fixed_arithmetic(wanted=config.device != "cpu"):
        session = opened(config)
        if once:
            edit_and_ask(session, requests, questions, as_json=args.json)
            return 0
        return Conversation(session, lambda: _samples(args)).run()


def _edits(named: Sequence[Sequence[str]]) -> list[tuple[str, str, str | None]]:
    """(prompt, answer, subject) of each --edit, from the words of --edit and --subject in order.

    Raises:
        ValueError: a subject without an edit of its own.
    """
    edits: list[tuple[str, str, str | None]] = []
    for words in named:
        if len(words) == 2:
            edits.append((words[0], words[1], None))
        elif edits and edits[-1][2] is None:
            edits[-1] = (*edits[-1][:2], words[0])
        else:
            raise ValueError("--subject has to follow the --edit that it is the subject of.")
    return edits


def _samples(args: argparse.Namespace) -> Sequence[EditSample]:
    """Test edits of the data that the editor belongs to, of the embedded world by default."""
    from bench.datasets import get_dataset
    from bench.world.store import data_dir

    directory = args.data_dir or data_dir(args.world_seed)
    return get_dataset(args.dataset).load("test", directory).samples
