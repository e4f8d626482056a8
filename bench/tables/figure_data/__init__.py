"""Numbers of figures, from records: which may stand together, means, curves."""
