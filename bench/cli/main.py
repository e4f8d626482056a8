"""The command line: imports the module of the command alone, and words its errors."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import NoReturn

from bench import __version__
from bench.core.console import quiet_libraries, visible
from bench.core.names import unknown_name

EXAMPLES = """examples:
  python -m bench run --table 1            Table 1 on the shipped miniature backbone
  python -m bench tables --table 1         the same table again, from its records
  python -m bench list                     names of editors, data sets, backbones, tables
  python -m bench run --help               one command; --help-all lists all its options
"""


@dataclass(frozen=True)
class Command:
    """Where a command is defined; its module has `add_commands(subparsers)`."""

    module: str
    help: str


COMMANDS = {
    "run": Command("bench.cli.run", "run the cells of a table and print it"),
    "try": Command("bench.cli.trying", "edit a model by hand and ask it"),
    "plan": Command("bench.cli.plan", "estimate hours, memory and disk of a run"),
    "tables": Command("bench.cli.tables", "print and write a table from stored records"),
    "figures": Command("bench.cli.figures", "draw figures from stored records"),
    "report": Command("bench.cli.report", "write a folder of web pages from stored records"),
    "check": Command("bench.cli.check", "check the numbers: references, claims, cells"),
    "audit": Command("bench.cli.audit", "check the published tables against themselves"),
    "results": Command("bench.cli.results", "list, show, verify, tidy, export and import records"),
    "list": Command("bench.cli.listing", "list editors, data sets, backbones, tables, figures"),
    "stats": Command("bench.cli.stats", "compute the key covariances of a backbone"),
    "train": Command("bench.cli.train", "train an editor's own weights"),
    "import-weights": Command(
        "bench.cli.import_weights", "convert pickled weights to safetensors, safely"
    ),
    "contract": Command("bench.cli.contract", "check that an editor does what every editor must"),
    "world": Command("bench.cli.world", "build and verify the embedded world"),
    "data": Command("bench.cli.data", "check data files, print where to get them"),
}


class Parser(argparse.ArgumentParser):
    """Words every error as one sentence."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence and exit with code 2."""
        print(f"error: {visible(message.removeprefix('argument '))}", file=sys.stderr)
        raise SystemExit(2)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 2 for bad input, 130 interrupted, 141 unread."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    offline = "HF_HUB_OFFLINE" in os.environ  # a user's own setting holds
    quiet_libraries()
    try:
        args = _parser(arguments).parse_args(arguments)
        if vars(args).get("preset") == "paper" and not offline:
            _allow_hub()
        return _flushed(int(args.func(args)))
    except BrokenPipeError:  # who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError) as error:
        print(f"error: {visible(_sentence(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted; the same command continues.", file=sys.stderr)
        return 130


def _flushed(code: int) -> int:
    """Write out what is printed, so that a reader who has left is noticed here."""
    sys.stdout.flush()
    return code


def _parser(arguments: Sequence[str]) -> Parser:
    """All commands by name and help line, with the arguments of the called one only."""
    parser = Parser(
        prog="python -m bench",
        description="Lifelong knowledge editing of language models: run, measure, tabulate.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    called = next((word for word in arguments if not word.startswith("-")), None)
    if called is not None and called not in COMMANDS:
        raise unknown_name("command", called, COMMANDS)
    for name, command in COMMANDS.items():
        if name == called:
            import_module(command.module).add_commands(subparsers)
        else:
            subparsers.add_parser(name, help=command.help)
    return parser


def _allow_hub() -> None:
    """The paper preset's backbones may come from the hub."""
    os.environ["HF_HUB_OFFLINE"] = "0"


def _sentence(error: Exception) -> str:
    """One line; an operating system's error as its reason and its file."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return " ".join(f"{error.strerror}: {error.filename}".split())
    return " ".join(str(error).split())
