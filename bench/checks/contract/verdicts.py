"""Putting the clauses to an editor, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.checks.contract.clause import BrokenClauseError, Clause
from bench.checks.contract.clauses import CLAUSES
from bench.checks.contract.subjects import Subject
from bench.checks.contract.tiny import TINY


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A clause, with why it failed on which models; it holds on all others."""

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
    """The verdict on each clause, one after another.

    Args:
        key: of the editor.
        directory: for what it needs: an encoder, trained weights.
        architectures: names of tiny models.
    """
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
    except Exception as error:  # noqa: BLE001 - whatever an editor raises breaks the clause
        said = " ".join(str(error).split()).rstrip(".")
        return f"{type(error).__name__}: {said}" if said else type(error).__name__
    return None
