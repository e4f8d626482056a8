"""The `try` command: edit a model by hand and ask it, in a conversation or in one command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import options
from bench.cli.arguments import add, config_of, whole
from bench.core.names import DATASETS
from editors import registry

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from bench.core.config import RunConfig
    from editors.base import EditSample
    from editors.by_hand import Session

EXAMPLES = """examples:
  python -m bench try
      RECIPE on the shipped miniature backbone; `help` and `examples` say what to type
  python -m bench try --editor grace --hparam grace.eps=0.5 --backbone path/to/model
      another editor, on any local Hugging Face model of a known architecture
  python -m bench try --editor rome --edit "Where does Drirel Guxsen live?" "Port Traixport" \\
      --subject "Drirel Guxsen" --ask "In which city does Drirel Guxsen live?" --json
      no conversation: edits, then questions, then the end

Lines may come from a pipe too. Nothing is recorded, and no file stores what was typed.
"""


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `try`."""
    parser = subparsers.add_parser(
        "try",
        help="edit a model by hand and ask it",
        description="Edit a model by hand: state an edit, ask anything, see the answers before and "
        "after and what was retrieved, take edits back.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("which editor, on what")
    what.add_argument("--editor", default="recipe", metavar="NAME", help="default: recipe")
    add(what, options.PRESET, options.BACKBONE)
    what.add_argument(
        "--dataset",
        default=DATASETS[0],
        metavar="NAME",
        help="whose trained weights and training edits the editor takes (default: %(default)s)",
    )
    add(what, options.HPARAM)
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
    once.add_argument(
        "--ask",
        action="append",
        default=[],
        metavar="QUESTION",
        help="ask after all edits; may be repeated (default: the edits' own prompts)",
    )
    once.add_argument("--json", action="store_true", help="print JSON")
    places = parser.add_argument_group("from where, on what")
    places.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="real data files, instead of generated ones"
    )
    places.add_argument("--world-seed", type=whole(0), default=0, metavar="N")
    add(places, *options.CORPUS)
    places.add_argument("--encoder", metavar="NAME|DIR", help="as `run` takes it")
    add(places, *options.HARDWARE)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 130 where a pipe was interrupted."""
    from bench.cli.conversation import Conversation, edit_and_ask, request_of, typed
    from bench.core.numerics import fixed_arithmetic
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
        session = _opened(config)
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


def _opened(config: RunConfig) -> Session:
    """A session without edits; missing weights that train in minutes are trained first.

    Raises:
        ValueError: an editor, backbone or hyper-parameter that cannot be used.
        OSError: missing files, trained weights for example; the sentence says what writes them.
    """
    from bench.cli.conversation import MeasuredSession
    from bench.core.progress import show_busy
    from bench.models.backbones import load
    from bench.models.resources import resources_for
    from bench.runner.planning import editor_inputs

    key, backbone, hparams, sources = editor_inputs(config)
    cls = registry.editor_class(key)
    with show_busy(f"loading {backbone.name} with {cls.label}"):
        lm = load(backbone, dtype=config.dtype, device=config.device, device_map=config.device_map)
        return MeasuredSession(cls(lm, hparams, resources_for(lm, hparams, sources)))


def _samples(args: argparse.Namespace) -> Sequence[EditSample]:
    """Test edits of the data that the editor belongs to, of the embedded world by default."""
    from bench.datasets import get_dataset
    from bench.world.store import data_dir

    directory = args.data_dir or data_dir(args.world_seed)
    return get_dataset(args.dataset).load("test", directory).samples
