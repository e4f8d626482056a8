"""Backbones, encoders, key statistics, trained weights: from a name or path to a loaded object."""
