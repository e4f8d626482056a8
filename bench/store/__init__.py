"""Records on disk: results, checkpoints, leases, the committed reference."""
