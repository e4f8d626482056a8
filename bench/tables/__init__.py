"""Records to numbers to tables: frames, statistics, renderers."""
