"""Figures from stored records: no model is loaded and nothing is measured here.

`records` reads, `plan` says which records belong together, a module per figure turns them into
numbers and a drawing, `drawing` writes it.
"""
