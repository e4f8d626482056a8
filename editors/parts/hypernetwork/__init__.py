"""Editors that learn to turn gradients into weight changes: what MEND and MALMEN share."""
