"""The `try` command: edit a model by hand and ask it, in a conversation or in one command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import arguments
from bench.cli.interactive.one_shot import TypedEdit
from bench.cli.values import whole
from bench.core.names import DATASETS
from bench.core.numerics import fixed_arithmetic

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from bench.cli.interactive.examples import Example

EXAMPLES = """examples:
  python -m bench try
      RECIPE on the shipped miniature backbone; `help` and `examples` say what to type
  python -m bench try --editor grace --hparam grace.eps=0.5 --backbone path/to/model
      another editor, on any local Hugging Face model of a known architecture
  python -m bench try --editor rome --edit "Where does Drirel Guxsen live?" "Port Traixport" \\
      --subject "Drirel Guxsen" --ask "In which city does Drirel Guxsen live?" --json
      no conversation: edits, then questions, then the end

Lines may come from a pipe too. Nothing is recorded, and nothing that was typed is kept.
"""


class _AddEdit(argparse.Action):
    """Collects edits in the order in which they are named."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option: str | None = None,
    ) -> None:
        prompt, target = map(str, values or ())  # argparse has counted them
        namespace.edits = [*namespace.edits, TypedEdit(prompt=prompt, target=target)]


class _AddSubject(argparse.Action):
    """Gives the edit named last its subject."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option: str | None = None,
    ) -> None:
        if not namespace.edits or namespace.edits[-1].subject is not None:
            parser.error("--subject belongs behind the --edit that it is the subject of.")
        namespace.edits[-1].subject = str(values)


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
    _add_editor(parser)
    once = parser.add_argument_group("without a conversation")
    once.add_argument(
        "--edit",
        nargs=2,
        action=_AddEdit,
        dest="edits",
        default=[],
        metavar=("PROMPT", "ANSWER"),
        help="make an edit; may be repeated",
    )
    once.add_argument(
        "--subject",
        action=_AddSubject,
        help="what the prompt of the --edit before it is about (default: the name in it)",
    )
    once.add_argument(
        "--ask",
        action="append",
        default=[],
        metavar="QUESTION",
        help="ask behind all edits; may be repeated (default: the edits' own prompts)",
    )
    once.add_argument("--json", action="store_true", help="print JSON")
    _add_places(parser)
    parser.set_defaults(
        func=run,
        weights=None,
        metrics="all",
        measure=None,
        measure_text=None,
        generation_prompt="context_free",
        index=None,
    )


def _add_editor(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("which editor, on what")
    what.add_argument("--editor", default="recipe", metavar="NAME", help="default: recipe")
    arguments.add_preset(what)
    arguments.add_backbone(what, default="Table 1's")
    what.add_argument(
        "--dataset",
        default=DATASETS[0],
        metavar="NAME",
        help="whose trained weights and training edits the editor takes (default: %(default)s)",
    )
    what.add_argument(
        "--hparam",
        action="append",
        default=[],
        metavar="EDITOR.NAME=VALUE",
        help="another hyper-parameter or mode than the editor's preset has, or another of its "
        "presets: EDITOR=PRESET; may be repeated",
    )


def _add_places(parser: argparse.ArgumentParser) -> None:
    places = parser.add_argument_group("from where, on what")
    places.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="real data files, instead of made ones"
    )
    places.add_argument("--world-seed", type=whole(0), default=0, metavar="N")
    arguments.add_corpus(places)
    places.add_argument("--encoder", metavar="NAME|DIR", help="as `run` takes it")
    arguments.add_hardware(places)


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 130 where a pipe was interrupted."""
    from bench.cli.interactive.loop import Loop
    from bench.cli.interactive.one_shot import requests_of, tell
    from bench.cli.interactive.opening import Wanted, opened, point_of
    from bench.cli.interactive.requests import question_of

    wanted = Wanted(
        editor=args.editor, backbone=args.backbone, dataset=args.dataset, preset=args.preset
    )
    once = bool(args.edits or args.ask)
    if args.json and not once:
        raise ValueError("--json needs --edit or --ask: a conversation is no JSON.")
    requests = requests_of(args.edits, point_of(wanted).editor)  # refused before anything is loaded
    questions = [question_of(text) for text in args.ask]
    # What is undone is made again to the bit, which a GPU does with such kernels alone.
    with fixed_arithmetic(wanted=arguments.device_of(args) != "cpu"):
        session = opened(wanted, arguments.settings(args))
        if once:
            return tell(session, requests, questions, as_json=args.json)
        return Loop(session, lambda: _examples(args)).run()


def _examples(args: argparse.Namespace) -> list[Example]:
    """Of the data that the editor belongs to, the made world's by default."""
    from bench.cli.interactive.examples import examples
    from bench.datasets import get_dataset
    from bench.world.store import data_dir

    directory = args.data_dir or data_dir(args.world_seed)
    return examples(get_dataset(args.dataset).load("test", directory).samples)
