"""Reading what commands print on standard error."""

from __future__ import annotations


def without_next_steps(errors: str) -> str:
    """All but the hints of a finished run about further commands."""
    lines = errors.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("next: "))


def warnings_in(errors: str) -> str:
    """As above, without the lines of progress, which a run that takes long prints in a pipe."""
    lines = without_next_steps(errors).splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("cells: "))


def next_commands(errors: str) -> list[str]:
    """The commands that a finished run suggests."""
    hints = [line for line in errors.splitlines() if line.startswith("next: ")]
    return [line.removeprefix("next: ").partition("  # ")[0] for line in hints]
