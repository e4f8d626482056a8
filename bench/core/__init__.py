"""What every other room stands on: cells and their identity, grids, names, files, progress."""
