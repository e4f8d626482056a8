"""The parts of GRACE: its codebook, and the forwards that train a value."""
