"""One cell, run: the sequential-edit driver, probes, metrics, general ability and timing."""
