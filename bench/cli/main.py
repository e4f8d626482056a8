"""The command line: imports the module of the command alone, and words its errors."""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from bench import __version__
from bench.core.console import quiet_libraries, visible
from bench.core.names import unknown_name

EXAMPLES = """examples:
  python -m bench run --table 1            Table 1 on the shipped miniature backbone
  python -m bench tables --table 1         the same table again, from its records
  python -m bench list                     names of editors, data sets, backbones, tables
  python -m bench run --help               one command; --help-all lists all its options
"""
# What `commands.toml` says of each, by name.
COMMANDS: Mapping[str, Mapping[str, Any]] = tomllib.loads(
    Path(__file__).with_name("commands.toml").read_text("utf-8")
)


class Parser(argparse.ArgumentParser):
    """Words every error as one sentence, and takes no empty value: as a path it is a folder."""

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        # The words of a command are read by its own parser, and `try` names its texts itself.
        read_later = action.nargs == argparse.PARSER or action.dest in ("typed", "ask")
        if not arg_string.strip() and not read_later:
            raise argparse.ArgumentError(action, "expected a value, got none.")
        return super()._get_value(action, arg_string)

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
        given = vars(args)
        if not offline and (given.get("preset") == "paper" or given.get("origin") == "hub"):
            os.environ["HF_HUB_OFFLINE"] = "0"  # models may come from the hub
        code = int(args.func(args))
        sys.stdout.flush()  # so that a reader who has left is noticed here
    except BrokenPipeError:  # who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError) as error:
        print(f"error: {visible(_sentence(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted; the same command continues.", file=sys.stderr)
        return 130
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
        if name != called:
            subparsers.add_parser(name, help=command["summary"])
            continue
        module = import_module(f"bench.cli.{command['module']}")
        add_arguments = getattr(module, f"add_{name.replace('-', '_')}")
        add_arguments(_add_called(subparsers, name, **command))
    return parser


def _add_called(
    subparsers: argparse._SubParsersAction[Parser],
    name: str,
    *,
    summary: str,
    description: str = "",
    examples: str = "",
    common: Sequence[str] = (),
    actions: Mapping[str, Mapping[str, Any]] | None = None,
    **_: str,
) -> Any:
    """A command as `commands.toml` describes it, without its arguments; or its actions by name."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=not common,
    )
    if common:
        common = ("help", "help_all", *common)
        text = "show the common options"
        parser.add_argument("-h", "--help", action=_Help, common=common, help=text)
        parser.add_argument("--help-all", action=_Help, help="show all options")
    if actions is None:
        return parser
    subparsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    return {action: _add_called(subparsers, action, **words) for action, words in actions.items()}


class _Brief(argparse.RawDescriptionHelpFormatter):
    """Shows the common options alone, with their defaults."""

    def __init__(self, prog: str, *, common: Collection[str] | None = None, **more: Any) -> None:
        super().__init__(prog, **more)
        self._common = common

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        shown = list(filter(self._is_shown, actions))
        super().add_usage(usage, shown, groups if self._common is None else (), prefix)

    def add_argument(self, action: argparse.Action) -> None:
        if self._is_shown(action):
            super().add_argument(action)

    def _is_shown(self, action: argparse.Action) -> bool:
        return self._common is None or action.dest in self._common

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        if not text or "default:" in text or action.dest in ("help", "help_all"):
            return text
        none = "off" if action.nargs == 0 else "none"
        return f"{text} (default: {action.default or none})"


class _Help(argparse.Action):
    """Prints the help, of the `common` options or of all, and ends the process."""

    def __init__(self, *, common: Collection[str] | None = None, **more: Any) -> None:
        super().__init__(nargs=0, default=argparse.SUPPRESS, **more)
        self._common = common

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.formatter_class = partial(_Brief, common=self._common)
        parser.print_help()
        parser.exit()


def _sentence(error: Exception) -> str:
    """One line; an operating system's error as its reason and its file."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return " ".join(f"{error.strerror}: {error.filename}".split())
    return " ".join(str(error).split())
