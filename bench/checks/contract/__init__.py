"""What every editor must do, clause by clause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.checks.contract import clauses  # noqa: F401 - it adds the clauses
from bench.checks.contract.clause import CLAUSES, BrokenClauseError, Clause
from bench.checks.contract.tiny import TINY, Subject

__all__ = ["CLAUSES", "BrokenClauseError", "Clause", "Verdict", "verdicts"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A clause, and on which models it fails and why; it holds on all others."""

    clause: Clause
    models: int
    failures: tuple[tuple[str, str], ...]  # architecture, why

    @property
    def holds(self) -> bool:
        return not self.failures

    def lines(self) -> Iterator[str]:
        """The clause, and one line for each reason."""
        yield f"{'passed' if self.holds else 'FAILED'}  {self.clause.sentence}"
        for why in dict.fromkeys(why for _, why in self.failures):
            where = [model for model, other in self.failures if other == why]
            on = "every model" if len(where) == self.models else ", ".join(where)
            yield f"        on {on}: {why}."


def verdicts(
    key: str, directory: Path, architectures: Sequence[str] = tuple(TINY)
) -> Iterator[Verdict]:
    """The verdict on each clause; a directory is for an encoder and trained weights."""
    for clause in CLAUSES.values():
        failures = []
        for architecture in architectures:
            subject = Subject(key=key, architecture=architecture, directory=directory)
            if (why := _failure(clause, subject)) is not None:
                failures.append((f"tiny-{architecture}", why))
        yield Verdict(clause=clause, models=len(architectures), failures=tuple(failures))


def _failure(clause: Clause, subject: Subject) -> str | None:
    try:
        clause.check(subject)
    except BrokenClauseError as error:
        return str(error).rstrip(".")
    except Exception as error:  # noqa: BLE001 - any error of an editor breaks the clause
        message = " ".join(str(error).split()).rstrip(".")
        return f"{type(error).__name__}: {message}" if message else type(error).__name__
    return None
