"""The `contract` command: whether an editor does what every editor must do."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.core.console import say
from editors import registry

if TYPE_CHECKING:
    from argparse import _SubParsersAction

EXAMPLES = """examples:
  python -m bench contract path/to/my_editor.py
      your own editor, before it is run
  python -m bench contract rome
      an editor of this package
"""


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `contract`."""
    parser = subparsers.add_parser(
        "contract",
        help="check that an editor does what every editor must",
        description="Put every clause of the contract to an editor, on tiny random models of three "
        "architectures, built in memory: seconds to a minute. The editor has its preset `tiny`, or "
        "else `default`.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "editor", metavar="EDITOR", help="a name, an installed editor's too, or a Python file"
    )
    parser.set_defaults(func=contract)


def contract(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 where a clause is broken."""
    key = registry.resolve(args.editor)
    label = registry.editor_class(key).label

    from bench.checks.contract import verdicts

    broken = total = 0
    with TemporaryDirectory() as folder:
        for verdict in verdicts(key, Path(folder)):
            total += 1
            broken += not verdict.holds
            for line in verdict.lines():
                say(line)
    say(f"{label}: {total - broken} of {total} clauses hold.")
    return int(bool(broken))
