"""Where the command line writes: results to standard output, everything else to standard error.

Lines hold texts from data and names from users: what could steer a terminal is written out.
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from bench.core.escaping import visible

PIPE_WIDTH = 200  # columns when nobody watches: tables are not cut to a terminal's 80


def say(line: str) -> None:
    """One line of a result."""
    sys.stdout.write(f"{visible(line)}\n")


def warn(line: str) -> None:
    """One line about the run itself."""
    sys.stderr.write(f"{visible(line)}\n")


def show(table: Table) -> None:
    """A table in the terminal's width, or in full width in a pipe."""
    console = Console()
    (console if console.is_terminal else Console(width=PIPE_WIDTH)).print(table)
