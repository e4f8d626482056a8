"""Speed, memory and tuning of the package itself; not part of what is installed."""
