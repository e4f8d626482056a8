"""Whether the numbers are right: audit, claims, regression check, editor contract."""
