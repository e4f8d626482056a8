"""All clauses: each file of them adds its own to the table, in this order."""

from __future__ import annotations

from bench.contract import (
    clauses,  # noqa: F401
    looking_up,  # noqa: F401
)
from bench.contract.clause import CLAUSES

__all__ = ["CLAUSES"]
