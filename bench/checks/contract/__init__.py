"""What every editor must do, clause by clause."""
