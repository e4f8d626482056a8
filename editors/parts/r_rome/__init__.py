"""Fact retrieval of RASE: a trained sentence encoder and a gate ("RASE", Han et al., 2023)."""
