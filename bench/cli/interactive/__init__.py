"""Trying an editor by hand: edits and questions, one at a time."""
