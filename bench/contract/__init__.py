"""What every editor must do, whatever its method: told on tiny models of each architecture."""
