"""The clauses: what every editor does, whatever its method. Each is a function with a sentence.

A file holds those of one theme, and adds them to the table when it is imported.
"""

from __future__ import annotations

from bench.checks.contract.clause import CLAUSES
from bench.checks.contract.clauses import (
    answering,  # noqa: F401
    editing,  # noqa: F401
    looking_up,  # noqa: F401
    restoring,  # noqa: F401
    saying,  # noqa: F401
)

__all__ = ["CLAUSES"]
